"""The stage of a scenario: real workers, a client, and a listener that keeps every event."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import kombu
from celery.events.event import get_exchange

from tests.support import servers
from tests.support.celeryapp import client

if TYPE_CHECKING:
    from celery.canvas import Signature

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
    text = re.sub(
        r'(File \\+")/[^"\\]*?/tests/support/(?:celeryapp|traced)\.py', r"\1/app/tasks.py", text
    )
    return re.sub(r"tests\.support\.(?:celeryapp|traced)", "shop.tasks", text)


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

    def _take(self, body: Event | list[Event], _message: object) -> None:
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

    broker_url: str
    listener: Listener
    backend: str
    settings: Mapping[str, Any]
    workers: dict[str, servers.Worker] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.app = client(self.broker_url, self.backend, self.settings)

    def worker(self, name: str = "w1@host1") -> None:
        """Start a prefork worker, unless it runs, and wait until it is online."""
        if name in self.workers:
            return
        self.workers[name] = servers.worker(
            "tests.support.celeryapp",
            self.broker_url,
            "-Q",
            "celery,web",
            nodename=name,
            concurrency=2,
            env={
                "CELERYAPP_BACKEND": self.backend,
                "CELERYAPP_SETTINGS": json.dumps(dict(self.settings)),
            },
        )
        self.until("worker-online", hostname=name)

    def seen(self, kind: str, **fields: Any) -> int:
        """Count the events of a type with these fields."""
        return sum(matches(r.event, kind, fields) for r in self.listener.received)

    def until(self, kind: str, n: int = 1, **fields: Any) -> None:
        """Wait for the n-th event of a type with these fields."""
        self.listener.wait(
            lambda events: sum(matches(event, kind, fields) for event in events) >= n,
            f"{n} of {kind} {fields}",
        )

    def task(self, name: str, *args: Any, **kwargs: Any) -> Signature:
        """Make a signature of a task by its name."""
        return self.app.signature(name, args=args, kwargs=kwargs)

    def kill(self, name: str) -> None:
        """Kill a worker and its children, as a machine that goes away does."""
        self.workers.pop(name).kill()

    def quit(self, name: str) -> None:
        """Stop a worker cold: it cancels what it runs and gives the messages back."""
        worker = self.workers.pop(name)
        worker.signal(signal.SIGQUIT)
        worker.wait(10)

    def close(self) -> None:
        """Stop the workers in order; the ones that hang are killed."""
        for worker in self.workers.values():
            worker.signal(signal.SIGTERM)  # all at once: each takes a second
        for worker in self.workers.values():
            worker.stop()


def matches(event: Event, kind: str, fields: Mapping[str, Any]) -> bool:
    """Tell whether an event has a type and these fields."""
    return event["type"] == kind and all(event.get(key) == value for key, value in fields.items())


@dataclass(frozen=True)
class Scenario:
    """One story: how it is played and how many events of each type Celery sends for it."""

    name: str
    #: Event type → how many.
    events: Mapping[str, int]
    act: Callable[[Stage], None]
    #: Celery settings of the worker and the client.
    settings: Mapping[str, Any]
    #: Whether it needs a result backend (a Redis broker serves as one).
    backend: bool


@contextlib.contextmanager
def staged(broker_url: str, *scenarios: Scenario) -> Iterator[Stage]:
    """Play scenarios one after the other on the same workers, which leave at the end.

    Raises TimeoutError when an expected event does not come.
    """
    expected = sum((Counter(s.events) for s in scenarios), Counter[str]())
    settings = {key: value for s in scenarios for key, value in s.settings.items()}
    backend = broker_url if any(s.backend for s in scenarios) else ""
    with Listener(broker_url) as listener:
        stage = Stage(broker_url, listener, backend, settings)
        try:
            for scenario in scenarios:
                scenario.act(stage)
            listener.wait(
                lambda events: Counter(e["type"] for e in events) >= expected, f"{dict(expected)}"
            )
            yield stage
        finally:
            stage.close()
            stage.app.close()
            gc.collect()  # results unsubscribe when they go: now, while the broker is there
        for name in stage.workers:
            stage.until("worker-offline", hostname=name)


def play(broker_url: str, *scenarios: Scenario) -> list[Received]:
    """Play scenarios to their end; return all events, also those that nobody expected.

    The workers leave `SETTLE` seconds after the last expected event.
    """
    with staged(broker_url, *scenarios) as stage:
        time.sleep(SETTLE)
    return list(stage.listener.received)
