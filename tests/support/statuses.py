"""Pictures for the status page: a full one, one of the first second, a hostile one."""

from dataclasses import replace

from z4j_exporter.web.status import (
    Advice,
    Connection,
    FailureRow,
    Loss,
    QueueRow,
    Rate,
    Status,
    TaskRow,
    WorkerRow,
)

#: 2026-11-20 16:00:00 UTC.
NOW = 1_795_190_400.0
TRACE = "6f4aa60ded9e4e99aa5bf3fcd7aedbea"
TASK = "6f4aa60d-ed9e-4e99-aa5b-f3fcd7aedbea"

#: What must never act: markup, a turned direction of writing, controls, half a character, length.
HOSTILE = [
    "</script><script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>'&amp;",
    "a\u202egnp.exe\u2066\u200f",
    "line\nbreak\r\x00\x1b[31m\x7f\x9f",
    "half \ud800 and \udfff",
    "Z\u0300" * 10 + "e" + "\u0301" * 500,
    "{trace_id}/../../%2e%2e?x=1#y",
    "x" * 100_000,
    "<b>" * 30_000,
]


def first() -> Status:
    """The exporter has just started: nothing is known."""
    return Status(NOW, "1.2.3", 0.4, False, "Not connected yet.", "redis://shop:6379/0")


def full() -> Status:
    """Everything is there, and not all of it is well."""
    return Status(
        taken_at=NOW,
        version="1.2.3",
        uptime_seconds=93_784.2,
        ready=True,
        reason="Connected to redis://shop:6379/0.",
        source="redis://shop:6379/0",
        connections=[
            Connection("Events (Redis)", "redis://shop:6379/0", True, "for 1 d 2 h"),
            Connection("Traces (OTLP)", "http://collector:4318", False, "connection refused"),
            Connection("Journal", "/var/lib/journal.db", None),
        ],
        findings=[
            Advice("problem", "Task events are off", "mail-2 sends none. Start it with -E."),
            Advice("warning", "A queue grows", "reports grew. Start more workers."),
        ],
        examined=True,
        rates=[
            Rate(NOW - 50 + 10 * i, 10.0, 40 + i, None if i == 2 else 40, i % 2, None)
            for i in range(6)
        ],
        in_progress={"running": 9, "waiting": 640},
        in_progress_total=649,
        totals={"sent": 1_284_113, "succeeded": 1_279_800, "failed": 2711, "lost": 0},
        workers=[
            WorkerRow("mail-2@h4", False, 0, 8, "prefork", 18_233, 0.2, 192.4, None, "5.4.0"),
            WorkerRow("web-1@h1", True, 6, 8, "prefork", 120_331, 1.4, 1.2, 3, "5.5.2"),
            WorkerRow("io-1@h2", True, 12, None, "", None, None, None, None),
        ],
        workers_total=3,
        workers_up=2,
        queues=[
            QueueRow("reports", 640, 4, 192.4, 0, 0, None),
            QueueRow("celery", 0, None, None, 2, 16, None),
        ],
        queues_total=2,
        queues_ok=True,
        queues_age_seconds=3.4,
        stuck=[TaskRow(TASK, "reports.build", "running", 4211.2, "web-1@h1", "reports", "")],
        slowest=[TaskRow(TASK, "shop.pay", "failed", 12.9, "web-1@h1", "celery", TRACE)],
        failures=[
            FailureRow(NOW - 3, TASK, "shop.pay", "ValueError", "web-1@h1", "celery", 2, TRACE),
            FailureRow(NOW - 60, "other", "unknown", "lost", "", "", None),
        ],
        losses=[Loss("celery_exporter_spans_dropped_total", "Spans that were not sent", 312)],
        lag_median_seconds=0.0031,
        lag_p99_seconds=0.041,
        traces=True,
    )


def hostile(evil: str) -> Status:
    """Every text of the picture is one."""
    return replace(
        full(),
        version=evil,
        ready=False,
        reason=evil,
        source=evil,
        connections=[Connection(evil, evil, False, evil)],
        findings=[Advice(evil, evil, evil), Advice("warning", evil, evil)],
        in_progress={evil: 1},
        totals={evil: 1},
        workers=[WorkerRow(evil, False, 1, 2, evil, 1, 1.0, 1.0, 1, evil)],
        queues=[QueueRow(evil, 1, 1, 1.0, 0, 0, 0)],
        stuck=[TaskRow(evil, evil, evil, 1.0, evil, evil, evil)],
        slowest=[TaskRow(evil, evil, evil, 1.0, evil, evil, evil)],
        failures=[FailureRow(NOW, evil, evil, evil, evil, evil, 1, evil)],
        losses=[Loss(evil, evil, 1)],
        notes=[evil],
    )
