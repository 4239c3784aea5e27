"""What docker-compose.yml starts works together: its commands and its files, without Docker.

The shop's workers and traffic, the exporter, Prometheus and Alertmanager run as processes of this
machine, started with the words of the Compose file; only addresses and paths are others. In
Tempo's place stands a receiver of OTLP; tests/unit/test_compose.py looks at Grafana's files.
"""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import servers
from tests.support.otlp_receiver import OtlpReceiver, receiving
from tests.support.process import (
    Process,
    free_port,
    listening,
    require,
    start,
    wait_ready,
    wait_until,
)
from tests.support.servers import Prometheus
from tests.unit.test_compose import CONFIGURATION, PROJECT, mounts, services

pytestmark = pytest.mark.timeout(300)

#: The file that takes the shop's mail server away (z4j_exporter/demo/sample_app.py).
MAIL_AWAY = "mail-server-away"


@dataclass
class Machine:
    """Puts this machine's addresses and paths in place of the containers'."""

    directory: Path
    #: "service:port" of the Compose file, and what it is here.
    addresses: dict[str, str]

    def here(self, text: str, service: str) -> str:
        """Translate a word or a file that ``service`` is given."""
        for name, address in self.addresses.items():
            text = text.replace(name, address)
        for target, source in mounts(services()[service]).items():
            place = PROJECT / source if source.startswith("./") else self.volume(source)
            # A whole path: there is an /alertmanager in a URL, too.
            text = re.sub(rf"(?<![\w/]){re.escape(target)}(?![\w-])", str(place), text)
        return text

    def volume(self, name: str) -> Path:
        """Return the directory that stands for a volume."""
        path = self.directory / name
        path.mkdir(exist_ok=True)
        return path

    def configuration(self, name: str, service: str, **faster: str) -> Path:
        """Write a file of compose/ as it is here; ``faster`` are settings with another duration."""
        text = self.here((CONFIGURATION / name).read_text(), service)
        for key, duration in faster.items():
            assert f"{key}: " in text
            text = "\n".join(
                f"{line.partition(key)[0]}{key}: {duration}" if f"{key}: " in line else line
                for line in text.splitlines()
            )
        path = self.directory / name
        path.write_text(text + "\n")
        return path

    def words(self, service: str) -> list[str]:
        """Return the command of a service: the entrypoint's words and its own."""
        found = services()[service]
        words = [*found.get("entrypoint", ["z4j-exporter"]), *found["command"]]
        program = Path(sys.executable).with_name(words[0])
        return [str(program), *(self.here(word, service) for word in words[1:])]

    def environment(self, service: str) -> dict[str, str]:
        """Return the variables that a service is given."""
        given = services()[service].get("environment", {})
        # Celery as root says so on every start; the variable silences it.
        return {"C_FORCE_ROOT": "1", **{k: self.here(v, service) for k, v in given.items()}}


@dataclass
class Stack:
    """All of it, running."""

    machine: Machine
    exporter: Process
    prometheus: Prometheus
    traces: OtlpReceiver

    def url(self, address: str) -> str:
        return f"http://{self.machine.addresses[address]}"

    def of_alertmanager(self, path: str) -> Any:
        return httpx.get(f"{self.url('alertmanager:9093')}/api/v2/{path}", timeout=10).json()

    def of_prometheus(self, path: str, **parameters: str) -> Any:
        url = f"{self.prometheus.url}/api/v1/{path}"
        return httpx.get(url, params=parameters, timeout=10).json()["data"]


