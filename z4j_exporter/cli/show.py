"""Renders events as lines for people; nothing from the wire reaches the terminal unescaped."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import click

from z4j_exporter.events.model import TASK_EVENT_TYPES, WORKER_EVENT_TYPES, Event
from z4j_exporter.track.attempts import Attempt
from z4j_exporter.track.exceptions import exception_class
from z4j_exporter.track.table import Task
from z4j_exporter.track.transitions import UNKNOWN_TASK
from z4j_exporter.track.workers import Worker

#: The tracker's states under the names that Celery gives them (celery/states.py).
CELERY_STATES = {
    "waiting": "PENDING",
    "reserved": "RECEIVED",
    "running": "STARTED",
    "succeeded": "SUCCESS",
    "failed": "FAILURE",
    "revoked": "REVOKED",
    "rejected": "REJECTED",
}
_COLOURS = {
    "task-started": "blue",
    "task-succeeded": "green",
    "task-failed": "red",
    "task-retried": "yellow",
    "task-rejected": "magenta",
    "task-revoked": "magenta",
    "task-cancelled": "magenta",
    "worker-online": "green",
    "worker-offline": "red",
}
#: Characters that a column leaves for the longest of Celery's own types and states, and for
#: most task names.
_TYPE_WIDTH = len("WORKER-HEARTBEAT")
_NAME_WIDTH = 30
_STATE_WIDTH = len("STATE=RECEIVED,")


class Seen(NamedTuple):
    """An event, and what is known of its task or worker after it."""

    #: Every field, as it was sent.
    fields: dict[str, Any]
    event: Event
    task: Task | None
    worker: Worker | None

    @property
    def uuid(self) -> str:
        """The id of the task it speaks of; "" when it speaks of none."""
        uuid = self.event.uuid or self.fields.get("uuid")
        return uuid if isinstance(uuid, str) else ""

    @property
    def name(self) -> str:
        """The name of the task it speaks of; "" when it speaks of none."""
        known = self.task.name if self.task is not None else None
        name = self.event.name or known or self.fields.get("name")
        if isinstance(name, str):
            return name
        return UNKNOWN_TASK if self.event.type in TASK_EVENT_TYPES else ""


def printable(text: str) -> str:
    """Return the text with all that a terminal might obey or hide as escapes.

    Control characters, line and paragraph separators, marks that change the direction of
    writing, and half surrogate pairs.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def state_name(task: Task) -> str:
    """Return the task's state as Celery calls it; LOST and UNSEEN are conclusions of our own."""
    state = task.state()
    if state == "waiting" and task.attempts[-1].end == "retried":
        return "RETRY"
    return CELERY_STATES.get(state, state.upper())


