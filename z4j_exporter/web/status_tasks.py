"""The tables of the status page that tell of single tasks, with the ways to their traces."""

import re

from z4j_exporter.web import values
from z4j_exporter.web.markup import NOTHING, Html, element, join, link, text, wire
from z4j_exporter.web.status import FailureRow, Status, TaskRow
from z4j_exporter.web.tables import Column, Row, listing

#: What an address may hold of a trace.
_TRACE_ID = re.compile("[0-9a-f]{1,64}")
#: States that are not well, and how they are marked.
_STATES = {"failed": "bad", "lost": "bad", "retried": "look"}


def stuck(status: Status, trace_url: str) -> Html:
    """Return the tasks that are in their state for the longest time."""
    columns = _task_columns("For", "Time in this state")
    rows = [_task(row, status, trace_url) for row in status.stuck]
    return listing(
        "stuck",
        "Longest in progress",
        "the longest in its state first",
        columns,
        rows,
        empty="No task has been in its state for long: 5 s running, 30 s waiting or reserved.",
    )


def slowest(status: Status, trace_url: str) -> Html:
    """Return the tasks that took the longest."""
    columns = _task_columns("Took", "Run time")
    rows = [_task(row, status, trace_url) for row in status.slowest]
    return listing(
        "slowest",
        "Slowest that ended lately",
        "the longest run time first",
        columns,
        rows,
        empty="No task ended in the last quarter of an hour.",
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
    return listing(
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


def _id(task_id: str) -> Html:
    return element("code", wire(task_id, 64)) if task_id else NOTHING


def _or_unknown(value: str) -> Html:
    return wire(value) if value else values.UNKNOWN
