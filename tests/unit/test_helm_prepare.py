"""The chart's script that copies what a Secret cannot give with the right mode."""

import importlib.util
import stat
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.chart import CHART
from tests.support.process import start, wait_until

SCRIPT = CHART / "files" / "prepare.py"


@pytest.fixture(scope="module")
def prepare() -> ModuleType:
    spec = importlib.util.spec_from_file_location("prepare", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_copy_is_the_owners_alone(prepare: ModuleType, tmp_path: Path) -> None:
    source, target = tmp_path / "secret", tmp_path / "copy"
    source.write_text("tokens: []\n")
    source.chmod(0o440)
    assert prepare.main(["--copy", str(source), str(target)]) == 0
    assert target.read_text() == "tokens: []\n"
    assert mode(target) == 0o600
    assert mode(source) == 0o440
    # A restarted container finds the copy of the one before.
    assert prepare.main(["--copy", str(source), str(target)]) == 0


def test_a_directory_is_the_owners_alone(prepare: ModuleType, tmp_path: Path) -> None:
    data, key = tmp_path / "data", tmp_path / "data" / "key"
    arguments = ["--directory", str(data), "--private", str(key)]
    assert prepare.main(arguments) == 0
    assert mode(data) == 0o700
    key.write_text("x")
    key.chmod(0o660)
    data.chmod(0o2775)
    assert prepare.main(arguments) == 0
    assert mode(data) == 0o700
    assert mode(key) == 0o600


def test_what_is_missing_is_said(
    prepare: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare.main(["--copy", str(tmp_path / "no"), str(tmp_path / "copy")]) == 1
    assert f"prepare: {tmp_path}/no: No such file" in capsys.readouterr().err


def test_it_needs_nothing_but_python() -> None:
    """It is given to `python -c`, and must not find the exporter or another package."""
    command = [sys.executable, "-I", "-S", "-c", SCRIPT.read_text(), "--help"]
    assert "--follow" in subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_it_follows(tmp_path: Path) -> None:
    """As the kubelet changes a Secret: a link is turned to another directory."""
    first, second = tmp_path / "..1", tmp_path / "..2"
    for folder, text in ((first, "one"), (second, "two")):
        folder.mkdir()
        (folder / "tokens.yaml").write_text(text)
    link, target = tmp_path / "..data", tmp_path / "copy"
    link.symlink_to(first)
    script = SCRIPT.read_text()
    faster = script.replace("FOLLOW_SECONDS = 2.0", "FOLLOW_SECONDS = 0.05")
    assert faster != script
    command = [sys.executable, "-c", faster, "--follow"]
    command += ["--copy", str(link / "tokens.yaml"), str(target)]

    def turn(folder: Path) -> None:
        fresh = tmp_path / "..fresh"
        fresh.symlink_to(folder)
        fresh.replace(link)

    with start("prepare", command) as process:
        wait_until(lambda: target.exists() and target.read_text() == "one", 30)
        turn(second)
        wait_until(lambda: target.read_text() == "two", 30)
        assert mode(target) == 0o600
        target.chmod(0o660)
        wait_until(lambda: mode(target) == 0o600, 30)
        turn(tmp_path / "..gone")
        wait_until(lambda: "No such file" in process.output(), 30)
        assert target.read_text() == "two"
        turn(first)
        wait_until(lambda: target.read_text() == "one", 30)
        assert process.stop() == 0
