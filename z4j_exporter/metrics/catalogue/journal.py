"""The families about the journal of payloads and lookups in the result backend, as data."""

from z4j_exporter.metrics.store import Family

JOURNAL_ENTRIES = Family(
    "celery_exporter_journal_entries",
    "gauge",
    "Tasks whose last message the journal holds.",
    counts="task",
)
JOURNAL_BYTES = Family(
    "celery_exporter_journal_bytes", "gauge", "Size of the journal's files.", unit="bytes"
)
JOURNAL_RECORDS = Family(
    "celery_exporter_journal_records_total",
    "counter",
    "Records written to the journal, and those that an earlier one made superfluous.",
    ("outcome",),
    counts="record",
)
JOURNAL_DROPPED = Family(
    "celery_exporter_journal_dropped_total",
    "counter",
    "Records that were not written to the journal.",
    ("reason",),
    counts="record",
)
JOURNAL_FAMILIES = (JOURNAL_ENTRIES, JOURNAL_BYTES, JOURNAL_RECORDS, JOURNAL_DROPPED)

BACKEND_LOOKUPS = Family(
    "celery_exporter_backend_lookups_total",
    "counter",
    "Tasks looked up in the result backend for their group.",
    ("outcome",),
    counts="task",
)
BACKEND_FAMILIES = (BACKEND_LOOKUPS,)
