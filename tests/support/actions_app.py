"""A Celery application whose tasks write down what they were called with, and how they ended.

Workers run it as ``celery -A tests.support.actions_app -b URL worker``. Environment:
``ACTIONS_APP_DIR`` (where tasks write), ``ACTIONS_APP_BACKEND``, ``ACTIONS_APP_SETTINGS`` (JSON).
Nothing that is proven with it imports it into the exporter.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from celery import Celery, Task


def client(broker_url: str, backend: str = "", settings: Mapping[str, Any] | None = None) -> Celery:
    """Make an application without tasks, for whoever only sends."""
    made = Celery("actions", broker=broker_url, backend=backend or None, set_as_current=False)
    made.conf.update(broker_connection_retry_on_startup=True, result_extended=True)
    made.conf.update(settings or {})
    return made


app = client(
    "memory://",  # the command line has the broker
    os.environ.get("ACTIONS_APP_BACKEND", ""),
    json.loads(os.environ.get("ACTIONS_APP_SETTINGS", "{}")),
)
app.set_current()


def write(kind: str, task_id: str, value: Any) -> None:
    """Write down a value, whole or not at all."""
    directory = Path(os.environ["ACTIONS_APP_DIR"])
    partial = directory / f".{kind}-{task_id}-{os.getpid()}"
    partial.write_bytes(pickle.dumps(value))
    partial.rename(directory / f"{kind}-{task_id}")


def call_of(task: Task, args: Any, kwargs: Any) -> dict[str, Any]:
    """Return all that a retry has to keep, and its lineage."""
    request = task.request
    return {
        "args": tuple(args),
        "kwargs": dict(kwargs),
        "id": request.id,
        "root_id": request.root_id,
        "parent_id": request.parent_id,
        "retries": request.retries,
        "group": request.group,
        "chord": request.chord,
        "timelimit": request.timelimit,
        "priority": request.delivery_info.get("priority"),
        "routing_key": request.delivery_info.get("routing_key"),
        "retry_of": request.get("z4j-retry-of"),
        "retry_count": request.get("z4j-retry-count"),
        "custom": request.get("x-custom"),
    }


@app.task(name="record", bind=True)
def record(self: Task, *args: Any, **kwargs: Any) -> None:
    """Write down how it was called."""
    write("call", self.request.id, call_of(self, args, kwargs))


@app.task(name="record.fail", bind=True)
def fail(self: Task, *args: Any, **kwargs: Any) -> None:
    """Write down how it was called; fail while the file "down" is there."""
    write("call", self.request.id, call_of(self, args, kwargs))
    if (Path(os.environ["ACTIONS_APP_DIR"]) / "down").exists():
        raise ConnectionError("the dependency is down")


@app.task(name="record.change", bind=True)
def change(self: Task, items: list[Any]) -> None:
    """Change an argument in place, then fail."""
    items.append("changed")
    raise ValueError(self.request.id)


@app.task(name="work.wait", bind=True)
def wait(self: Task, seconds: float = 60.0) -> None:
    """Run until SIGTERM comes, and write that down; or until the time is over."""

    def on_sigterm(_number: int, _frame: FrameType | None) -> None:
        write("sigterm", self.request.id, os.getpid())
        sys.exit(0)

    signal.signal(signal.SIGTERM, on_sigterm)
    write("running", self.request.id, os.getpid())
    time.sleep(seconds)
    write("finished", self.request.id, os.getpid())


@app.task(name="work.sleep", bind=True)
def sleep(self: Task, seconds: float = 60.0) -> None:
    """Take some time, in any kind of pool."""
    write("running", self.request.id, os.getpid())
    time.sleep(seconds)
    write("finished", self.request.id, os.getpid())
