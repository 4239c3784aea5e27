"""The tables of the status page: workers, queues, tasks, failures, losses."""

import re
from collections.abc import Sequence

from z4j_exporter.web import humanize, values
from z4j_exporter.web.chart import meter
from z4j_exporter.web.markup import NOTHING, Html, element, join, link, text, wire
from z4j_exporter.web.status import FailureRow, QueueRow, Status, TaskRow, WorkerRow
from z4j_exporter.web.tables import Column, Row, section, table

#: What an address may hold of a trace.
_TRACE_ID = re.compile("[0-9a-f]{1,64}")
_STATES = {"failed": "bad", "lost": "bad", "retried": "look"}


def workers(status: Status) -> Html:
    """Return the workers: those that are down first, then the busiest."""
    columns = [
        Column("Worker", kind="name"),
        Column("State", kind="short"),
        Column("Busy", number=True, meaning="Tasks that run, of the processes in its pool"),
        Column("Pool", optional=True),
        Column("Processed", number=True, meaning="Tasks since the worker started", optional=True),
        Column(
            "Load", number=True, meaning="Load average of its host over a minute", optional=True
        ),
        Column("Heartbeat", number=True, meaning="Time since its last heartbeat"),
        Column(
            "Missing",
            number=True,
            meaning="Tasks that it ran and whose events never came",
            optional=True,
        ),
        Column("Celery", optional=True),
    ]
    rows = [_worker(row) for row in status.workers]
    return _part(
        "workers",
        "Workers",
        "those that are down first, then the busiest",
        columns,
        rows,
        total=status.workers_total,
        empty="No worker was heard of yet.",
    )


def _worker(row: WorkerRow) -> Row:
    state = values.mark("ok") if row.up else values.mark("bad")
    missing = values.number(row.missing_events)
    return Row(
        row.name,
        [
            wire(row.name),
            join([state, text(" up" if row.up else " down")]),
            _busy(row),
            wire(row.pool, 30) if row.pool else values.UNKNOWN,
            values.number(row.processed),
            values.decimal(row.load),
            values.duration(row.heartbeat_age_seconds),
            element("strong", missing, class_="look") if row.missing_events else missing,
            wire(row.version, 30) if row.version else values.UNKNOWN,
        ],
        "" if row.up else "down",
    )


def _busy(row: WorkerRow) -> Html:
    if row.pool_size is None:
        return values.number(row.active)
    told = join([values.number(row.active), text(" of "), values.number(row.pool_size)])
    if row.active is None or row.pool_size <= 0:
        return told
    return join([told, meter(row.active / row.pool_size)])


def queues(status: Status) -> Html:
    """Return the queues: those with the oldest message first, then the longest."""
    columns = [
        Column("Queue", kind="name"),
        Column("Ready", number=True, meaning="Messages that wait"),
        Column("Unacked", number=True, meaning="Messages that workers hold", optional=True),
        Column("Oldest", number=True, meaning="Age of the message that waits the longest"),
        Column("Workers", number=True, meaning="Workers that say that they take from it"),
        Column(
            "Processes", number=True, meaning="Tasks that these can run at a time", optional=True
        ),
        Column("Consumers", number=True, meaning="Consumers that the broker sees", optional=True),
    ]
    rows = [_queue(row) for row in status.queues]
    beside = None
    if status.queues_ok is False:
        beside = join([values.mark("look"), text(" could not be read")])
    elif status.queues_age_seconds is not None:
        beside = join([text("read "), values.duration(status.queues_age_seconds), text(" ago")])
    empty = "No queue was seen yet."
    if status.queues_ok is None:
        empty = "Queues are not looked at, or were not yet."
    return _part(
        "queues",
        "Queues",
        "those with the oldest message first, then the longest",
        columns,
        rows,
        total=status.queues_total,
        empty=empty,
        beside=beside,
    )


def _queue(row: QueueRow) -> Row:
    # Nobody takes what waits: the broker's word counts before that of the workers.
    consumers = row.consumers if row.consumers is not None else row.workers
    deserted = bool(row.ready) and consumers == 0
    name = wire(row.name)
    if deserted:
        name = join([name, text(" "), values.mark("look"), element("em", text("nobody consumes"))])
    return Row(
        row.name,
        [
            name,
            values.number(row.ready),
            values.number(row.unacked),
            values.duration(row.oldest_age_seconds),
            values.number(row.workers),
            values.number(row.pool_size),
            values.number(row.consumers),
        ],
    )


def stuck(status: Status, trace_url: str) -> Html:
    """Return the tasks that are in their state for the longest time."""
    columns = _task_columns("For", "Time in this state")
    rows = [_task(row, status, trace_url) for row in status.stuck]
    return _part(
        "stuck",
        "Longest in progress",
        "the longest in its state first",
        columns,
        rows,
        empty="No task is in progress.",
    )