class EventLines:
    """How events are written: one line each, or with all their fields beneath (``verbose``)."""

    def __init__(self, *, utc: bool = False, colour: bool = False, verbose: bool = False) -> None:
        self._utc = utc
        self._colour = colour
        self._verbose = verbose

    def render(self, seen: Seen) -> str:
        """Return the lines of one event, each with its end."""
        lines = [self._line(seen)]
        if self._verbose:
            lines += (f"    {line}" for line in self._details(seen))
        return "\n".join(lines) + "\n"

    def _line(self, seen: Seen) -> str:
        event = seen.event
        kind = printable(event.type.upper()).ljust(_TYPE_WIDTH)
        subject = event.hostname if event.type in WORKER_EVENT_TYPES else seen.name
        name = printable(subject).ljust(_NAME_WIDTH)
        if self._colour:
            kind = click.style(kind, fg=_COLOURS.get(event.type, "cyan"))
            name = click.style(name, bold=True)
        return f"[{self._time(event.timestamp)}] {kind} {name} ({_facts(seen)})"

    def _details(self, seen: Seen) -> Iterator[str]:
        yield from self._block("event", seen.fields)
        if seen.task is not None:
            yield from self._block("task", self._task_fields(seen.task))
        if seen.worker is not None and seen.event.type in WORKER_EVENT_TYPES:
            yield from self._block("worker", worker_fields(seen.worker))

    def _block(self, title: str, fields: dict[str, Any]) -> Iterator[str]:
        yield click.style(f"{title}:", dim=True) if self._colour else f"{title}:"
        for key, value in fields.items():
            first, *more = _value_lines(value)
            yield f"    {printable(str(key))}: {first}"
            yield from (f"        {line}" for line in more)

    def _task_fields(self, task: Task) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "uuid": task.uuid,
            "name": task.name,
            "state": state_name(task),
            "queue": task.queue,
            "root_id": task.root_id,
            "parent_id": task.parent_id,
            "first_sent": self._moment(task.first_sent),
            "ended": self._moment(task.ended_at),
        }
        for number, attempt in enumerate(task.attempts, 1):
            fields[f"attempt {number}"] = self._attempt(attempt)
        return fields

    def _attempt(self, attempt: Attempt) -> str:
        parts = [f"retries={attempt.retries}", f"worker={attempt.worker}"]
        for step in ("sent", "eta", "received", "started", "ended"):
            moment = getattr(attempt, step)
            if moment is not None:
                parts.append(f"{step}={self._moment(moment)}")
        if attempt.end is not None:
            parts.append(f"end={attempt.end}")
        return ", ".join(parts)

    def _moment(self, seconds: float | None) -> str | None:
        return None if seconds is None else self._time(seconds)

    def _time(self, seconds: float) -> str:
        """Return a moment to the millisecond, in local time or UTC."""
        try:
            moment = datetime.fromtimestamp(seconds, UTC)
            if not self._utc:
                moment = moment.astimezone()
        except (ValueError, OverflowError, OSError):
            return f"{seconds:.3f}"  # the last day of the year 9999, in an early time zone
        text = moment.replace(tzinfo=None).isoformat(" ", "milliseconds")
        return f"{text}Z" if self._utc else text


def worker_fields(worker: Worker) -> dict[str, Any]:
    """Return what is known of a worker."""
    return {
        "hostname": worker.name,
        "up": worker.up,
        "pid": worker.pid,
        "active": worker.active,
        "processed": worker.processed,
        "loadavg": worker.loadavg,
        "freq": worker.freq,
        "sw_ident": worker.sw_ident,
        "sw_ver": worker.sw_ver,
        "sw_sys": worker.sw_sys,
        "last_heartbeat": worker.heartbeat_timestamp,
        "clock_skew_seconds": worker.clock_skew,
        "missing_events": worker.missing_events,
    }


def _facts(seen: Seen) -> str:
    """Return what stands between the parentheses."""
    event = seen.event
    if event.type in WORKER_EVENT_TYPES:
        up = seen.worker.up if seen.worker is not None else event.type != "worker-offline"
        facts = {"STATE": "UP" if up else "DOWN", "ACTIVE": event.active}
        facts["PROCESSED"] = event.processed
    else:
        state = state_name(seen.task) if seen.task is not None else None
        sender = "CLIENT" if event.type == "task-sent" else "WORKER"
        facts = {"STATE": state, "UUID": seen.uuid or None, sender: event.hostname or None}
        if event.type in ("task-failed", "task-retried"):
            # The class alone: the message may hold what nobody should see on a shared screen.
            facts["EXCEPTION"] = exception_class(event.exception, event.traceback)
        if event.runtime is not None:
            facts["RUNTIME"] = f"{event.runtime:.3f}s"
    told = [f"{key}={printable(str(value))}" for key, value in facts.items() if value is not None]
    if len(told) > 1 and told[0].startswith("STATE="):
        return f"{told[0]},".ljust(_STATE_WIDTH) + " " + ", ".join(told[1:])
    return ", ".join(told)


def _value_lines(value: Any) -> list[str]:
    """Return a field's value as lines: a traceback keeps its own, all else has one."""
    if isinstance(value, str):
        return [printable(line) for line in value.rstrip("\n").split("\n")]
    try:
        return [printable(repr(value))]
    except RecursionError:
        return ["(nested too deep to be shown)"]
