"""The doctor on real installations, each broken in one way: its verdict, and nothing false."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import servers
from tests.support.celeryapp import client
from tests.support.process import require, wait_until
from tests.support.rabbitmq import Rabbit

APP = "tests.support.celeryapp"
#: Seconds: three heartbeats at least.
LISTEN = "6"
WARNING, PROBLEM = 10, 11


class Examined:
    """What ``doctor --format json`` printed."""

    def __init__(self, result: "subprocess.CompletedProcess[str]") -> None:
        self.output = result.stdout + result.stderr
        self.code = result.returncode
        assert result.stdout.startswith("{"), self.output
        self.report: dict[str, Any] = json.loads(result.stdout)
        self.findings = {each["check"]: each for each in self.report["findings"]}

    @property
    def wrong(self) -> dict[str, str]:
        """Verdicts by check, of those that are not well."""
        return {
            check: finding["verdict"]
            for check, finding in self.findings.items()
            if finding["verdict"] in ("warning", "problem")
        }

    def verdict(self, check: str) -> str:
        return str(self.findings[check]["verdict"])

    def text(self, check: str) -> str:
        finding = self.findings[check]
        return f"{finding['evidence']} / {finding['advice']}"


def doctor(url: str, *args: str, **options: Any) -> Examined:
    result = servers.run_command(
        "doctor", "-b", url, "--format", "json", "--listen", LISTEN, *args, timeout=60, **options
    )
    return Examined(result)


def worker(url: str, *args: str, settings: Mapping[str, Any] | None = None, **options: Any) -> Any:
    env = {**options.pop("env", {}), "CELERYAPP_SETTINGS": json.dumps(dict(settings or {}))}
    return servers.worker(APP, url, *args, env=env, **options)


@contextmanager
def traffic(
    url: str, queue: str = "celery", settings: Mapping[str, Any] | None = None
) -> Iterator[None]:
    """Send a short task four times a second."""
    stop = threading.Event()
    app = client(url, settings=settings)

    def send() -> None:
        while not stop.wait(0.25):
            app.send_task("math.add", args=(1, 2), queue=queue)

    thread = threading.Thread(target=send, name="traffic", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
        app.close()


def test_all_is_well(valkey: servers.Redis) -> None:
    with worker(valkey.url), traffic(valkey.url):
        examined = doctor(valkey.url)
    assert examined.code == 0, examined.output
    assert examined.report["verdict"] == "ok"
    verdicts = {check: f["verdict"] for check, f in examined.findings.items()}
    assert set(verdicts.values()) == {"ok"}, examined.output
    assert {"task-events", "task-sent", "control", "clock", "queues", "consumers"} <= set(verdicts)


def test_quiet_is_not_broken(valkey: servers.Redis) -> None:
    with worker(valkey.url):
        examined = doctor(valkey.url)
    assert examined.code == 0, examined.output
    assert examined.wrong == {}
    assert "no task ran" in examined.text("task-events")


def test_task_events_are_off(valkey: servers.Redis) -> None:
    with worker(valkey.url, events=False), traffic(valkey.url):
        examined = doctor(valkey.url)
        assert examined.code == PROBLEM, examined.output
        assert examined.wrong == {"task-events": "problem"}, examined.output
        assert "w1@test ran" in examined.text("task-events")
        assert "-E" in examined.text("task-events")
        turned_on = doctor(valkey.url, "--enable-events")
    assert turned_on.wrong == {}, turned_on.output
    assert "turned on: w1@test" in turned_on.text("enable-events")
    assert "restart" in turned_on.text("enable-events")
    assert turned_on.verdict("task-events") == "ok"


def test_clients_send_no_sent_event(valkey: servers.Redis) -> None:
    silent = {"task_send_sent_event": False}
    with worker(valkey.url, settings=silent), traffic(valkey.url, settings=silent):
        examined = doctor(valkey.url)
    assert examined.code == WARNING, examined.output
    assert examined.wrong == {"task-sent": "warning"}, examined.output
    assert "task_send_sent_event" in examined.text("task-sent")


def test_wrong_prefix(valkey: servers.Redis) -> None:
    prefixed = {"broker_transport_options": {"global_keyprefix": "app1:"}}
    with worker(valkey.url, settings=prefixed):
        examined = doctor(valkey.url)
        assert examined.code == PROBLEM, examined.output
        assert examined.wrong == {"fanout-prefix": "problem"}, examined.output
        option = "--broker-transport-option global_keyprefix=app1:"
        assert option in examined.text("fanout-prefix")
        advised = doctor(valkey.url, *option.split())
    assert advised.wrong == {}, advised.output


def test_wrong_database(valkey: servers.Redis) -> None:
    with worker(valkey.url_at(valkey.port, db=3), events=False):
        examined = doctor(valkey.url)
    assert examined.wrong == {"fanout-prefix": "problem"}, examined.output
    assert "ends with /3" in examined.text("fanout-prefix")


def test_wrong_exchange(valkey: servers.Redis) -> None:
    with worker(valkey.url, settings={"event_exchange": "shopev"}):
        examined = doctor(valkey.url)
    assert examined.wrong == {"fanout-prefix": "problem"}, examined.output
    assert "--event-exchange shopev" in examined.text("fanout-prefix")


def test_wrong_password() -> None:
    with servers.valkey(password="right-secret") as server:
        url = f"redis://:wrong-secret@127.0.0.1:{server.port}/0"
        examined = doctor(url)
    assert examined.code == PROBLEM, examined.output
    assert examined.wrong == {"broker": "problem"}, examined.output
    assert "refused the user or the password" in examined.text("broker")
    assert "secret" not in examined.output


def test_broker_is_not_there() -> None:
    examined = doctor(f"amqp://guest:guest@127.0.0.1:{servers.free_port()}//")
    assert examined.wrong == {"broker": "problem"}, examined.output


def test_transport_carries_no_events() -> None:
    examined = doctor("sqs://")
    assert examined.code == PROBLEM
    assert examined.wrong == {"transport": "problem"}, examined.output


def test_no_worker(valkey: servers.Redis) -> None:
    client(valkey.url).send_task("math.add", args=(1, 2))
    examined = doctor(valkey.url)
    assert examined.code == PROBLEM
    assert examined.wrong == {"workers": "problem"}, examined.output


def test_no_heartbeats(valkey: servers.Redis) -> None:
    with worker(valkey.url, "--without-heartbeat"):
        examined = doctor(valkey.url)
    assert examined.code == WARNING
    assert examined.wrong == {"workers": "warning"}, examined.output
    assert "--without-heartbeat" in examined.text("workers")


def test_solo_pool_is_busy(valkey: servers.Redis) -> None:
    with worker(valkey.url, pool="solo") as busy:
        # A task that waits already would keep even this from the worker's only thread.
        wait_until(lambda: _listeners(valkey), 10, "the worker listens for remote control")
        client(valkey.url).send_task("work.sleep", args=(60,))
        wait_until(lambda: "work.sleep" in busy.output(), 10, "the task is received")
        examined = doctor(valkey.url)
        busy.kill()
    assert examined.code == WARNING, examined.output
    assert examined.wrong == {"workers": "warning"}, examined.output
    assert "connected" in examined.text("workers")
    assert "solo" in examined.text("workers")


def test_solo_pool_is_busy_on_rabbitmq(rabbit: Rabbit) -> None:
    """Without the management API: the consumer of the default queue gives it away."""
    vhost = rabbit.vhost()
    with worker(vhost.url, pool="solo") as busy:
        client(vhost.url).send_task("work.sleep", args=(60,))
        wait_until(lambda: "work.sleep" in busy.output(), 10, "the task is received")
        examined = doctor(vhost.url)
        busy.kill()
    rabbit.drop(vhost)
    assert examined.wrong == {"workers": "warning", "management": "warning"}, examined.output
    assert "queue celery has a consumer" in examined.text("workers")


def _listeners(valkey: servers.Redis) -> int:
    return sum(each["cmd"] == "psubscribe" for each in valkey.client().client_list())


def test_clock_is_off(valkey: servers.Redis) -> None:
    require("faketime")
    library = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))))
    ahead = {"LD_PRELOAD": str(library), "FAKETIME": "+30s", "DONT_FAKE_MONOTONIC": "1"}
    with worker(valkey.url, env=ahead), traffic(valkey.url):
        examined = doctor(valkey.url)
    assert examined.code == WARNING, examined.output
    assert examined.wrong == {"clock": "warning"}, examined.output
    assert "30 s ahead" in examined.text("clock")


def test_a_queue_grows_and_nobody_consumes(valkey: servers.Redis) -> None:
    with worker(valkey.url), traffic(valkey.url, queue="forgotten"):
        client(valkey.url).send_task("math.add", args=(1, 2), queue="forgotten")
        examined = doctor(valkey.url)
    assert examined.code == PROBLEM, examined.output
    assert examined.wrong == {"consumers": "problem"}, examined.output
    assert "-Q forgotten" in examined.text("consumers")


def test_no_management_plugin(rabbit: Rabbit) -> None:
    """The management API of the tests is not where it would be guessed: as if it were not on."""
    vhost = rabbit.vhost()
    with worker(vhost.url), traffic(vhost.url):
        examined = doctor(vhost.url)
        management = f"http://guest:guest@127.0.0.1:{rabbit.management_port}"
        with_it = doctor(vhost.url, "--rabbitmq-management-url", management)
    rabbit.drop(vhost)
    assert examined.code == WARNING, examined.output
    assert examined.wrong == {"management": "warning"}, examined.output
    assert with_it.wrong == {}, with_it.output
    assert with_it.verdict("management") == "ok"


def test_wrong_vhost(rabbit: Rabbit) -> None:
    vhost, other = rabbit.vhost(), rabbit.vhost()
    management = f"http://guest:guest@127.0.0.1:{rabbit.management_port}"
    with worker(other.url):
        examined = doctor(vhost.url, "--rabbitmq-management-url", management)
    rabbit.drop(vhost)
    rabbit.drop(other)
    assert examined.wrong == {"workers": "problem"}, examined.output
    assert "vhost" in examined.text("workers")


def test_result_backend_of_the_application(valkey: servers.Redis) -> None:
    env = {"CELERYAPP_BACKEND": "redis://:hidden-secret@127.0.0.1/5", "CELERYAPP_SETTINGS": "{}"}
    examined = doctor(valkey.url, "-A", APP, env=env)
    assert examined.verdict("result-backend") == "note"
    assert "result_extended" in examined.text("result-backend")
    assert "hidden-secret" not in examined.output


def test_the_table_is_for_people(valkey: servers.Redis) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    result = servers.run_command(
        "doctor", "-b", valkey.url, "--listen", "3", "--no-ask", env=environment
    )
    assert result.returncode == PROBLEM
    lines = result.stdout.splitlines()
    assert lines[0].startswith("✓ Transport")
    assert any(line.startswith("✗ Workers") for line in lines)
    assert lines[-1] == "1 problem; begin with “Workers”."
    assert "\x1b" not in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize("arguments", [["--enable-events", "--no-ask"], ["--listen", "0"]])
def test_what_makes_no_sense(arguments: list[str]) -> None:
    result = servers.run_command("doctor", "-b", "redis://127.0.0.1", *arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_a_user_who_may_only_listen(valkey: servers.Redis) -> None:
    """What docs/brokers.md asks for is enough for events; the rest is told, and nothing breaks."""
    rules = ("on", ">pass", "resetchannels", "&/0.celeryev", "&/0.celeryev/*")
    commands = ("+subscribe", "+psubscribe", "+ping")
    acl = ("ACL", "SETUSER", "listener", *rules, *commands)
    valkey.client().execute_command(*acl)  # type: ignore[no-untyped-call]  # redis-py
    with worker(valkey.url), traffic(valkey.url):
        examined = doctor(f"redis://listener:pass@127.0.0.1:{valkey.port}/0")
    valkey.client().acl_deluser("listener")
    assert examined.wrong == {"queues": "warning"}, examined.output
    assert examined.verdict("task-events") == "ok"
    assert examined.verdict("fanout-prefix") == "ok"
    assert examined.verdict("control") == "note"
