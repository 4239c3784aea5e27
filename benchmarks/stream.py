"""A deterministic stream of Celery events, with the fields Celery 5.7 sends and in its batches.

The field sets and their order were taken from messages captured from a Celery 5.7 worker and
client; `tests/unit/test_bench_stream.py` holds them against Celery's own dispatcher.
"""

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from benchmarks.vocabulary import EXCEPTIONS, QUEUES, TRACEBACK, arguments, task_names

Event = dict[str, Any]

#: Seconds between two heartbeats of a worker (Celery's default).
HEARTBEAT_SECONDS = 2.0
#: Share of attempts that end in task-failed, and in task-retried.
FAILED_SHARE = 0.02
RETRIED_SHARE = 0.02
#: Share of tasks that another task sent, so that root_id and parent_id are not their own.
CHILD_SHARE = 0.3
#: Share of tasks sent with an eta two seconds ahead.
ETA_SHARE = 0.01
#: A worker sends its buffered task events in lists of this many, 4 on average.
BATCH_SIZES = (2, 3, 4, 5, 6)
#: Client processes (web servers) that send tasks.
CLIENTS = 4


@dataclass(frozen=True, slots=True)
class Shape:
    """What the stream looks like; two equal shapes give equal streams.

    `events` is the exact number of events; `rate` the events per second that their timestamps
    (epoch seconds, from `start`) tell of.
    """

    events: int
    start: float
    task_names: int = 50
    workers: int = 20
    rate: float = 5_000.0
    seed: int = 5


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it is published: a single event, or the list of a `task.multi`."""

    routing_key: str
    sender: str
    body: Event | list[Event]

    @property
    def events(self) -> int:
        """How many events it carries."""
        return len(self.body) if isinstance(self.body, list) else 1


@dataclass(slots=True)
class _Worker:
    hostname: str
    pid: int
    clock: int = 0
    processed: int = 0
    active: int = 0
    batch_size: int = 4
    buffer: list[Event] = field(default_factory=list)


@dataclass(slots=True)
class _Task:
    uuid: str
    root_id: str
    parent_id: str | None
    name: str
    queue: str
    worker: _Worker
    args: str
    kwargs: str
    eta: str | None = None
    retries: int = 0
    began: float = 0.0


def messages(shape: Shape) -> Iterator[Message]:
    """Yield the messages of the stream in the order in which they are published."""
    return _Simulation(shape).run()


class _Simulation:
    """Clients send, workers receive, start and end tasks, on a clock of its own."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._random = random.Random(shape.seed)
        self._names = task_names(shape.task_names)
        self._workers = [
            _Worker(f"worker{i:02d}@node{i // 2:02d}", 1_000 + i) for i in range(shape.workers)
        ]
        self._clients = [(f"gen{7_000 + i}@web{i}", 7_000 + i, [0]) for i in range(CLIENTS)]
        self._agenda: list[tuple[float, int, str, Any]] = []
        self._order = 0
        self._made = 0
        self._recent: list[_Task] = []

    def run(self) -> Iterator[Message]:
        """Play the agenda until the wanted number of events has been made."""
        for i, worker in enumerate(self._workers):
            offset = HEARTBEAT_SECONDS * i / len(self._workers)
            self._plan(self._shape.start, "online", worker)
            self._plan(self._shape.start + offset, "heartbeat", worker)
        self._plan(self._shape.start, "arrive", None)
        while self._made < self._shape.events:
            at, _, step, subject = heapq.heappop(self._agenda)
            message = getattr(self, f"_{step}")(at, subject)
            if message is not None:
                yield message
        for worker in self._workers:
            if worker.buffer:
                yield self._flush(worker)

    def _plan(self, at: float, step: str, subject: Any) -> None:
        self._order += 1
        heapq.heappush(self._agenda, (at, self._order, step, subject))

    # -- what happens ---------------------------------------------------------------------------

    def _arrive(self, at: float, _: None) -> None:
        """Let a client send a task, and plan the next one."""
        self._plan(at, "sent", self._new_task(at))
        # A task makes four events, a little more with its retries and the heartbeats.
        pause = 4.1 / self._shape.rate
        self._plan(at + pause * self._random.uniform(0.5, 1.5), "arrive", None)

    def _sent(self, at: float, task: _Task) -> Message:
        sender, pid, clock = self._random.choice(self._clients)
        clock[0] += 1
        self._plan(at + self._random.uniform(0.001, 0.004), "received", task)
        body = {
            **_head(sender, pid, clock[0]),
            "uuid": task.uuid,
            "root_id": task.root_id,
            "parent_id": task.parent_id,
            "name": task.name,
            "args": task.args,
            "kwargs": task.kwargs,
            "retries": task.retries,
            "eta": task.eta,
            "expires": None,
            "queue": task.queue,
            "exchange": "",
            "routing_key": task.queue,
        }
        return self._single(sender, _stamp(body, at, "task-sent"))

    def _received(self, at: float, task: _Task) -> Message | None:
        wait = 2.0 if task.eta and not task.retries else 0.0
        self._plan(at + wait + self._random.expovariate(20.0), "started", task)
        return self._buffered(
            task.worker,
            at,
            "task-received",
            uuid=task.uuid,
            name=task.name,
            args=task.args,
            kwargs=task.kwargs,
            root_id=task.root_id,
            parent_id=task.parent_id,
            retries=task.retries,
            eta=task.eta,
            expires=None,
        )

    def _started(self, at: float, task: _Task) -> Message | None:
        task.began = at
        task.worker.processed += 1
        task.worker.active += 1
        self._plan(at + self._random.lognormvariate(-3.0, 1.2), "ended", task)
        return self._buffered(task.worker, at, "task-started", uuid=task.uuid)

    def _ended(self, at: float, task: _Task) -> Message | None:
        task.worker.active -= 1
        draw = self._random.random()
        if draw < FAILED_SHARE:
            return self._broken(at, task, "task-failed", "")
        if draw < FAILED_SHARE + RETRIED_SHARE:
            message = self._broken(at, task, "task-retried", "celery.exceptions.Retry: Retry in 1s")
            task.retries += 1
            task.parent_id = task.uuid  # as Celery does for every retry
            self._plan(at + 0.002, "sent", task)
            return message
        result = "None" if self._random.random() < 0.5 else f"{{'stored': {self._order}}}"
        runtime = at - task.began
        return self._buffered(
            task.worker, at, "task-succeeded", uuid=task.uuid, result=result, runtime=runtime
        )

    def _broken(self, at: float, task: _Task, kind: str, last_line: str) -> Message | None:
        name, text = self._random.choice(EXCEPTIONS)
        return self._buffered(
            task.worker,
            at,
            kind,
            uuid=task.uuid,
            exception=f"{name.rpartition('.')[2]}({text!r})",
            traceback=f"{TRACEBACK}{last_line or f'{name}: {text}'}\n",
        )

    def _online(self, at: float, worker: _Worker) -> Message:
        return self._worker_event(at, worker, "worker-online")

    def _heartbeat(self, at: float, worker: _Worker) -> Message:
        self._plan(at + HEARTBEAT_SECONDS, "heartbeat", worker)
        return self._worker_event(at, worker, "worker-heartbeat")

    def _worker_event(self, at: float, worker: _Worker, kind: str) -> Message:
        worker.clock += 1
        body = {
            **_head(worker.hostname, worker.pid, worker.clock),
            "freq": HEARTBEAT_SECONDS,
            "active": worker.active,
            "processed": worker.processed,
            "loadavg": [0.42, 0.37, 0.31],
            "sw_ident": "py-celery",
            "sw_ver": "5.7.0",
            "sw_sys": "Linux",
        }
        return self._single(worker.hostname, _stamp(body, at, kind))

    # -- how it is sent -------------------------------------------------------------------------

    def _single(self, sender: str, event: Event) -> Message:
        self._made += 1
        return Message(str(event["type"]).replace("-", "."), sender, event)

    def _buffered(self, worker: _Worker, at: float, kind: str, **fields: Any) -> Message | None:
        """Put a task event in its worker's buffer; return the list when it is full."""
        self._made += 1
        worker.clock += 1
        body = {**_head(worker.hostname, worker.pid, worker.clock), **fields}
        worker.buffer.append(_stamp(body, at, kind))
        return self._flush(worker) if len(worker.buffer) >= worker.batch_size else None

    def _flush(self, worker: _Worker) -> Message:
        batch, worker.buffer = worker.buffer, []
        worker.batch_size = self._random.choice(BATCH_SIZES)
        return Message("task.multi", worker.hostname, batch)

    def _new_task(self, at: float) -> _Task:
        rng = self._random
        uuid = _uuid4(rng)
        parent = rng.choice(self._recent) if self._recent and rng.random() < CHILD_SHARE else None
        number = rng.randrange(len(self._names))
        args, kwargs = arguments(rng, number)
        eta = rng.random() < ETA_SHARE
        task = _Task(
            uuid=uuid,
            root_id=parent.root_id if parent else uuid,
            parent_id=parent.uuid if parent else None,
            name=self._names[number],
            queue=QUEUES[number % len(QUEUES)],
            worker=rng.choice(self._workers),
            args=args,
            kwargs=kwargs,
            eta=datetime.fromtimestamp(at + 2.0, UTC).isoformat() if eta else None,
        )
        self._recent.append(task)
        if len(self._recent) > 500:
            del self._recent[:250]
        return task


def _head(hostname: str, pid: int, clock: int) -> Event:
    return {"hostname": hostname, "utcoffset": 0.0, "pid": pid, "clock": clock}


def _stamp(body: Event, at: float, kind: str) -> Event:
    body["timestamp"] = at
    body["type"] = kind
    return body


def _uuid4(rng: random.Random) -> str:
    digits = f"{rng.getrandbits(128):032x}"
    variant = "89ab"[rng.getrandbits(2)]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
