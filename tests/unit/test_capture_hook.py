"""The hook's own rules: what it imports, installs, and does when something in it goes wrong."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, signals
from celery.app.task import Context
from celery.exceptions import Reject

from tests.support.process import wait_until
from z4j_exporter import capture
from z4j_exporter.capture import handlers, hook, sender
from z4j_exporter.capture.records import Ended
from z4j_exporter.capture.sender import Sender
from z4j_exporter.capture.settings import SettingsError

#: What the exporter needs and the hook must not: it is installed with Celery alone.
NOT_FOR_THE_HOOK = [
    "msgspec",
    "prometheus_client",
    "opentelemetry",
    "pydantic",
    "rich",
    "httpcore",
    "h11",
    "uvicorn",
    "bcrypt",
    "hiredis",
    "redis",
    "yaml",
    "msgpack",
    "cryptography",
    "django",
    "flask",
]


def _uninstall_all() -> None:
    for each in list(handlers.captures.values()):
        each.uninstall()


@pytest.fixture
def app() -> Iterator[Celery]:
    _uninstall_all()  # other tests' too: the demo's application installs the hook
    made = Celery("shop", broker="memory://", set_as_current=False)
    yield made
    _uninstall_all()
    made.close()


def run(program: str) -> str:
    """Run a program in an interpreter of its own, without what the hook must not need."""
    blocked = f"import sys\nfor name in {NOT_FOR_THE_HOOK!r}: sys.modules[name] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", blocked + program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_import_loads_nothing_else_of_the_package() -> None:
    loaded = run(
        "import z4j_exporter.capture.hook\n"
        "print(*(m for m in sys.modules if m.startswith('z4j_exporter')))"
    ).split()
    assert set(loaded) == {
        "z4j_exporter",
        "z4j_exporter.capture",
        "z4j_exporter.capture.callers",
        "z4j_exporter.capture.handlers",
        "z4j_exporter.capture.hook",
        "z4j_exporter.capture.intake",
        "z4j_exporter.capture.records",
        "z4j_exporter.capture.settings",
        "z4j_exporter.capture.snapshot",
    }


def test_the_package_alone_loads_no_celery() -> None:
    """The exporter imports it for the redaction."""
    assert run("import z4j_exporter.capture\nprint('celery' in sys.modules)").strip() == "False"


def test_it_sends_with_celery_alone() -> None:
    out = run(
        "from celery import Celery\n"
        "from z4j_exporter import capture\n"
        "app = Celery('alone', broker='memory://')\n"
        "hook = capture.install(app)\n"
        "app.send_task('echo', ('x',))\n"
        "assert hook.flush(10)\n"
        "print(hook.stats())\n"
        "print(*(m for m in sys.modules if m.startswith('z4j_exporter.')"
        " and not m.startswith('z4j_exporter.capture')))"
    ).splitlines()
    assert "'captured': 1, 'sent': 1, 'dropped': {}, 'errors': 0" in out[0]
    assert out[1:] in ([], [""])


def test_installing_twice_is_installing_once(app: Celery) -> None:
    before = len(signals.before_task_publish.receivers)
    first = capture.install(app)
    assert capture.install(app, payload="none") is first
    assert first.settings.payload == "events"
    assert len(signals.before_task_publish.receivers) == before + 1
    first.uninstall()
    assert len(signals.before_task_publish.receivers) == before
    assert capture.install(app) is not first


def test_without_an_application_it_is_the_current_one(app: Celery) -> None:
    app.set_current()
    assert capture.install().app is app


def test_settings_come_from_the_application(app: Celery) -> None:
    installed = capture.install(app)
    app.conf.z4j_capture = {"payload": "none", "signals": ["end"]}
    assert installed.settings.payload == "none"
    assert installed.hears == {"end"}


def test_a_wrong_keyword_raises_where_it_is_written(app: Celery) -> None:
    with pytest.raises(SettingsError, match="no setting 'paylaod'"):
        capture.install(app, paylaod="none")  # type: ignore[call-arg]
    assert not handlers.captures


def test_a_wrong_configuration_switches_the_hook_off(
    app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    app.conf.z4j_capture = {"payload": "everywhere"}
    installed = capture.install(app)
    app.send_task("echo")
    assert installed.stats()["enabled"] is False
    assert installed.stats()["captured"] == 0
    assert "payload must be one of" in caplog.text


def test_the_environment_switches_it_off(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("Z4J_CAPTURE_ENABLED", "no")
    installed = capture.install(app, enabled=True)
    app.send_task("echo")
    assert installed.stats()["captured"] == 0


def test_an_error_inside_is_counted_and_the_publish_goes_on(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = capture.install(app)

    def broken(*_: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(handlers.snapshot, "take_body", broken)
    assert app.send_task("echo").id
    assert installed.stats()["errors"] == 1


def test_no_thread_before_the_first_task(app: Celery) -> None:
    installed = capture.install(app)
    names = {t.name for t in threading.enumerate()}
    assert "z4j-capture" not in names
    app.send_task("echo")
    assert installed.flush(10)
    assert "z4j-capture" in {t.name for t in threading.enumerate() if t.daemon}


def test_a_thread_that_cannot_start_costs_the_event_only(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python refuses new threads while the interpreter ends."""
    installed = capture.install(app)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert app.send_task("echo").id
    assert installed.stats()["errors"] == 1


