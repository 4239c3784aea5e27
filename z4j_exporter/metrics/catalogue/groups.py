"""The families about groups and of what the capture hook tells, as data; see catalogue.py."""

from z4j_exporter.metrics.store import Family

#: Seconds: from quick fan-outs to groups that take a day.
GROUP_BUCKETS = (
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 43200.0,
    86400.0,
)  # fmt: skip

#: ``task`` is the members' common name or ``__mixed__``; ``kind`` is group or chord.
_GROUP = ("task", "kind")
_KIND = frozenset({"kind"})


def _group(name: str, kind: str, text: str, *labels: str, **more: object) -> Family:
    return Family(f"celery_{name}", kind, text, (*_GROUP, *labels), fixed=_KIND, **more)  # type: ignore[arg-type]  # literals below


GROUP_STARTED = _group(
    "group_started_total",
    "counter",
    "Groups, and headers of chords, that were published.",
    counts="group",
)
GROUP_FINISHED = _group(
    "group_finished_total",
    "counter",
    "Groups whose members have all ended; failed says that one of them failed.",
    "outcome",
    counts="group",
)
GROUP_MEMBER_FAILURES = _group(
    "group_member_failures_total",
    "counter",
    "Members that failed, told of the outermost group around them.",
    counts="task",
)
GROUP_DURATION = _group(
    "group_duration_seconds",
    "histogram",
    "From a group's first member published to its last member's end.",
    "outcome",
    unit="seconds",
    buckets=GROUP_BUCKETS,
)
GROUPS_IN_PROGRESS = _group(
    "groups_in_progress", "gauge", "Groups that have not finished.", counts="group"
)
GROUP_EVICTIONS = Family(
    "celery_group_evictions_total",
    "counter",
    "Groups forgotten: finished ones, unfinished ones, those too large to follow.",
    ("reason",),
    counts="group",
)
TASK_PUBLISHED = Family(
    "celery_task_published_total",
    "counter",
    "Messages published, retries too, as the capture hook saw it in the application.",
    ("task", "queue", "priority"),
    counts="message",
)

GROUP_FAMILIES = (
    GROUP_STARTED, GROUP_FINISHED, GROUP_MEMBER_FAILURES, GROUP_DURATION, GROUPS_IN_PROGRESS,
    GROUP_EVICTIONS, TASK_PUBLISHED,
)  # fmt: skip


def _capture(name: str, counts: str, text: str, *labels: str) -> Family:
    return Family(f"celery_exporter_capture_{name}", "counter", text, labels, counts=counts)


CAPTURE_CAPTURED = _capture(
    "captured_total", "note", "Notes that capture hooks took, by their reports."
)
CAPTURE_SENT = _capture("sent_total", "note", "Notes that capture hooks sent, by their reports.")
CAPTURE_DROPPED = _capture(
    "dropped_total", "note", "Notes that capture hooks did not send, by their reports.", "reason"
)
CAPTURE_WITHHELD = _capture(
    "withheld_total", "payload", "Payloads that capture hooks left out, by their reports.", "reason"
)
CAPTURE_ERRORS = _capture(
    "errors_total", "error", "Errors inside of capture hooks, by their reports."
)

CAPTURE_FAMILIES = (
    CAPTURE_CAPTURED, CAPTURE_SENT, CAPTURE_DROPPED, CAPTURE_WITHHELD, CAPTURE_ERRORS,
)  # fmt: skip
