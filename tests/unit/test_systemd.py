"""The systemd unit: systemd understands it, the command line takes it, and it is shut in."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from z4j_exporter.cli.options import settings_from
from z4j_exporter.cli.run import run
from z4j_exporter.config import Settings
from z4j_exporter.errors import (
    AppImportError,
    BrokerUrlError,
    ConfigError,
    ExporterError,
    FileError,
    ListenError,
)

FOLDER = Path(__file__).resolve().parents[2] / "systemd"
UNIT = FOLDER / "z4j-exporter.service"
ENVIRONMENT = FOLDER / "z4j-exporter.env"
DOCS = FOLDER.parent / "docs" / "systemd.md"

#: Names as systemd.unit(5), systemd.service(5), systemd.exec(5), systemd.kill(5) and
#: systemd.resource-control(5) of systemd 252 have them; one that is misspelt is ignored by systemd.
KNOWN = {
    "Unit": {"Description", "Documentation", "Wants", "After", "StartLimitIntervalSec"},
    "Service": {
        "AmbientCapabilities", "CapabilityBoundingSet", "Environment", "EnvironmentFile",
        "ExecStart", "Group", "KeyringMode", "LoadCredential", "LockPersonality", "MemoryHigh",
        "MemoryDenyWriteExecute", "MemoryMax", "NoNewPrivileges", "PrivateDevices", "PrivateTmp",
        "ProtectClock", "ProtectControlGroups", "ProtectHome", "ProtectHostname",
        "ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables", "ProtectProc",
        "ProtectSystem", "RemoveIPC", "Restart", "RestartPreventExitStatus", "RestartSec",
        "RestrictAddressFamilies", "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID",
        "StateDirectory", "StateDirectoryMode", "SystemCallArchitectures",
        "SystemCallErrorNumber", "SystemCallFilter", "TasksMax", "TimeoutStopSec", "Type", "UMask",
        "User", "WorkingDirectory",
    },
    "Install": {"WantedBy"},
}  # fmt: skip


def unit() -> dict[str, list[tuple[str, str]]]:
    """Read the unit: by section, keys with their values, in order."""
    found: dict[str, list[tuple[str, str]]] = {}
    section = ""
    for line in UNIT.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, equals, value = line.partition("=")
            assert equals, line
            found.setdefault(section, []).append((key, value))
    return found


def values(key: str) -> list[str]:
    """Return the values of a key of [Service]."""
    return [value for name, value in unit()["Service"] if name == key]


def value(key: str) -> str:
    """Return the one value of a key of [Service]."""
    (only,) = values(key)
    return only


def variables(*, commented: bool) -> dict[str, str]:
    """Read the environment file; ``commented``: those that are only shown, too."""
    pattern = r"^#?(Z4J_EXPORTER_\w+)=(.*)$" if commented else r"^(Z4J_EXPORTER_\w+)=(.*)$"
    return dict(re.findall(pattern, ENVIRONMENT.read_text(), re.MULTILINE))


def systemd_analyze(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run systemd-analyze; skip where systemd is not, which no container has."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=30, check=False
    )


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit, with a program that is there in place of the installed one."""
    program = Path(sys.executable).with_name("z4j-exporter")
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/z4j-exporter/bin/z4j-exporter", str(program)))
    return copy


def test_every_key_is_one_of_systemd() -> None:
    for section, pairs in unit().items():
        assert {key for key, _ in pairs} <= KNOWN[section]


def test_systemd_finds_nothing_to_say(installed: Path) -> None:
    checked = systemd_analyze("verify", "--man=no", str(installed))
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_systemd_would_say_what_is_wrong(installed: Path) -> None:
    installed.write_text(installed.read_text().replace("ProtectHome=", "ProtectHouse="))
    assert "ProtectHouse" in systemd_analyze("verify", "--man=no", str(installed)).stderr


def test_the_service_is_shut_in(installed: Path) -> None:
    # Of 100; a unit without any of it has 96.
    checked = systemd_analyze("security", "--offline=true", "--threshold=15", str(installed))
    assert checked.returncode == 0, checked.stdout


def test_it_writes_to_its_own_directory_alone() -> None:
    assert value("ProtectSystem") == "strict"
    assert value("ProtectHome") == "yes"
    assert value("StateDirectory") == "z4j-exporter"
    assert not values("ReadWritePaths")


def test_the_command_line_takes_what_the_unit_says() -> None:
    program, command, *options = value("ExecStart").split()
    assert program == "/opt/z4j-exporter/bin/z4j-exporter"
    assert command == run.name
    run.make_context(command, options)  # raises where an option is not one


def test_the_broker_url_is_a_credential() -> None:
    name, _, file = value("LoadCredential").partition(":")
    assert file == "/etc/z4j-exporter/broker-url"
    assert value("Environment") == f"Z4J_EXPORTER_BROKER_URL_FILE=%d/{name}"
    assert "Z4J_EXPORTER_BROKER_URL" not in variables(commented=True)


def test_only_what_a_restart_can_mend_is_restarted() -> None:
    kept_down = {int(code) for code in value("RestartPreventExitStatus").split()}
    hopeless: tuple[type[ExporterError], ...] = (
        ConfigError, BrokerUrlError, FileError, AppImportError,
    )  # fmt: skip
    wrong_usage = 2
    assert kept_down == {wrong_usage, *(error.exit_code for error in hopeless)}
    # The process before it may still have the port, and nobody knows what a bug needs.
    assert not kept_down & {ExporterError.exit_code, ListenError.exit_code}


def test_a_burst_fits_into_the_memory() -> None:
    buffer = int(variables(commented=True)["Z4J_EXPORTER_BUFFER_BYTES"])
    assert buffer == Settings().buffer_bytes
    assert value("MemoryHigh") == "768M"
    assert buffer < 768 * 1024**2 * 0.6


def test_the_environment_file_has_settings_that_work_together() -> None:
    assert variables(commented=False) == {"Z4J_EXPORTER_LISTEN_ADDRESS": ":9808"}
    shown = variables(commented=True)
    names = {name.removeprefix("Z4J_EXPORTER_").lower() for name in shown}
    assert names <= set(Settings.model_fields)
    settings = settings_from({}, environment={**shown, "Z4J_EXPORTER_BROKER_URL": "redis://b"})
    assert settings.actions
    state = value("StateDirectory")
    for path in (
        settings.journal_path,
        settings.actions_token_file,
        settings.actions_journal_path,
        settings.actions_audit_path,
    ):
        # The only directory that it may write to.
        assert path is not None
        assert path.parent == Path("/var/lib", state)


def test_the_workers_unit_in_the_docs_is_one(tmp_path: Path) -> None:
    (text,) = re.findall(r"```ini\n(.*?)```", DOCS.read_text(), re.DOTALL)
    program = Path(sys.executable).with_name("celery")
    copy = tmp_path / "shop-worker.service"
    copy.write_text(text.replace("/srv/shop/venv/bin/celery", str(program)))
    checked = systemd_analyze("verify", "--man=no", str(copy))
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    assert "--task-events" in text


def test_the_docs_install_what_the_unit_needs() -> None:
    text = DOCS.read_text()
    assert f"useradd --system --home-dir /var/lib/{value('StateDirectory')}" in text
    assert value("LoadCredential").partition(":")[2] in text
    assert value("EnvironmentFile").lstrip("-") in text
    codes = value("RestartPreventExitStatus").replace(" ", ", ")
    assert codes in " ".join(text.split())