def prepare(machine: Machine) -> str:
    """Run what the service ``prepare`` runs, with a chown that only notes; return the token."""
    programs = machine.directory / "programs"
    programs.mkdir(exist_ok=True)
    chown = programs / "chown"
    chown.write_text(f'#!/bin/sh\necho "$@" >> "{machine.directory}/chowned"\n')
    chown.chmod(0o755)
    venv = Path(sys.executable).parent
    command = services()["prepare"]
    script, *arguments = (
        machine.here(word, "prepare") for word in [command["entrypoint"][1], *command["command"]]
    )
    done = subprocess.run(
        ["sh", script, *arguments],
        env={**os.environ, "PATH": f"{programs}:{venv}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "z4j_" not in done.stdout + done.stderr
    return (machine.volume("alertmanager-token") / "token").read_text()


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    names = ("broker:6379", "exporter:9808", "0.0.0.0:9809", "alertmanager:9093", "tempo:4318")
    addresses = {name: f"127.0.0.1:{free_port()}" for name in names}
    addresses["exporter:9809"] = addresses["0.0.0.0:9809"]
    addresses["localhost:9090"] = f"127.0.0.1:{free_port()}"
    return Machine(tmp_path_factory.mktemp("compose"), addresses)


def port(address: str) -> int:
    return int(address.rpartition(":")[2])


@pytest.fixture(scope="module")
def stack(machine: Machine) -> Iterator[Stack]:
    at = machine.addresses
    prepare(machine)
    with contextlib.ExitStack() as running:
        running.enter_context(servers.redis_server(port=port(at["broker:6379"])))
        traces = running.enter_context(receiving(port=port(at["tempo:4318"])))
        exporter = running.enter_context(
            start(
                "exporter",
                machine.words("exporter"),
                env={"Z4J_EXPORTER_LISTEN_ADDRESS": at["exporter:9808"]},
            )
        )
        ready = f"http://{at['exporter:9808']}/-/ready"
        wait_ready(exporter, lambda: httpx.get(ready).status_code == 200, 30)
        shop = machine.volume("shop")
        for name in ("worker-orders", "worker-media", "traffic"):
            words, variables = machine.words(name), machine.environment(name)
            running.enter_context(start(name, words, env=variables, cwd=shop))
        alertmanager = running.enter_context(start_alertmanager(machine))
        wait_ready(alertmanager, lambda: listening(port(at["alertmanager:9093"])), 30)
        yield Stack(machine, exporter, running.enter_context(start_prometheus(machine)), traces)


def start_alertmanager(machine: Machine) -> Process:
    conf = machine.configuration("alertmanager.yml", "alertmanager", group_wait="1s")
    return start(
        "alertmanager",
        [
            require("prometheus-alertmanager"),
            f"--config.file={conf}",
            f"--storage.path={machine.volume('alertmanager')}",
            f"--web.listen-address={machine.addresses['alertmanager:9093']}",
            "--cluster.listen-address=",  # on its own
        ],
    )


def start_prometheus(machine: Machine) -> Prometheus:
    conf = machine.configuration(
        "prometheus.yml", "prometheus", scrape_interval="1s", evaluation_interval="1s"
    )
    address = machine.addresses["localhost:9090"]
    kept = [word for word in services()["prometheus"]["command"] if "config.file" not in word]
    options = [f"--config.file={conf}", *(machine.here(word, "prometheus") for word in kept)]
    process = start(
        "prometheus", [require("prometheus"), *options, f"--web.listen-address={address}"]
    )
    url = f"http://{address}"
    server = Prometheus("prometheus", process.popen, process.log, url=url)
    wait_ready(server, lambda: httpx.get(f"{url}/-/ready").status_code == 200, 30)
    return server


def test_prometheus_scrapes_everything(stack: Stack) -> None:
    def health() -> dict[str, str]:
        return {t["labels"]["job"]: t["health"] for t in stack.prometheus.targets()}

    up = {"celery": "up", "prometheus": "up", "alertmanager": "up"}
    wait_until(lambda: health() == up, 30, lambda: str(stack.prometheus.targets()))


def test_prometheus_has_the_rules_and_knows_alertmanager(stack: Stack) -> None:
    groups = stack.of_prometheus("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {rule["type"] for rule in rules} == {"alerting", "recording"}
    assert not [rule for rule in rules if rule["health"] == "err"]
    known = wait_until(lambda: stack.of_prometheus("alertmanagers")["activeAlertmanagers"], 20)
    (one,) = known
    assert one["url"].startswith(stack.url("alertmanager:9093"))


def test_the_shop_is_seen(stack: Stack) -> None:
    workers = "count by (worker) (celery_worker_up == 1)"

    def names() -> set[str]:
        return {series["metric"]["worker"] for series in stack.prometheus.query(workers)}

    wait_until(lambda: names() == {"orders@shop", "media@shop"}, 40, lambda: str(names()))
    done = "count(sum by (task) (celery_task_succeeded_total) > 5)"
    wait_until(lambda: (stack.prometheus.value(done) or 0) >= 2, 60, "tasks succeed")
    # The hook in the application tells what events do not.
    wait_until(lambda: stack.prometheus.value("sum(celery_task_published_total)"), 20)


def test_an_exemplar_leads_to_a_trace(stack: Stack) -> None:
    spans = wait_until(stack.traces.spans, 30, "spans arrive")
    assert spans

    def linked() -> set[str]:
        found = stack.of_prometheus(
            "query_exemplars",
            query="celery_task_runtime_seconds_bucket",
            start="2000-01-01T00:00:00Z",
            end="2100-01-01T00:00:00Z",
        )
        return {e["labels"]["trace_id"] for series in found for e in series["exemplars"]}

    def sent() -> set[str]:
        return {span.trace_id for span in stack.traces.spans()}

    wait_until(lambda: linked() & sent(), 30, "an exemplar's trace")


def test_an_alert_makes_the_exporter_send_mails_again(stack: Stack) -> None:
    away = stack.machine.volume("shop") / MAIL_AWAY
    failed = 'sum(celery_task_failed_total{task="mail.send",exception="ConnectionError"}) > 0'

    def fails() -> Any:
        away.touch()  # the traffic takes it away now and then
        return stack.prometheus.query(failed)

    wait_until(fails, 60, "mails fail", every=0.5)
    away.unlink(missing_ok=True)
    labels = {
        "alertname": "CeleryTasksFailedInAnOutage",
        "task": "mail.send",
        "exception": "ConnectionError",
        "severity": "warning",
    }
    sent = httpx.post(f"{stack.url('alertmanager:9093')}/api/v2/alerts", json=[{"labels": labels}])
    assert sent.status_code == 200
    metrics = f"{stack.url('exporter:9808')}/metrics"
    decided = 'celery_exporter_alert_rules_total{rule="retry-after-an-outage",decision="%s"} 1'
    for decision in ("queued", "done"):
        wait_until(
            lambda text=decided % decision: text in httpx.get(metrics).text,
            40,
            lambda: stack.exporter.output(),
        )
    assert 'celery_exporter_alert_notifications_total{code="202"}' in httpx.get(metrics).text


def test_the_token_is_made_once(stack: Stack) -> None:
    machine = stack.machine
    kept = (machine.volume("alertmanager-token") / "token").read_text()
    assert kept.startswith("z4j_")
    assert prepare(machine) == kept
    # Its volume is gone, and only the hash is left: there is a new one, and the old is no good.
    (machine.volume("alertmanager-token") / "token").unlink()
    assert prepare(machine) != kept
    tokens = (machine.volume("exporter") / "tokens.yaml").read_text()
    assert tokens.count("name: alertmanager") == 1
    given = (machine.directory / "chowned").read_text()
    assert f"65534:65534 {machine.volume('alertmanager-token')}\n" in given
    assert f"10001:10001 {machine.volume('tempo')}\n" in given
