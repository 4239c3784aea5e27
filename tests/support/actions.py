"""A stage for actions: a broker, a real worker of tests/support/actions_app.py, a performer."""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from kombu import pools

from tests.support import servers
from tests.support.actions_app import client
from tests.support.process import scratch, wait_until
from z4j_exporter.actions.celery_backend import BackendOptions
from z4j_exporter.actions.perform import Performer
from z4j_exporter.config import Settings

if TYPE_CHECKING:
    from celery import Celery


class ActionsStage:
    """One broker; tasks write to ``directory``. Workers that were started end with ``stop``."""

    def __init__(
        self,
        broker: str,
        backend: str = "",
        settings: Mapping[str, Any] | None = None,
        transport_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.broker, self.backend = broker, backend
        self.app_settings = dict(settings or {})
        if transport_options:
            self.app_settings["broker_transport_options"] = dict(transport_options)
        self.directory: Path = scratch("actions")
        self.app: Celery = client(broker, backend, self.app_settings)
        # Connections live on from one test to the next, and remember which queues they have
        # declared in a broker that has forgotten everything meanwhile.
        pools.reset()
        self.settings = Settings(
            broker_url=broker, broker_transport_options=dict(transport_options or {})
        )
        self._workers: list[servers.Worker] = []

    def worker(self, *args: str, pool: str = "prefork", **options: Any) -> servers.Worker:
        """Start a worker."""
        env = {
            "ACTIONS_APP_DIR": str(self.directory),
            "ACTIONS_APP_BACKEND": self.backend,
            "ACTIONS_APP_SETTINGS": json.dumps(self.app_settings),
        }
        options.setdefault("nodename", f"w{len(self._workers)}@test")
        started = servers.worker(
            "tests.support.actions_app", self.broker, *args, pool=pool, env=env, **options
        )
        self._workers.append(started)
        return started

    def performer(self, **options: Any) -> Performer:
        """Make a performer that knows no more than an exporter's settings tell."""
        backend = BackendOptions(self.backend) if self.backend else None
        return Performer(self.settings, **{"backend": backend, **options})

    def send(self, name: str, *args: Any, **options: Any) -> str:
        """Send a task as an application does; return its id."""
        task_id = str(uuid4())
        self.app.send_task(name, args=args, task_id=task_id, **options)
        return task_id

    def written(self, kind: str, task_id: str, timeout: float = 20.0) -> Any:
        """Wait for what a task writes down, and return it."""
        path = self.directory / f"{kind}-{task_id}"
        wait_until(path.exists, timeout, f"{kind} of {task_id}")
        return pickle.loads(path.read_bytes())  # noqa: S301 - our own task wrote it

    def wrote(self, kind: str, task_id: str) -> bool:
        """Whether a task has written something down."""
        return (self.directory / f"{kind}-{task_id}").exists()

    def status(self, task_id: str) -> str:
        """Return the state that the result backend has."""
        return str(self.app.AsyncResult(task_id).state)

    def wait_for(self, task_id: str, status: str) -> None:
        """Wait until the result backend has this state."""
        wait_until(lambda: self.status(task_id) == status, 20, lambda: self.status(task_id))

    def stop(self) -> None:
        """Stop all workers."""
        for worker in self._workers:
            worker.stop()
        self.app.close()
