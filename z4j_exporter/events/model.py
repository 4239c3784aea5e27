"""The typed event: what one Celery event carries, as far as this program reads it.

Field names and meanings are Celery's own. task-sent: celery/app/amqp.py ``send_task_message``;
task-received: celery/worker/strategy.py; the other task events: celery/worker/request.py;
worker events: celery/worker/heartbeat.py. Only ``type`` and ``timestamp`` are certain
(celery/events/event.py ``Event``).
"""

from typing import Annotated, Any

from msgspec import Meta, Raw, Struct

#: No real task id comes near this many characters (a UUID has 36).
MAX_ID_LENGTH = 512
#: Characters of task names, queue names, nodenames: Celery sets no limit, AMQP allows 255 bytes.
#: The tracker may keep some dozens of them for each task: this bounds its memory.
MAX_NAME_LENGTH = 255
#: Beyond it a count is no count: Prometheus's parser rejects a page with such a number.
MAX_COUNT = 2**53
#: Seconds; no task runs for 30 years. Sums of such durations stay finite.
MAX_SECONDS = 1e9
#: Seconds since the epoch, end of the year 9999: past it a timestamp cannot be shown as a date.
MAX_TIMESTAMP = 253_402_300_800.0

Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH)]
Name = Annotated[str, Meta(max_length=MAX_NAME_LENGTH)]
Count = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
Seconds = Annotated[float, Meta(ge=-MAX_SECONDS, le=MAX_SECONDS)]
Timestamp = Annotated[float, Meta(ge=0.0, lt=MAX_TIMESTAMP)]

#: Event types that speak of one task and must carry its ``uuid``.
TASK_EVENT_TYPES = frozenset(
    {
        "task-sent",
        "task-received",
        "task-started",
        "task-succeeded",
        "task-failed",
        "task-retried",
        "task-rejected",
        "task-revoked",
        "task-cancelled",
    }
)
#: Event types that speak of one worker and must carry its ``hostname``.
WORKER_EVENT_TYPES = frozenset({"worker-online", "worker-heartbeat", "worker-offline"})
#: Every type Celery itself sends; anything else is a custom event (``send_event``).
KNOWN_EVENT_TYPES = TASK_EVENT_TYPES | WORKER_EVENT_TYPES
#: What the capture hook sends from within the application; see captured.py.
CAPTURE_EVENT_TYPES = frozenset({"z4j-envelope", "z4j-run", "z4j-end", "z4j-report"})
#: Stands for a field that the event does not have.
NO_RAW = Raw()


class Event(Struct, frozen=True, gc=False, kw_only=True):
    """One event. ``timestamp`` is the sender's clock in epoch seconds, exactly as sent.

    ``hostname`` is the sender's full nodename (``worker1@host``; ``gen123@host`` is a client).
    args, kwargs and results are not read: they are lossy reprs and may hold secrets.
    """

    type: Name
    timestamp: Timestamp
    hostname: Name = ""
    pid: Count | None = None
    # task events
    uuid: Id | None = None
    name: Name | None = None
    queue: Name | None = None
    root_id: Id | None = None
    parent_id: Id | None = None
    retries: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    eta: str | None = None
    expires: str | None = None
    runtime: Seconds | None = None
    exception: str | None = None
    traceback: str | None = None
    requeue: bool | None = None
    requeued: bool | None = None
    terminated: bool | None = None
    expired: bool | None = None
    # worker events
    freq: float | None = None
    active: Count | None = None
    processed: Count | None = None
    loadavg: Annotated[list[float], Meta(max_length=8)] | None = None
    sw_ident: Name | None = None
    sw_ver: Name | None = None
    sw_sys: Name | None = None
    # the capture hook's events: not parsed before it is asked for (captured.py)
    z4j: Raw = NO_RAW


class EventHead(Struct, frozen=True, gc=False):
    """The certain part of any event: enough to count a custom one, whatever else it carries."""

    type: Name
    timestamp: Timestamp
    hostname: Any = ""
