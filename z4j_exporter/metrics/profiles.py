"""Chooses the naming profile that the settings ask for."""

import logging

from z4j_exporter.config import Settings, option_name
from z4j_exporter.errors import ConfigError
from z4j_exporter.metrics.base import LabelRules, Profile
from z4j_exporter.metrics.celery_exporter import CeleryExporterProfile
from z4j_exporter.metrics.flower import FlowerProfile
from z4j_exporter.metrics.labels import TaskLabel, WorkerLabel
from z4j_exporter.metrics.native import NativeProfile
from z4j_exporter.metrics.store import Store

logger = logging.getLogger(__name__)

#: Settings that only one profile knows.
_CELERY_EXPORTER_ONLY = {
    "default_queue_name",
    "metric_prefix",
    "static_labels",
    "generic_hostname_task_sent_metric",
    "generic_hostname_worker_task_metric",
}


def make_profile(settings: Settings) -> Profile:
    """Return the profile, with nothing counted yet.

    Raises ConfigError for a pattern that is none, or buckets of a family that has none.
    """
    rules = LabelRules(
        task=TaskLabel(settings.task_label_allow, settings.task_label_deny),
        worker=WorkerLabel(settings.worker_label_rewrite),
    )
    store = Store(settings.max_series)
    profile: Profile
    if settings.metrics_profile == "celery-exporter":
        profile = CeleryExporterProfile(
            store,
            rules,
            prefix=settings.metric_prefix,
            default_queue=settings.default_queue_name,
            static_labels=settings.static_labels,
            generic_sent_hostname=settings.generic_hostname_task_sent_metric,
            generic_worker_hostname=settings.generic_hostname_worker_task_metric,
            buckets=settings.buckets,
        )
    elif settings.metrics_profile == "flower":
        profile = FlowerProfile(store, rules, buckets=settings.buckets)
    else:
        profile = NativeProfile(
            store,
            rules,
            task_worker_label=settings.task_worker_label,
            buckets=settings.buckets,
        )
    histograms = {f.name for f in profile.families() if f.type == "histogram"}
    for name in settings.buckets:
        if name not in histograms:
            raise ConfigError(
                f"--buckets: {name!r} is no histogram of the profile {profile.name}",
                hint=f"Histograms are {', '.join(sorted(histograms))}.",
            )
    return profile


def warn_of_idle_settings(settings: Settings) -> None:
    """Log which settings have no effect with the profile."""
    profile = settings.metrics_profile
    for field in sorted(_CELERY_EXPORTER_ONLY & settings.model_fields_set):
        if profile != "celery-exporter":
            logger.warning("--%s has no effect with the profile %s", option_name(field), profile)
