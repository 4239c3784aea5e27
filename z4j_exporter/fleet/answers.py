"""Reads what workers answer to remote control; every answer is hostile until it was read here."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from z4j_exporter.fleet.model import HeldTask, WorkerFacts

#: What is asked about tasks, in the order of a task's life: one that moves on between two answers
#: is then told twice, never not at all.
HELD_COMMANDS = ("scheduled", "reserved", "active")
#: What is asked about the worker itself. Never ``conf`` and ``report``, which tell secrets.
FACT_COMMANDS = ("stats", "active_queues", "registered")

#: Workers whose answers one round takes.
MAX_WORKERS = 10_000
#: Queues of one worker, and tasks it knows, that are taken.
MAX_QUEUES = 1_000
MAX_REGISTERED = 20_000
#: Tasks that one round takes, of all workers.
MAX_HELD = 100_000
#: Characters of a name or uuid; longer ones are not Celery's.
_MAX_NAME = 500
#: The most a pool or a prefetch count can be: what a sane program can count.
_MAX_COUNT = 1_000_000
#: Epoch seconds below which a ``time_start`` is none: Celery before 5.0 told the monotonic clock.
_EPOCH_FROM = 1_000_000_000.0
#: Seconds that a worker's clock may be ahead of ours.
_FUTURE_SECONDS = 86_400.0


class Round:
    """The answers of one round, put together by worker. ``wall`` is the time it began at."""

    def __init__(self, wall: float) -> None:
        self._wall = wall
        self._answers: dict[str, dict[str, Any]] = {}
        self._held_count = 0
        # Workers of one application know the same tasks: kept once.
        self._registered: dict[frozenset[str], frozenset[str]] = {}
        #: Answers that were not taken, by reason.
        self.refused: Counter[str] = Counter()

    def take(self, command: str, body: object) -> str | None:
        """Take one reply, ``{nodename: answer}``; return whose it was, None if it was refused."""
        worker = ""
        reason = "malformed"
        if isinstance(body, dict) and len(body) == 1:
            ((worker, answer),) = body.items()
            if _is_name(worker):
                reason = self._put(command, worker, answer)
        if reason:
            self.refused[reason] += 1
            return None
        return worker

    def complete(self, workers: frozenset[str], commands: tuple[str, ...]) -> bool:
        """Return whether all of these workers answered all of these questions."""
        return all(
            command in self._answers.get(worker, ()) for worker in workers for command in commands
        )

    def held_by(self, worker: str) -> tuple[HeldTask, ...] | None:
        """Return the tasks a worker holds; None until it answered all three questions."""
        answers = self._answers.get(worker, {})
        if not all(command in answers for command in HELD_COMMANDS):
            return None
        tasks: dict[str, HeldTask] = {}
        for command in HELD_COMMANDS:
            tasks.update((task.uuid, task) for task in answers[command])
        return tuple(tasks.values())

    @property
    def answered(self) -> frozenset[str]:
        """The workers that answered some question."""
        return frozenset(self._answers)

    def workers(self) -> tuple[WorkerFacts, ...]:
        """Return the facts of all workers that answered, by name."""
        return tuple(_facts(name, self._answers[name]) for name in sorted(self._answers))

    def tasks(self) -> tuple[HeldTask, ...]:
        """Return the tasks of all workers that told all theirs."""
        return tuple(task for name in self._answers for task in self.held_by(name) or ())

    def _put(self, command: str, worker: str, answer: object) -> str:
        """Keep an answer; return why not, or nothing."""
        known = self._answers.get(worker, {})
        if command in known:
            return "repeated"  # two workers with one nodename, which Celery forbids
        if not known and len(self._answers) >= MAX_WORKERS:
            return "too_many"
        read = self._read(command, worker, answer)
        if read is None:
            return "malformed"
        self._answers[worker] = {**known, command: read}
        return ""

    def _read(self, command: str, worker: str, answer: object) -> Any:
        if command == "stats":
            return answer if isinstance(answer, dict) and "error" not in answer else None
        if not isinstance(answer, list):
            return None  # {"error": …}, or garbage
        if command == "active_queues":
            return tuple(dict.fromkeys(_queue_names(answer)))[:MAX_QUEUES]
        if command == "registered":
            names = frozenset(_task_names(answer[:MAX_REGISTERED]))
            return self._registered.setdefault(names, names)
        room = MAX_HELD - self._held_count
        tasks = tuple(_held(command, worker, answer[:room], self._wall))
        self._held_count += len(tasks)
        return tasks


def _facts(name: str, answers: Mapping[str, Any]) -> WorkerFacts:
    stats = answers.get("stats", {})
    pool = _mapping(stats.get("pool"))
    kind = pool_kind(pool) if pool else None
    return WorkerFacts(
        name=name,
        pool=kind,
        pool_size=_pool_size(kind, pool) if pool else None,
        prefetch_count=_count(stats.get("prefetch_count")),
        queues=answers.get("active_queues"),
        registered=answers.get("registered"),
    )


def pool_kind(pool: Mapping[str, Any]) -> str | None:
    """Return prefork, threads, solo, gevent, eventlet, or the name of a pool of one's own.

    ``implementation`` is told since Celery 5.0; older ones are known by what else they tell.
    """
    implementation = pool.get("implementation")
    if isinstance(implementation, str) and _is_name(implementation):
        module, _, cls = implementation.partition(":")
        kind = module.rpartition(".")[2] or cls
        if module.startswith("celery.concurrency."):
            return "threads" if kind == "thread" else kind
        return cls or kind
    if "writes" in pool:
        return "prefork"
    if "threads" in pool:
        return "threads"
    if "running-threads" in pool:
        return "eventlet"
    if pool.get("put-guarded-by-semaphore") is True and pool.get("max-concurrency") == 1:
        return "solo"
    return None


def _pool_size(kind: str | None, pool: Mapping[str, Any]) -> int | None:
    """Return how many tasks a pool can run at one time.

    Prefork tells its processes; the limit stays what it was at the start, whatever autoscale,
    pool_grow and pool_shrink did since (celery/concurrency/prefork.py).
    """
    if kind == "solo":
        return 1
    processes = pool.get("processes")
    if kind == "prefork" and isinstance(processes, list) and processes:
        return min(len(processes), _MAX_COUNT)
    return _count(pool.get("max-concurrency"))


def _queue_names(answer: list[object]) -> Iterator[str]:
    for each in answer:
        name = _mapping(each).get("name")
        if isinstance(name, str) and _is_name(name):
            yield name


def _task_names(answer: list[object]) -> Iterator[str]:
    for each in answer:
        if isinstance(each, str) and len(each) < 10 * _MAX_NAME:
            name = each.partition(" [")[0]  # "work.add [rate_limit=10/m]"
            if _is_name(name):
                yield name


def _held(command: str, worker: str, answer: list[object], wall: float) -> Iterator[HeldTask]:
    for each in answer:
        told = _mapping(each)
        request = _mapping(told.get("request")) if command == "scheduled" else told
        uuid, name = request.get("id"), request.get("name")
        if not isinstance(uuid, str) or not isinstance(name, str):
            continue
        if not _is_name(uuid) or not _is_name(name):
            continue
        running = command == "active"
        state: Literal["running", "reserved"] = "running" if running else "reserved"
        yield HeldTask(
            uuid=uuid,
            name=name,
            worker=worker,
            state=state,
            queue=_queue_of(_mapping(request.get("delivery_info"))),
            started=_moment(request.get("time_start"), wall) if running else None,
            eta=_eta(told.get("eta")),
        )


def _queue_of(delivery: Mapping[str, Any]) -> str | None:
    """Return the queue a message went to, where it is sure.

    Celery publishes to a direct queue through the broker's default exchange, whose routing keys
    are names of queues (celery/app/amqp.py ``send_task_message``). With any other exchange, a
    routing key says nothing of the queue.
    """
    key = delivery.get("routing_key")
    sure = delivery.get("exchange") == "" and isinstance(key, str) and _is_name(key)
    return str(key) if sure else None


def _moment(value: object, wall: float) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if _EPOCH_FROM <= value <= wall + _FUTURE_SECONDS else None


def _eta(value: object) -> float | None:
    if not isinstance(value, str) or len(value) > _MAX_NAME:
        return None
    try:
        parsed = datetime.fromisoformat(value)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _count(value: object) -> int | None:
    """Return a count; None for what is none, such as Celery's N/A."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= _MAX_COUNT else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_NAME
