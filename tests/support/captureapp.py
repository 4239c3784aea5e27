"""A Celery application with the capture hook, for workers of the tests of it.

``celery -A tests.support.captureapp -b URL worker`` takes the result backend, Celery's settings and
the hook's options (JSON) from ``CAPTUREAPP_BACKEND``, ``CAPTUREAPP_SETTINGS``,
``CAPTUREAPP_OPTIONS``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any

from celery import Celery, Task, chain, group

from z4j_exporter import capture

ACCEPTED = ["json", "yaml", "msgpack", "pickle"]

app = Celery("shop", broker="memory://", backend=os.environ.get("CAPTUREAPP_BACKEND") or None)
app.conf.update(
    accept_content=ACCEPTED,
    result_accept_content=ACCEPTED,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)
app.conf.update(json.loads(os.environ.get("CAPTUREAPP_SETTINGS", "{}")))
hook = capture.install(app, **json.loads(os.environ.get("CAPTUREAPP_OPTIONS", "{}")))


@app.task(name="add")
def add(x: int, y: int) -> int:
    """Add two numbers."""
    return x + y


@app.task(name="total")
def total(numbers: Any) -> int:
    """Add up what a chord's header found."""
    return sum(numbers)


@app.task(name="echo")
def echo(*args: Any, **kwargs: Any) -> None:
    """Take anything."""


@app.task(name="flaky", bind=True, max_retries=3)
def flaky(self: Task, times: int) -> str:
    """Retry some times, then succeed."""
    if self.request.retries < times:
        raise self.retry(exc=ConnectionError("not yet"), countdown=0)
    return "done"


@app.task(name="broken")
def broken(secret: str = "") -> None:
    """Fail, with a text that tells something."""
    raise ValueError(f"password={secret}")


@app.task(name="replaced", bind=True)
def replaced(self: Task) -> None:
    """Hand the rest over to another task under the same uuid."""
    raise self.replace(add.s(1, 2))


@app.task(name="fan_out")
def fan_out(n: int) -> None:
    """Start a group from inside a task."""
    group(add.s(i, i) for i in range(n)).delay()


@app.task(name="nested")
def nested() -> None:
    """Start a chain with a group in it."""
    chain(add.s(1, 1), group(add.s(2), add.s(3)), total.s()).delay()


@app.task(name="slow")
def slow(seconds: float) -> None:
    """Take some time."""
    time.sleep(seconds)


@app.task(name="hard_limit", time_limit=1)
def hard_limit() -> None:
    """Be killed by the hard time limit."""
    time.sleep(60)


@app.task(name="lost")
def lost() -> None:
    """Kill the pool's child."""
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(name="leaves")
def leaves() -> None:
    """Raise what is no Exception."""
    sys.exit(3)