def slowest(status: Status, trace_url: str) -> Html:
    """Return the tasks that took the longest."""
    columns = _task_columns("Took", "Run time")
    rows = [_task(row, status, trace_url) for row in status.slowest]
    return _part(
        "slowest",
        "Slowest that ended lately",
        "the longest run time first",
        columns,
        rows,
        empty="No task ended lately.",
    )


def _task_columns(seconds: str, meaning: str) -> list[Column]:
    return [
        Column("Task", kind="name"),
        Column("State"),
        Column(seconds, number=True, meaning=meaning),
        Column("Worker", kind="name"),
        Column("Queue"),
        Column("Id", kind="id"),
        Column("Trace", optional=True),
    ]


def _task(row: TaskRow, status: Status, trace_url: str) -> Row:
    kind = _STATES.get(row.state)
    state = (
        join([values.mark(kind), text(" "), wire(row.state, 30)]) if kind else wire(row.state, 30)
    )
    return Row(
        row.task_id,
        [
            wire(row.name),
            state,
            values.duration(row.seconds),
            _or_unknown(row.worker),
            _or_unknown(row.queue),
            _id(row.task_id),
            trace_links(row.trace_id, here=status.traces, trace_url=trace_url),
        ],
    )


def failures(status: Status, trace_url: str) -> Html:
    """Return the recent failures, the newest first."""
    columns = [
        Column("Task", kind="name"),
        Column("Exception", kind="name"),
        Column("When", number=True),
        Column("Attempt", number=True),
        Column("Worker", kind="name"),
        Column("Queue"),
        Column("Id", kind="id"),
        Column("Trace", optional=True),
    ]
    rows = [_failure(row, status, trace_url) for row in status.failures]
    return _part(
        "failures",
        "Recent failures",
        "the newest first",
        columns,
        rows,
        empty="No task failed.",
    )


def _failure(row: FailureRow, status: Status, trace_url: str) -> Row:
    return Row(
        f"{row.task_id[:150]} {row.attempt} {row.at}",
        [
            wire(row.name),
            join([values.mark("bad"), text(" "), wire(row.exception or "not known")]),
            values.ago(row.at, status.taken_at),
            values.number(row.attempt),
            _or_unknown(row.worker),
            _or_unknown(row.queue),
            _id(row.task_id),
            trace_links(row.trace_id, here=status.traces, trace_url=trace_url),
        ],
    )


def losses(status: Status) -> Html:
    """Return the account of what was lost."""
    rows = [
        Row(
            loss.family,
            [
                wire(loss.meaning, 200),
                values.number(loss.count),
                element("code", wire(loss.family)),
            ],
        )
        for loss in status.losses
    ]
    columns = [
        Column("What", kind="name"),
        Column("Count", number=True),
        Column("Metric", kind="id"),
    ]
    return _part(
        "losses",
        "Lost, refused or cut",
        "since the start",
        columns,
        rows,
        empty="Nothing was lost.",
    )


def trace_links(trace_id: str, *, here: bool, trace_url: str, up: str = "") -> Html:
    """Return the ways to a trace: our page, and where else traces are kept."""
    if not _TRACE_ID.fullmatch(trace_id):
        return values.UNKNOWN
    short = trace_id[:8]
    links = []
    if here:
        links.append(link(f"{up}traces/{trace_id}", text("trace"), aria_label=f"Trace {short}"))
    if trace_url:
        address = trace_url.replace("{trace_id}", trace_id)
        links.append(link(address, text("open \u2197"), aria_label=f"Open trace {short} elsewhere"))
    return join(links, " ") if links else element("code", text(short))


def _part(
    name: str,
    heading: str,
    order: str,
    columns: Sequence[Column],
    rows: Sequence[Row],
    *,
    empty: str,
    total: int | None = None,
    beside: Html | None = None,
) -> Html:
    """Return a section with a table of ``total`` things, of which ``rows`` are the first."""
    shown = len(rows)
    if not rows:
        return section(name, heading, element("p", text(empty), class_="empty"), beside=beside)
    many = humanize.count(shown)
    told = [text(f"{many} of {humanize.count(total)}" if total and total > shown else many)]
    if beside is not None:
        told.append(beside)
    told.append(text(order))
    content = table(text(f"{heading}, {order}"), columns, rows)
    return section(name, heading, content, beside=join(told, " \u00b7 "))


def _id(task_id: str) -> Html:
    return element("code", wire(task_id, 64)) if task_id else NOTHING


def _or_unknown(value: str) -> Html:
    return wire(value) if value else values.UNKNOWN
