"""docker-compose.yml: it keeps to the specification, and all its parts fit together."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.process import require
from z4j_exporter import __version__
from z4j_exporter.cli.options import settings_from
from z4j_exporter.cli.run import run as run_command
from z4j_exporter.config import Settings

PROJECT = Path(__file__).resolve().parents[2]
COMPOSE = PROJECT / "docker-compose.yml"
CONFIGURATION = PROJECT / "compose"
OURS = f"ghcr.io/z4j/z4j-exporter:{__version__}"


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def services() -> dict[str, dict[str, Any]]:
    return dict(load(COMPOSE)["services"])


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """Return where things are mounted in a container, and what they are."""
    found = {}
    for line in service.get("volumes", []):
        source, target, *_ = line.split(":")
        found[target] = source
    return found


def outside(service: str, path: str) -> Path:
    """Return the file of this project that a service sees under ``path``."""
    for target, source in mounts(services()[service]).items():
        if source.startswith("./") and (path == target or path.startswith(f"{target}/")):
            return PROJECT / source / path.removeprefix(target).lstrip("/")
    raise AssertionError(f"{service} has nothing of ours at {path}")


def check(*command: str | Path, expect: int = 0) -> str:
    """Run a checker; return what it says."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


def schema_check(path: Path, *, expect: int = 0) -> None:
    """Hold a file to the specification's own schema, which check-jsonschema carries."""
    command = (sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec")
    check(*command, path, expect=expect)


def exporter_settings() -> Settings:
    """Return what the exporter's command line comes to."""
    command, *options = services()["exporter"]["command"]
    assert command == run_command.name
    given = run_command.make_context(command, list(options)).params
    return settings_from(given, environment={})


def test_it_keeps_to_the_specification(tmp_path: Path) -> None:
    schema_check(COMPOSE)
    wrong = tmp_path / "compose.yml"
    wrong.write_text(COMPOSE.read_text().replace("restart:", "restarts:"))
    schema_check(wrong, expect=1)


def test_every_image_is_pinned() -> None:
    for name, service in services().items():
        image = service["image"]
        assert image == OURS or re.search(r":v?\d+\.\d+\.\d+(-alpine)?$", image), name
        assert ("build" in service) == (image == OURS)


def test_only_this_machine_reaches_it() -> None:
    for service in services().values():
        for port in service.get("ports", []):
            address, outer, inner = port.split(":")
            assert (address, outer) == ("127.0.0.1", inner)


def test_every_file_that_is_mounted_is_there() -> None:
    for name, service in services().items():
        for target, source in mounts(service).items():
            if source.startswith("."):
                assert (PROJECT / source).exists(), f"{name}: {source}"
                assert target.startswith("/")


def test_volumes_are_declared_and_used() -> None:
    used = {
        source
        for service in services().values()
        for source in mounts(service).values()
        if not source.startswith(".")
    }
    assert used == set(load(COMPOSE)["volumes"])


def test_what_is_waited_for_can_happen() -> None:
    found = services()
    for name, service in found.items():
        for other, how in service.get("depends_on", {}).items():
            health = found[other].get("healthcheck", {})
            if how["condition"] == "service_healthy":
                assert "test" in health, name
            elif how["condition"] == "service_completed_successfully":
                assert "restart" not in found[other]


def test_every_name_that_is_called_is_a_service() -> None:
    texts = [COMPOSE, *CONFIGURATION.rglob("*.y*ml")]
    called = {
        host
        for path in texts
        for host in re.findall(r"(?:http|redis)://([a-z][\w-]*):\d+", path.read_text())
    }
    called |= set(
        re.findall(r'targets: \["([\w-]+):', (CONFIGURATION / "prometheus.yml").read_text())
    )
    assert called - {"localhost"} == {
        "broker", "exporter", "prometheus", "alertmanager", "tempo",
    }  # fmt: skip
    assert called - {"localhost"} <= set(services())


def test_ours_run_without_rights() -> None:
    ours = {name: service for name, service in services().items() if service["image"] == OURS}
    assert set(ours) == {"exporter", "prepare", "traffic", "worker-media", "worker-orders"}
    for name, service in ours.items():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert ("user" in service) == (name == "prepare")


def test_the_exporter_takes_its_options() -> None:
    given = exporter_settings()
    assert given.actions
    # A burst must leave room for the rest.
    assert services()["exporter"]["mem_limit"] == "512m"
    assert given.buffer_bytes <= 512 * 1024**2 / 2
    writes = mounts(services()["exporter"])
    for path in (given.journal_path, given.actions_token_file, given.actions_audit_path):
        assert path is not None
        assert writes[str(path.parent)] == "exporter"
    assert outside("exporter", str(given.actions_rules_file)).is_file()


def test_the_workers_take_every_queue_of_the_shop() -> None:
    code = (
        "import json; from z4j_exporter.demo.sample_app import app; "
        "routes = {route['queue'] for route in app.conf.task_routes.values()}; "
        "print(json.dumps([*routes, app.conf.task_default_queue]))"
    )
    wanted = json.loads(check(sys.executable, "-c", code).splitlines()[-1])
    taken = []
    for name, service in services().items():
        if name.startswith("worker-"):
            words = service["command"]
            taken += words[words.index("--queues") + 1].split(",")
            node = words[words.index("--hostname") + 1]
            assert service["healthcheck"]["test"][-1] == node
    assert sorted(taken) == sorted(wanted)


def test_the_traffic_has_a_rate_and_a_seed() -> None:
    traffic = services()["traffic"]
    assert traffic["entrypoint"] == ["python", "-m", "z4j_exporter.demo.traffic"]
    rate, seed = traffic["command"]
    assert float(rate) > 0
    assert int(seed) >= 0


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    (rules,) = load(CONFIGURATION / "prometheus.yml")["rule_files"]
    folder = outside("prometheus", str(Path(rules).parent))
    assert sorted(folder.glob(Path(rules).name)), "no rules"
    text = (CONFIGURATION / "prometheus.yml").read_text()
    copy = tmp_path / "prometheus.yml"
    copy.write_text(text.replace(str(Path(rules).parent), str(folder)))
    said = check(require("promtool"), "check", "config", copy)
    assert re.search(r"SUCCESS: \d+ rules found", said)
    assert "--enable-feature=exemplar-storage" in services()["prometheus"]["command"]


def test_alertmanager_takes_its_configuration() -> None:
    check(require("amtool"), "check-config", CONFIGURATION / "alertmanager.yml")
    (receiver,) = (
        receiver
        for receiver in load(CONFIGURATION / "alertmanager.yml")["receivers"]
        if "webhook_configs" in receiver
    )
    (hook,) = receiver["webhook_configs"]
    port = exporter_settings().actions_listen_address.rpartition(":")[2]
    assert hook["url"] == f"http://exporter:{port}/v1/alertmanager"
    token = Path(hook["http_config"]["authorization"]["credentials_file"])
    assert mounts(services()["alertmanager"])[str(token.parent)] == "alertmanager-token"


@pytest.mark.parametrize(
    ("alert", "expected"),
    [("CeleryQueueGrows", "celery-actions,people"), ("SomethingElse", "people")],
)
def test_people_hear_of_every_alert(alert: str, expected: str) -> None:
    said = check(
        require("amtool"), "config", "routes", "test",
        f"--config.file={CONFIGURATION / 'alertmanager.yml'}", f"alertname={alert}",
    )  # fmt: skip
    # Beneath it stands a warning of amtool's.
    assert said.splitlines()[0] == expected


def test_rules_are_about_alerts_that_there_are() -> None:
    known = {
        rule["alert"]
        for path in (PROJECT / "alerts").glob("*.yaml")
        for group in load(path)["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    rules = load(CONFIGURATION / "rules.yaml")["rules"]
    named = {
        name for rule in rules for m in rule["matchers"] for name in re.findall(r'="(\w+)"', m)
    }
    assert named
    assert named <= known


def test_grafana_leads_from_metrics_to_traces_and_back() -> None:
    folder = CONFIGURATION / "grafana" / "provisioning"
    sources = load(folder / "datasources" / "datasources.yaml")["datasources"]
    by_type = {source["type"]: source for source in sources}
    prometheus, tempo = by_type["prometheus"], by_type["tempo"]
    (exemplars,) = prometheus["jsonData"]["exemplarTraceIdDestinations"]
    # The name of the exemplars' label, as metrics/exposition.py writes it.
    assert (exemplars["name"], exemplars["datasourceUid"]) == ("trace_id", tempo["uid"])
    assert tempo["jsonData"]["tracesToMetrics"]["datasourceUid"] == prometheus["uid"]
    assert prometheus["isDefault"] is True
    scraped = load(CONFIGURATION / "prometheus.yml")["global"]["scrape_interval"]
    assert prometheus["jsonData"]["timeInterval"] == scraped
    assert outside("grafana", "/etc/grafana/provisioning") == folder


def test_grafana_finds_the_dashboards() -> None:
    provider = load(CONFIGURATION / "grafana/provisioning/dashboards/dashboards.yaml")["providers"]
    (path,) = (one["options"]["path"] for one in provider)
    found = sorted(outside("grafana", path).glob("*.json"))
    assert found
    environment = services()["grafana"]["environment"]
    home = environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert outside("grafana", home) in found
    sources = load(CONFIGURATION / "grafana/provisioning/datasources/datasources.yaml")
    kinds = {source["type"] for source in sources["datasources"]}
    for file in found:
        variables = json.loads(file.read_text())["templating"]["list"]
        chosen = {one["query"] for one in variables if one["type"] == "datasource"}
        # Jaeger may be chosen in place of Tempo; there is none here.
        assert chosen - {"jaeger"} <= kinds
        assert "prometheus" in chosen


def test_tempo_listens_where_the_exporter_sends() -> None:
    tempo = load(CONFIGURATION / "tempo.yaml")
    http = tempo["distributor"]["receivers"]["otlp"]["protocols"]["http"]["endpoint"]
    assert exporter_settings().otlp_endpoint == f"http://tempo:{http.rpartition(':')[2]}"
    sources = load(CONFIGURATION / "grafana/provisioning/datasources/datasources.yaml")
    (url,) = (s["url"] for s in sources["datasources"] if s["type"] == "tempo")
    assert url == f"http://tempo:{tempo['server']['http_listen_port']}"
    state = "/var/tempo"
    assert state in mounts(services()["tempo"])
    trace = tempo["storage"]["trace"]
    assert {Path(trace[part]["path"]).parent for part in ("local", "wal")} == {Path(state)}
