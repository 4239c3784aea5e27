"""The hook's own rules: what it imports, installs, and does when something in it goes wrong."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, signals

from z4j_exporter import capture
from z4j_exporter.capture import handlers, hook
from z4j_exporter.capture.settings import SettingsError

#: What the exporter needs and the hook must not: it is installed with Celery alone.
NOT_FOR_THE_HOOK = (
    "msgspec prometheus_client opentelemetry pydantic rich httpcore h11 uvicorn bcrypt hiredis redis"
    " yaml msgpack cryptography django flask"
).split()


@pytest.fixture
def app() -> Iterator[Celery]:
    made = Celery("shop", broker="memory://", set_as_current=False)
    yield made
    for each in handlers.captures.values():
        each.uninstall()
    made.close()


def run(program: str) -> str:
    """Run a program in an interpreter of its own, without the packages that the hook must not need."""
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
        "z4j_exporter.capture.handlers",
        "z4j_exporter.capture.hook",
        "z4j_exporter.capture.intake",
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

    @app.task(name="eager")
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