def test_eager_tasks_are_not_captured(app: Celery) -> None:
    installed = capture.install(app)

    @app.task(name="eager", shared=False)
    def eager() -> int:
        return 1

    assert eager.apply().get() == 1
    assert installed.stats()["captured"] == 0


def test_the_span_of_the_application_is_told(app: Celery) -> None:
    from opentelemetry.sdk.trace import TracerProvider

    installed = capture.install(app)
    assert installed.traceparent() == ""
    with TracerProvider().get_tracer("shop").start_as_current_span("request") as span:
        context = span.get_span_context()
        told = installed.traceparent()
        assert told.startswith(f"00-{context.trace_id:032x}-{context.span_id:016x}-")
        assert int(told[-2:], 16) & 1  # sampled


def test_the_nodename_of_a_worker_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook, "nodename", "")
    hook._on_worker(sender="w1@host")
    assert hook.nodename == "w1@host"


class Told:
    """Stands for the sender: keeps what the handlers hand over."""

    def __init__(self, installed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.items: list[Any] = []
        monkeypatch.setattr(installed, "put", lambda item, _size: self.items.append(item))

    @property
    def ends(self) -> list[tuple[str, str]]:
        return [(i.state, i.exception) for i in self.items if isinstance(i, Ended)]


@pytest.fixture
def task(app: Celery) -> Iterator[Any]:
    @app.task(name="echo", shared=False)
    def echo() -> None:
        """Do nothing."""

    app.finalize()
    made = app.tasks["echo"]
    made.request_stack.push(Context({"id": "id-1", "retries": 0, "hostname": "w1@host"}))
    yield made
    made.request_stack.pop()


def postrun_while_raising(task: Any, error: BaseException, state: str | None) -> None:
    """Call as Celery's tracer does, in its finally clause."""
    try:
        try:
            raise error
        finally:
            signals.task_postrun.send(task, task_id="id-1", task=task, retval=None, state=state)
    except BaseException:  # noqa: BLE001, S110  # it is ours
        pass


def test_an_error_in_celery_itself_is_one_end(
    app: Celery, task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backend fails after the task: postrun says SUCCESS, then task_internal_error comes."""
    told = Told(capture.install(app), monkeypatch)
    signals.task_prerun.send(task, task_id="id-1", task=task)
    error = ConnectionError("backend")
    postrun_while_raising(task, error, "SUCCESS")
    assert told.ends == []
    signals.task_internal_error.send(task, task_id="id-1", exception=error, request={})
    signals.task_failure.send(task, task_id="id-1", exception=error)
    assert told.ends == [("FAILURE", "ConnectionError")]


@pytest.mark.parametrize(
    ("in_pool_child", "ends"), [(False, [("FAILURE", "SystemExit")]), (True, [])]
)
def test_what_is_no_exception_is_told_where_the_process_lives_on(
    app: Celery,
    task: Any,
    monkeypatch: pytest.MonkeyPatch,
    in_pool_child: bool,
    ends: list[tuple[str, str]],
) -> None:
    """Of a pool's child that leaves, its main process tells (WorkerLostError)."""
    installed = capture.install(app)
    installed.in_pool_child = in_pool_child
    told = Told(installed, monkeypatch)
    signals.task_prerun.send(task, task_id="id-1", task=task)
    postrun_while_raising(task, SystemExit(3), None)
    assert told.ends == ends


def test_a_failure_inside_of_a_running_task_is_told_by_its_postrun_only(
    app: Celery, task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told(capture.install(app), monkeypatch)
    signals.task_prerun.send(task, task_id="id-1", task=task)
    error = ValueError("x")
    signals.task_failure.send(task, task_id="id-1", exception=error)
    signals.task_postrun.send(task, task_id="id-1", task=task, retval=error, state="FAILURE")
    assert told.ends == [("FAILURE", "ValueError")]


def test_a_rejection_that_the_main_process_makes_a_failure_is_no_second_end(
    app: Celery, task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told(capture.install(app), monkeypatch)
    signals.task_failure.send(task, task_id="id-1", exception=Reject("no", requeue=False))
    assert told.ends == []


def test_a_task_cancelled_with_its_connection_is_told(
    app: Celery, task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told(capture.install(app), monkeypatch)
    signals.task_retry.send(task, request=task.request, einfo=None)
    assert told.ends == [("RETRY", "")]


def test_a_broken_library_switches_the_hook_off(
    app: Celery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    installed = capture.install(app, payload="store", store_url="redis://localhost/0")
    app.send_task("echo")
    assert installed.flush(10)
    assert installed.stats()["enabled"] is False
    assert installed.stats()["dropped"] == {"not_loaded": 1}
    assert "needs the redis package" in caplog.text


class FailingReports:
    """A broker that loses its connection with the first report."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.failed = False

    def publish(self, body: bytes, routing_key: str, hostname: str) -> None:  # noqa: ARG002  # as EventBroker
        if routing_key == "z4j.report" and not self.failed:
            self.failed = True
            raise ConnectionError
        self.taken.append(routing_key)

    def close(self) -> None:
        """Nothing is open."""


def test_a_report_that_is_lost_holds_nothing_up(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = FailingReports()
    monkeypatch.setattr(Sender, "_connect", lambda _self: broker)
    installed = capture.install(app, report_seconds=3600)
    app.send_task("echo")
    installed.flush(10)
    wait_until(lambda: broker.failed)
    app.send_task("echo")
    wait_until(lambda: broker.taken.count("z4j.envelope") == 2, 5, lambda: f"{broker.taken}")


def test_a_scheme_that_kombu_does_not_know_is_told(
    app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    installed = capture.install(app, broker_url="pigeon://me:hunter2@coop")
    app.send_task("echo")
    assert installed.flush(10)
    assert "nothing is captured: No such transport: pigeon" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_broker_that_is_away_is_told_once(
    app: Celery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries = []

    def away(_self: Sender) -> None:
        tries.append(1)
        raise ConnectionError("redis://:hunter2@away")

    monkeypatch.setattr(Sender, "_connect", away)
    monkeypatch.setattr(sender, "_FIRST_PAUSE", 0.001)
    capture.install(app)
    app.send_task("echo")
    wait_until(lambda: len(tries) >= 4)
    told = [record.getMessage() for record in caplog.records]
    assert told == ["the broker does not take events: ConnectionError"]
