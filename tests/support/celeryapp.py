"""A Celery application whose tasks end in every way a task can end.

A worker takes it with ``celery -A tests.support.celeryapp -b URL worker`` and reads two environment
variables: ``CELERYAPP_BACKEND`` (may be empty) and ``CELERYAPP_SETTINGS`` (a JSON object of Celery
settings). A client makes an application of its own with `client` and calls the tasks by name.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from typing import Any

from celery import Celery, Task, group
from celery.exceptions import Ignore, Reject


def client(broker_url: str, backend: str = "", settings: Mapping[str, Any] | None = None) -> Celery:
    """Make an application without tasks, for whoever only sends."""
    made = Celery("shop", broker=broker_url, backend=backend or None, set_as_current=False)
    made.conf.update(
        task_send_sent_event=True,
        task_routes={"web.*": {"queue": "web"}},
        broker_connection_retry_on_startup=True,
        worker_hijack_root_logger=False,
    )
    made.conf.update(settings or {})
    return made


app = client(
    "memory://",  # the command line has the broker
    os.environ.get("CELERYAPP_BACKEND", ""),
    json.loads(os.environ.get("CELERYAPP_SETTINGS", "{}")),
)
app.set_current()


def redelivered(task: Task) -> bool:
    """Tell whether the broker hands this message out for the second time."""
    return bool(task.request.delivery_info.get("redelivered"))


# The sample of "Handling Celery events": what a visit finds is extracted, then stored.


class HTTPError(Exception):
    """A page answered with an error."""


@app.task(name="web.visit", bind=True, max_retries=3, acks_late=True)
def visit(self: Task, url: str, delays: tuple[float, ...] = (0.1, 0.1, 0.1)) -> None:
    """Visit a page: it is there, or 404 (retried), or has no address (rejected)."""
    if url.endswith("/missing"):
        raise self.retry(
            exc=HTTPError("404 Not Found"), countdown=delays[min(self.request.retries, 2)]
        )
    if url.endswith("//nowhere"):
        raise Reject(ConnectionError("name not known"), requeue=False)
    (extract.s({"url": url}) | store.s()).delay()
    time.sleep(0.5)  # so that the children's events come before this task's end


@app.task(name="web.extract")
def extract(page: dict[str, Any]) -> dict[str, Any]:
    """Take the links out of a page."""
    return {**page, "links": ["/a", "/b"]}


@app.task(name="web.store")
def store(page: dict[str, Any]) -> int:
    """Store what was extracted."""
    return len(page["links"])


# Ordinary work.


@app.task(name="math.add")
def add(x: int, y: int) -> int:
    """Add two numbers."""
    return x + y


@app.task(name="math.total")
def total(numbers: list[int]) -> int:
    """Add up what a chord's header found."""
    return sum(numbers)


@app.task(name="work.sleep")
def sleep(seconds: float) -> None:
    """Take some time."""
    time.sleep(seconds)


@app.task(name="work.sleep_late", acks_late=True)
def sleep_late(seconds: float) -> None:
    """Take some time, and acknowledge at the end."""
    time.sleep(seconds)


@app.task(name="work.fan_out")
def fan_out(n: int) -> None:
    """Start a group from inside a task."""
    group(add.s(i, i) for i in range(n)).delay()


@app.task(name="work.replaced", bind=True)
def replaced(self: Task) -> None:
    """Hand the rest over to another task under the same uuid."""
    raise self.replace(add.s(1, 2))


@app.task(name="work.report", bind=True)
def report(self: Task) -> None:
    """Send an event of the application's own, and one that looks like a task's."""
    self.send_event("order-shipped", order=42, weight_kg=1.5, to="Köln")
    self.send_event("task-progress", done=3, of=7)


@app.task(name="почта.отправить")
def post(to: str, subject: str = "") -> str:
    """Have a name, arguments and a result outside ASCII."""
    return f"✓ {to}"


@app.task(name="work.quiet", send_events=False)
def quiet() -> None:
    """Opt out of events."""


# Ways to end badly.


@app.task(name="end.ignored")
def ignored() -> None:
    """End without an end event."""
    raise Ignore


@app.task(name="end.requeued", bind=True, acks_late=True)
def requeued(self: Task) -> str:
    """Reject with requeue once, then succeed."""
    if not redelivered(self):
        raise Reject("busy", requeue=True)
    return "second time"


@app.task(name="end.hard_limit", time_limit=1)
def hard_limit() -> None:
    """Be killed by the hard time limit."""
    time.sleep(60)


@app.task(name="end.soft_limit", soft_time_limit=1)
def soft_limit() -> None:
    """Be stopped by the soft time limit."""
    time.sleep(60)


@app.task(name="end.child_killed")
def child_killed() -> None:
    """Kill the pool's child, as the kernel does when memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(name="end.child_killed_late", bind=True, acks_late=True, reject_on_worker_lost=True)
def child_killed_late(self: Task) -> str:
    """Kill the pool's child once; the message comes back."""
    if not redelivered(self):
        os.kill(os.getpid(), signal.SIGKILL)
    return "second time"


class KilledAfterSuccess(Task):
    """A task whose child dies once its success is stored."""

    def on_success(self, *_: Any) -> None:
        """Kill the pool's child."""
        os.kill(os.getpid(), signal.SIGKILL)


@app.task(name="end.killed_after_success", base=KilledAfterSuccess)
def killed_after_success() -> str:
    """Succeed, then lose the child: task-succeeded comes with runtime None."""
    return "stored"


class OddRepr(Exception):  # noqa: N818 - a name without Error is part of the case
    """An exception that does not look like one."""

    def __repr__(self) -> str:
        return "<shop.errors.OddRepr object: it's (broken)>"


class BrokenRepr(Exception):  # noqa: N818 - as above
    """An exception whose repr raises."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class Outer:
    """Where a nested exception class lives."""

    class Nested(Exception):  # noqa: N818 - as above
        """Nested in another class."""


@app.task(name="errors.raise", bind=True)
def fail(self: Task, kind: str) -> None:
    """Fail in one of the odd ways."""
    if kind == "odd_repr":
        raise OddRepr("x")
    if kind == "broken_repr":
        raise BrokenRepr("x")
    if kind == "nested":
        raise Outer.Nested("inside")
    if kind == "dotted":
        raise json.JSONDecodeError("Expecting value", "", 0)
    if kind == "multi_line":
        raise ValueError("first line\n  File \"x.py\", line 1\nKeyError: 'not this one'")
    if kind == "exit":
        raise SystemExit(3)
    if kind == "group":
        raise ExceptionGroup("several", [ValueError("one"), KeyError("two")])
    if kind == "unpicklable":
        raise type("Local", (Exception,), {})("made inside a function")
    if kind == "cause":
        try:
            dict[str, str]()["no such key"]
        except KeyError as error:
            raise RuntimeError("because of the other") from error
    raise ValueError(kind)
