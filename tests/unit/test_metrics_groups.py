"""Families of groups, of published messages, and of what capture hooks report."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.grouping import GroupStage, envelope, life
from tests.support.tracking import T0
from z4j_exporter.config import Settings
from z4j_exporter.events.captured import captured
from z4j_exporter.events.model import Event
from z4j_exporter.metrics import captured as capture_metrics
from z4j_exporter.metrics.base import LabelRules
from z4j_exporter.metrics.captured import CaptureMetrics
from z4j_exporter.metrics.catalogue import CATALOGUE
from z4j_exporter.metrics.catalogue.groups import CAPTURE_FAMILIES, GROUP_BUCKETS, GROUP_FAMILIES
from z4j_exporter.metrics.groups import GroupMetrics, make_group_metrics
from z4j_exporter.metrics.labels import TaskLabel
from z4j_exporter.metrics.store import FamilySnapshot, HistogramValue, Store

LATER = 15


class Counted(GroupStage):
    """Groups, and the families that count them."""

    def __init__(self, metrics: GroupMetrics) -> None:
        super().__init__()
        self.metrics = metrics

    def samples(self, floor: int = 10**9) -> dict[str, float]:
        for each in self.groups_told:
            self.metrics.take(each)
        self.groups_told.clear()
        for note, _ in self.notes:
            self.metrics.captured(note)
        self.notes.clear()
        return flat(self.metrics.collect(self.groups, floor))


def flat(snapshots: list[FamilySnapshot]) -> dict[str, float]:
    """Return ``name{labels}`` → value; of a histogram, how often it was fed."""
    return {
        f"{snapshot.family.name}{{{labels}}}": (
            sum(value.counts) if isinstance(value, HistogramValue) else value
        )
        for snapshot in snapshots
        for labels, value in snapshot.samples
    }


def group(group_id: str, *uuids: str, **fields: Any) -> list[Event]:
    return [
        envelope(uuid, group_id=group_id, group_index=index, queue="q", **fields)
        for index, uuid in enumerate(uuids)
    ]


def test_groups_are_counted_by_task_and_kind() -> None:
    stage = Counted(GroupMetrics(Store()))
    stage.play([*group("G", "a", "b"), *group("H", "c", chord_id="H")])
    stage.play([*life("a"), *life("b", outcome="failed")]).wait(LATER)
    told = stage.samples()
    task = 'task="add",kind="group"'
    assert told[f"celery_group_started_total{{{task}}}"] == 1
    assert told[f'celery_group_finished_total{{{task},outcome="failed"}}'] == 1
    assert told[f'celery_group_finished_total{{{task},outcome="succeeded"}}'] == 0
    assert told[f"celery_group_member_failures_total{{{task}}}"] == 1
    assert told[f'celery_group_duration_seconds{{{task},outcome="failed"}}'] == 1
    assert told[f"celery_groups_in_progress{{{task}}}"] == 0
    assert told['celery_groups_in_progress{task="add",kind="chord"}'] == 1
    assert told['celery_group_evictions_total{reason="unfinished"}'] == 0


def test_no_id_of_a_group_or_task_is_a_label() -> None:
    stage = Counted(GroupMetrics(Store()))
    stage.play([*group("GROUP-ID", "TASK-ID"), *life("TASK-ID", outcome="failed")]).wait(LATER)
    assert not [key for key in stage.samples() if "-ID" in key]


def test_published_messages_have_their_priority() -> None:
    stage = Counted(GroupMetrics(Store()))
    stage.play([envelope("a", queue="q", priority=9), envelope("b", queue="q"), envelope("c")])
    told = stage.samples()
    assert told['celery_task_published_total{task="add",queue="q",priority="9"}'] == 1
    assert told['celery_task_published_total{task="add",queue="q"}'] == 1
    assert told['celery_task_published_total{task="add"}'] == 1


def test_a_series_is_born_at_0() -> None:
    stage = Counted(GroupMetrics(store := Store()))
    floor = store.serial
    stage.play([*group("G", "a"), *life("a", outcome="failed")]).wait(LATER)
    failures = 'celery_group_member_failures_total{task="add",kind="group"}'
    assert stage.samples(floor)[failures] == 0
    assert stage.samples()[failures] == 1


def test_names_are_ruled_and_bounded() -> None:
    rules = LabelRules(task=TaskLabel(deny=["secret.*"]))
    stage = Counted(GroupMetrics(Store(max_series=6), rules))
    for number in range(50):
        stage.play(group(f"G{number}", f"u{number}", name=f"task{number}\x00"))
    stage.play(group("S", "s", name="secret.task")).wait(LATER)
    told = stage.samples()
    assert not [key for key in told if "secret" in key or "\x00" in key]
    for family in GROUP_FAMILIES:
        series = [key for key in told if key.startswith(family.name + "{")]
        assert len(series) <= 6 + 2, series  # each family has overflow series beside
    overflow = 'celery_group_started_total{task="__overflow__",kind="group"}'
    assert told[overflow] == 51 - 6
    in_progress = [v for k, v in told.items() if k.startswith("celery_groups_in_progress")]
    assert sum(in_progress) == 51


def test_only_the_native_profile_has_them() -> None:
    own = {"celery_group_duration_seconds": (1.0, 2.0)}
    made = make_group_metrics(Settings.model_validate({"buckets": own}), Store())
    assert made is not None
    buckets = [f.buckets for f in made.families() if f.type == "histogram"]
    assert buckets == [(1.0, 2.0)]
    assert [f.buckets for f in GroupMetrics(Store()).families() if f.buckets] == [GROUP_BUCKETS]
    for profile in ("celery-exporter", "flower"):
        settings = Settings.model_validate({"metrics_profile": profile})
        assert make_group_metrics(settings, Store()) is None


@pytest.mark.parametrize("family", [*GROUP_FAMILIES, *CAPTURE_FAMILIES], ids=lambda f: f.name)
def test_the_declarations_keep_the_rules(family: Any) -> None:
    assert family.help.endswith(".")
    assert len(family.help) <= 100
    assert family.name.endswith("_total") == (family.type == "counter")
    assert family.name.endswith("_seconds") == (family.unit == "seconds")
    others = [each for each in CATALOGUE if each not in (*GROUP_FAMILIES, *CAPTURE_FAMILIES)]
    assert family.name not in {each.name for each in others}


# -- reports ---------------------------------------------------------------------------------

DROPPED = 'celery_exporter_capture_dropped_total{reason="queue_full"}'


def report(metrics: CaptureMetrics, at: float = 0.0, pid: int = 1, **contents: Any) -> None:
    raw = msgspec.Raw(msgspec.json.encode({"v": 1, **contents}))
    event = Event(type="z4j-report", timestamp=T0 + at, hostname="w@h", pid=pid, z4j=raw)
    metrics.captured(captured(event), event)


def test_reports_add_what_they_grew_by() -> None:
    metrics = CaptureMetrics(Store())
    assert flat(metrics.collect())[DROPPED] == 0
    report(metrics, 0, captured=5, sent=5, dropped={"queue_full": 2})
    report(metrics, 30, captured=9, sent=8, dropped={"queue_full": 3}, errors=1)
    report(metrics, 30, captured=9, sent=8, dropped={"queue_full": 3}, errors=1)  # a copy
    report(metrics, 10, captured=6, sent=6, dropped={"queue_full": 2})  # overtaken
    report(metrics, 5, pid=2, dropped={"queue_full": 1}, payloads_withheld={"too_large": 4})
    told = flat(metrics.collect())
    assert told[DROPPED] == 4
    assert told["celery_exporter_capture_captured_total{}"] == 9
    assert told["celery_exporter_capture_sent_total{}"] == 8
    assert told["celery_exporter_capture_errors_total{}"] == 1
    assert told['celery_exporter_capture_withheld_total{reason="too_large"}'] == 4


def test_a_process_that_begins_anew_is_counted_from_0() -> None:
    metrics = CaptureMetrics(Store())
    report(metrics, 0, dropped={"queue_full": 5})
    report(metrics, 60, dropped={"queue_full": 2})
    assert flat(metrics.collect())[DROPPED] == 7


def test_what_was_before_we_listened_is_not_counted() -> None:
    metrics = CaptureMetrics(Store(), since=T0)
    report(metrics, 1, since=T0 - 100, dropped={"queue_full": 50})
    report(metrics, 31, since=T0 - 100, dropped={"queue_full": 51})
    report(metrics, 31, pid=2, since=T0 + 1, dropped={"queue_full": 1})
    assert flat(metrics.collect())[DROPPED] == 2


def test_reasons_are_ours() -> None:
    metrics = CaptureMetrics(Store())
    before = set(flat(metrics.collect()))
    report(metrics, dropped={"evil": 2, "\x00": 3}, payloads_withheld={"x" * 200: 4})
    told = flat(metrics.collect())
    assert set(told) == before
    assert told['celery_exporter_capture_dropped_total{reason="other"}'] == 5
    assert told['celery_exporter_capture_withheld_total{reason="other"}'] == 4


def test_processes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_metrics, "MAX_PROCESSES", 100)
    metrics = CaptureMetrics(Store())
    for pid in range(300):
        report(metrics, pid=pid, dropped={"queue_full": 1})
    assert len(metrics._processes) <= 100
    # Past the bound a process may be one that was counted before: its first report only counts on.
    assert flat(metrics.collect())[DROPPED] == 100
    report(metrics, 30, pid=299, dropped={"queue_full": 4})
    assert flat(metrics.collect())[DROPPED] == 103


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(0, 50)), max_size=30))
def test_counters_never_go_back(reports: list[tuple[int, int, int]]) -> None:
    metrics = CaptureMetrics(Store())
    last = 0.0
    for pid, at, total in reports:
        report(metrics, at, pid=pid, dropped={"queue_full": total})
        now = flat(metrics.collect())[DROPPED]
        assert now >= last
        last = now
