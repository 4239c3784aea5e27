"""What tests of the capture hook play on: a listener, a client and workers with the hook."""

from __future__ import annotations

import contextlib
import gc
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from celery import Celery

from tests.support import servers
from tests.support.stage import Event, Listener
from z4j_exporter import capture

#: As in captureapp.py, which is not imported here: it installs the hook.
ACCEPTED = ["json", "yaml", "msgpack", "pickle"]


@dataclass
class Captured:
    """A client with the hook, its workers, and the events so far."""

    broker_url: str
    backend: str
    listener: Listener
    options: Mapping[str, Any]
    settings: Mapping[str, Any]
    workers: list[servers.Worker] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.app = Celery("client", broker=self.broker_url, backend=self.backend or None)
        self.app.conf.update(accept_content=ACCEPTED, result_accept_content=ACCEPTED)
        self.app.conf.update(self.settings)
        self.hook = capture.install(self.app, **{"name": "client:app", **self.options})

    def worker(self, pool: str = "prefork", *args: str, **kwargs: Any) -> servers.Worker:
        """Start a worker with the hook."""
        env = {
            "CAPTUREAPP_BACKEND": self.backend,
            "CAPTUREAPP_SETTINGS": json.dumps(dict(self.settings)),
            "CAPTUREAPP_OPTIONS": json.dumps(dict(self.options)),
        }
        self.workers.append(
            servers.worker(
                "tests.support.captureapp",
                self.broker_url,
                *args,
                pool=pool,
                **{"concurrency": 2, "env": env, **kwargs},
            )
        )
        return self.workers[-1]

    def signature(self, name: str, *args: Any, **options: Any) -> Any:
        """Make a signature of one of the workers' tasks."""
        return self.app.signature(name, args=args, **options)

    def events(self, kind: str, **fields: Any) -> list[Event]:
        """Return the hook's events of a type whose notes have these fields, in order of arrival."""
        return [
            {**r.event, **r.event["z4j"]}
            for r in list(self.listener.received)
            if r.event["type"] == kind
            and all(r.event["z4j"].get(key) == value for key, value in fields.items())
        ]

    def wait(self, kind: str, n: int = 1, seconds: float = 20.0, **fields: Any) -> list[Event]:
        """Wait for n such events and return those that are there then."""
        self.listener.wait(
            lambda _: len(self.events(kind, **fields)) >= n, f"{n} {kind} {fields}", seconds
        )
        return self.events(kind, **fields)


@contextlib.contextmanager
def capturing(
    broker_url: str,
    *,
    backend: str = "",
    options: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Iterator[Captured]:
    """Listen on a broker, with a client that has the hook; all ends with the block."""
    with Listener(broker_url) as listener:
        made = Captured(broker_url, backend, listener, options or {}, settings or {})
        try:
            yield made
        finally:
            made.hook.uninstall()
            for worker in made.workers:
                worker.stop()
            made.app.close()
            gc.collect()  # results unsubscribe when they go: now, while the backend is there
