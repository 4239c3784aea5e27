"""Every metric family of the native profile, as data: code refers to these declarations.

Names are Prometheus's: base units, ``_total`` for counters. A file for each subject.
"""

from z4j_exporter.metrics.catalogue.actions import ACTION_FAMILIES
from z4j_exporter.metrics.catalogue.exporter import EXPORTER_FAMILIES
from z4j_exporter.metrics.catalogue.fleet import FLEET_FAMILIES
from z4j_exporter.metrics.catalogue.groups import CAPTURE_FAMILIES, GROUP_FAMILIES
from z4j_exporter.metrics.catalogue.journal import BACKEND_FAMILIES, JOURNAL_FAMILIES
from z4j_exporter.metrics.catalogue.queues import QUEUE_FAMILIES
from z4j_exporter.metrics.catalogue.tasks import TASK_FAMILIES
from z4j_exporter.metrics.catalogue.workers import WORKER_FAMILIES

CATALOGUE = (
    *TASK_FAMILIES, *GROUP_FAMILIES, *WORKER_FAMILIES, *QUEUE_FAMILIES, *FLEET_FAMILIES,
    *EXPORTER_FAMILIES, *CAPTURE_FAMILIES, *JOURNAL_FAMILIES, *BACKEND_FAMILIES,
    *ACTION_FAMILIES,
)  # fmt: skip

__all__ = [
    "ACTION_FAMILIES",
    "BACKEND_FAMILIES",
    "CAPTURE_FAMILIES",
    "CATALOGUE",
    "EXPORTER_FAMILIES",
    "FLEET_FAMILIES",
    "GROUP_FAMILIES",
    "JOURNAL_FAMILIES",
    "QUEUE_FAMILIES",
    "TASK_FAMILIES",
    "WORKER_FAMILIES",
]
