"""The catalogue keeps Prometheus's rules of naming, in every profile."""

import re

import pytest

from z4j_exporter.config import Settings
from z4j_exporter.errors import ConfigError
from z4j_exporter.metrics.catalogue import CATALOGUE, EXPORTER_FAMILIES
from z4j_exporter.metrics.catalogue.tasks import with_worker
from z4j_exporter.metrics.profiles import make_profile
from z4j_exporter.metrics.store import FIXED_LABELS, Family, with_buckets

PROFILES = ["native", "celery-exporter", "flower"]


def families(profile: str, **settings: object) -> list[Family]:
    made = make_profile(Settings.model_validate({"metrics_profile": profile, **settings}))
    return [*made.families(), *EXPORTER_FAMILIES]


@pytest.mark.parametrize("profile", PROFILES)
def test_sample_names_are_unique(profile: str) -> None:
    names = [
        f"{family.name}{end}"
        for family in families(profile)
        for end in (("", "_bucket", "_sum", "_count") if family.type == "histogram" else ("",))
    ]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("profile", PROFILES)
def test_types_and_names_agree(profile: str) -> None:
    for family in families(profile):
        assert re.fullmatch(r"[a-z_]+", family.name)
        assert family.name.endswith("_total") == (family.type == "counter"), family.name
        assert bool(family.buckets) == (family.type == "histogram"), family.name
        assert list(family.buckets) == sorted(set(family.buckets))
        assert len(set(family.labels)) == len(family.labels)
        assert "le" not in family.labels
        # OpenMetrics demands it.
        assert family.name.removesuffix("_total").endswith(family.unit), family.name


@pytest.mark.parametrize("family", CATALOGUE, ids=lambda family: family.name)
def test_the_catalogue_says_what_each_is(family: Family) -> None:
    assert family.help.endswith(".")
    assert "\n" not in family.help
    assert len(family.help) <= 100


def test_a_family_can_overflow_or_needs_not() -> None:
    # Labels from the wire: one of them says __overflow__. The rest are from short lists.
    ours = {"source", "profile", "version", "python_version", "celery_version", "family", "sink",
            "path", "code", "action", "rule", "decision", "kind", "by", "mac"}  # fmt: skip
    for family in CATALOGUE:
        free = set(family.labels) - FIXED_LABELS - ours
        assert not free or family.labels[0] in ("task", "worker", "queue"), family.name


def test_the_worker_label_comes_third() -> None:
    made = families("native", task_worker_label=True)
    tasks = [family for family in made if "task" in family.labels]
    assert all(family.labels[:3] == ("task", "queue", "worker") for family in tasks)
    family = Family("x_total", "counter", "X.", ("task", "queue", "reason"))
    assert with_worker(family).labels == ("task", "queue", "worker", "reason")


def test_buckets_are_replaced_where_others_are_given() -> None:
    family = Family("x_seconds", "histogram", "X.", buckets=(1.0,))
    assert with_buckets(family, None) is family
    assert with_buckets(family, (2.0, 3.0)).buckets == (2.0, 3.0)


@pytest.mark.parametrize("profile", PROFILES)
def test_buckets_of_no_histogram_are_refused(profile: str) -> None:
    with pytest.raises(
        ConfigError, match="--buckets: 'celery_worker_up' is no histogram"
    ) as caught:
        families(profile, buckets={"celery_worker_up": (1.0,)})
    assert "Histograms are " in caught.value.hint


def test_buckets_are_of_the_profiles_own_names() -> None:
    made = families("celery-exporter", metric_prefix="x_", buckets={"x_task_runtime": (1.0, 5.0)})
    assert next(f for f in made if f.name == "x_task_runtime").buckets == (1.0, 5.0)
