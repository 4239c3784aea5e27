"""The tables of the status page that tell of workers, of queues, and of what was lost."""

from z4j_exporter.web import values
from z4j_exporter.web.chart import meter
from z4j_exporter.web.markup import Html, element, join, text, wire
from z4j_exporter.web.status import QueueRow, Status, WorkerRow
from z4j_exporter.web.tables import Column, Row, listing


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
    return listing(
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
    return listing(
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
    return listing(
        "losses",
        "Lost, refused or cut",
        "since the start",
        columns,
        rows,
        empty="Nothing was lost.",
    )
