"""Chooses the naming profile that the settings ask for."""

from z4j_exporter.config import Settings
from z4j_exporter.errors import ConfigError
from z4j_exporter.metrics.base import LabelRules, Profile
from z4j_exporter.metrics.celery_exporter import CeleryExporterProfile
from z4j_exporter.metrics.flower import FlowerProfile
from z4j_exporter.metrics.labels import TaskLabel, WorkerLabel
from z4j_exporter.metrics.native import NativeProfile
from z4j_exporter.metrics.store import Store


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
