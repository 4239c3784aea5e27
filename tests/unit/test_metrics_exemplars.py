"""Exemplars: kept by bucket and failure counter, shown in OpenMetrics only."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Exemplar as ReadExemplar

from tests.support.exemplars import life, trace, traced
from tests.support.exposed import T0, Exposed, Samples, parsed, worker_event
from tests.support.promtool import promtool
from z4j_exporter.metrics.exemplars import MAX_AHEAD_SECONDS, Exemplar, Exemplars
from z4j_exporter.metrics.exposition import render
from z4j_exporter.metrics.registry import expose
from z4j_exporter.metrics.store import Family, FamilySnapshot, HistogramValue, Store
from z4j_exporter.track.transitions import TraceRef

FAILED = Family("failed_total", "counter", "Failed.", ("task",))
RUN = Family("run_seconds", "histogram", "Time.", ("task",), "seconds", (0.1, 1.0, 10.0))
ONE, TWO = TraceRef(b"\x01" * 16, b"\x01" * 8), TraceRef(b"\x02" * 16, b"\x02" * 8)

#: A sample with labels as in `Samples`, and what its exemplar says.
Read = dict[tuple[str, tuple[tuple[str, str], ...]], ReadExemplar]


def exemplars(text: str) -> Read:
    return {
        (sample.name, tuple(sorted((k, v) for k, v in sample.labels.items() if v))): sample.exemplar
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.exemplar
    }


def by_name(found: Read, **labels: str) -> dict[str, ReadExemplar]:
    return {name: e for (name, has), e in found.items() if labels.items() <= dict(has).items()}


# -- what points to a span -----------------------------------------------------------------------


def test_durations_point_to_the_span_that_took_them() -> None:
    found = exemplars(traced().play(*life()).wait(3).text(openmetrics=True))
    shown = {
        (name.removeprefix("celery_task_"), dict(labels)["le"]): (
            e.value,
            float(e.timestamp),
            e.labels,
        )
        for (name, labels), e in found.items()
    }
    span = {"trace_id": trace("u1").trace_id.hex(), "span_id": trace("u1").span_id.hex()}
    assert shown == {
        ("queue_wait_seconds_bucket", "5.0"): (3.0, T0 + 3, span),
        ("prefetch_wait_seconds_bucket", "2.5"): (2.0, T0 + 3, span),
        ("runtime_seconds_bucket", "5.0"): (4.0, T0 + 7, span),
        ("end_to_end_seconds_bucket", "10.0"): (7.0, T0 + 7, span),
    }


@pytest.mark.parametrize(
    ("end", "fields", "family"),
    [
        ("failed", {"exception": "E()"}, "failed"),
        ("retried", {"exception": "E()"}, "retried"),
        ("rejected", {"requeue": False}, "rejected"),
        ("revoked", {"terminated": True}, "revoked"),
    ],
)
def test_failures_point_to_the_span_that_failed(
    end: str, fields: dict[str, Any], family: str
) -> None:
    found = exemplars(traced().play(*life(end=end, **fields)).wait(3).text(openmetrics=True))
    counters = {n: e for (n, _), e in found.items() if n.endswith("_total")}
    assert counters.keys() == {f"celery_task_{family}_total"}
    (exemplar,) = counters.values()
    assert exemplar.value == 1
    assert float(exemplar.timestamp) == T0 + 7
    assert exemplar.labels["trace_id"] == trace("u1").trace_id.hex()


def test_a_lost_task_points_to_its_last_span() -> None:
    exposed = traced().play(worker_event("online"), *life()[:3]).wait(120)
    found = by_name(exemplars(exposed.text(openmetrics=True)), reason="worker_lost")
    assert found["celery_task_lost_total"].labels["span_id"] == trace("u1").span_id.hex()


@pytest.mark.parametrize(
    ("profile", "histogram", "counter"),
    [
        ("celery-exporter", "celery_task_runtime_bucket", "celery_task_failed_total"),
        ("flower", "flower_task_runtime_seconds_bucket", "flower_events_total"),
    ],
)
def test_drop_in_profiles_point_to_spans_too(profile: str, histogram: str, counter: str) -> None:
    exposed = traced(profile).play(
        *life("ok", runtime=4.0), *life("bad", 10, end="failed", exception="E()")
    )
    found = by_name(exemplars(exposed.wait(3).text(openmetrics=True)))
    assert found[histogram].labels["trace_id"] == trace("ok").trace_id.hex()
    assert found[counter].labels["trace_id"] == trace("bad").trace_id.hex()
    waits = [name for name in found if "wait" in name]
    assert bool(waits) == (profile == "celery-exporter")


def test_a_trace_that_is_not_kept_leaves_no_trace() -> None:
    exposed = Exposed().play(*life(), *life("u2", 10, end="failed", exception="E()")).wait(3)
    assert " # {" not in exposed.text(openmetrics=True)
    assert exposed.profile.store.exemplars.held == 0


# -- which one is kept ---------------------------------------------------------------------------


def test_the_newest_of_each_bucket_is_kept() -> None:
    store = Store()
    cell = store.histogram(RUN).child("t")
    for value, at, ref in ((0.1, 1.0, ONE), (0.05, 2.0, TWO), (5.0, 1.0, ONE), (99.0, 1.0, ONE)):
        cell.observe(value)
        store.exemplars.observe(cell, value, at, ref)
    assert cell.exemplars == {
        0: Exemplar(0.05, 2.0, TWO),
        2: Exemplar(5.0, 1.0, ONE),
        3: Exemplar(99.0, 1.0, ONE),
    }


def test_a_straggler_replaces_nothing() -> None:
    # Prometheus takes no exemplar that is older than the last it took of the series.
    store = Store()
    cell = store.counter(FAILED).child("t")
    store.exemplars.count(cell, 100.0, ONE)
    store.exemplars.count(cell, 99.9, TWO)
    assert cell.exemplar == Exemplar(1.0, 100.0, ONE)
    store.exemplars.count(cell, 100.0, TWO)
    assert cell.exemplar == Exemplar(1.0, 100.0, TWO)


def test_what_comes_from_the_future_is_not_shown_and_keeps_none_out() -> None:
    store = Store()
    cells, runs = store.counter(FAILED), store.histogram(RUN)
    cell, run = cells.child("t"), runs.child("t")
    now = 1000.0
    store.exemplars.count(cell, now + MAX_AHEAD_SECONDS + 1, ONE)
    store.exemplars.observe(run, 1.0, now + MAX_AHEAD_SECONDS + 1, ONE)
    assert not cells.snapshot(store.serial, now).exemplars
    assert not runs.snapshot(store.serial, now).samples[0][1].exemplars  # type: ignore[union-attr]
    store.exemplars.count(cell, now, TWO)
    assert cells.snapshot(store.serial, now).exemplars == {'task="t"': Exemplar(1.0, now, TWO)}


def test_there_is_a_limit_and_removal_makes_room() -> None:
    store = Store()
    store.exemplars = Exemplars(limit=2)
    cells, runs = store.counter(FAILED), store.histogram(RUN)
    store.exemplars.count(cells.child("a"), 1.0, ONE)
    store.exemplars.observe(runs.child("a"), 0.5, 1.0, ONE)
    store.exemplars.observe(runs.child("a"), 5.0, 1.0, ONE)
    store.exemplars.count(cells.child("b"), 1.0, ONE)
    assert cells.child("b").exemplar is None
    assert list(runs.child("a").exemplars or ()) == [1]
    # What is there is renewed.
    store.exemplars.count(cells.child("a"), 2.0, TWO)
    assert cells.child("a").exemplar == Exemplar(1.0, 2.0, TWO)
    runs.remove("task", {"a"})
    assert store.exemplars.held == 1
    store.exemplars.count(cells.child("b"), 3.0, ONE)
    assert cells.child("b").exemplar is not None


def test_hostile_names_do_not_add_exemplars_without_end() -> None:
    exposed = traced(max_series=3)
    for number in range(50):
        uuid = f"u{number}"
        events = life(uuid, number * 10, end="failed", exception=f"E{number}()")
        exposed.play(*({**e, "name": f"n{number}"} if "name" in e else e for e in events))
    held = exposed.wait(3).profile.store.exemplars.held
    assert 0 < held < 4 * (2 + 4 * 3)
    assert exemplars(exposed.text(openmetrics=True))


# -- how they are shown --------------------------------------------------------------------------


def test_to_the_letter() -> None:
    ref = TraceRef(bytes(range(16)), bytes(range(8)))
    families = [
        FamilySnapshot(FAILED, [('task="t"', 3), ("", 0)], {'task="t"': Exemplar(1.0, 5.25, ref)}),
        FamilySnapshot(
            RUN, [('task="t"', HistogramValue([1, 0, 0, 2], 7.5, {3: Exemplar(12.5, 1e9, ref)}))]
        ),
    ]
    pointer = '{trace_id="000102030405060708090a0b0c0d0e0f",span_id="0001020304050607"}'
    assert render(families, openmetrics=True).decode() == (
        "# HELP failed Failed.\n"
        "# TYPE failed counter\n"
        f'failed_total{{task="t"}} 3 # {pointer} 1.0 5.250\n'
        "failed_total 0\n"
        "# HELP run_seconds Time.\n"
        "# TYPE run_seconds histogram\n"
        "# UNIT run_seconds seconds\n"
        'run_seconds_bucket{task="t",le="0.1"} 1\n'
        'run_seconds_bucket{task="t",le="1.0"} 1\n'
        'run_seconds_bucket{task="t",le="10.0"} 1\n'
        f'run_seconds_bucket{{task="t",le="+Inf"}} 3 # {pointer} 12.5 1000000000.000\n'
        'run_seconds_sum{task="t"} 7.5\n'
        'run_seconds_count{task="t"} 3\n'
        "# EOF\n"
    )
    assert "#" not in re.sub("(?m)^# .*", "", render(families, openmetrics=False).decode())


def test_a_series_that_is_shown_as_0_has_no_exemplar() -> None:
    exposed = traced()
    exposed.text("prometheus", openmetrics=True)
    exposed.play(*life(), *life("u2", 10, end="failed", exception="E()")).wait(3)
    first = exposed.text("prometheus", openmetrics=True)
    assert exemplars(first) == {}
    assert exemplars(exposed.text("prometheus", openmetrics=True)) != {}


def test_the_text_format_has_none() -> None:
    exposed = traced().play(*life(), *life("u2", 10, end="failed", exception="E()")).wait(3)
    _, body = expose(exposed.snapshots, "text/plain")
    assert b" # {" not in body
    assert promtool(body) == ""
    assert parsed(body.decode())


@given(
    values=st.lists(
        st.tuples(
            st.one_of(st.floats(0, 1e300), st.sampled_from(RUN.buckets), st.just(float("inf"))),
            st.floats(0, 253_402_300_799),
            st.binary(min_size=16, max_size=16),
            st.binary(min_size=8, max_size=8),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_the_page_is_good_openmetrics_and_values_lie_in_their_buckets(
    values: list[tuple[float, float, bytes, bytes]],
) -> None:
    store = Store()
    cells, runs = store.counter(FAILED), store.histogram(RUN)
    for value, at, trace_id, span_id in values:
        ref = TraceRef(trace_id, span_id)
        cells.child("t").value += 1
        store.exemplars.count(cells.child("t"), at, ref)
        runs.child("t").observe(value)
        store.exemplars.observe(runs.child("t"), value, at, ref)
    snapshots = [cells.snapshot(store.serial), runs.snapshot(store.serial)]
    found = exemplars(render(snapshots, openmetrics=True).decode())
    assert found["failed_total", (("task", "t"),)].value == 1
    given_ids = {(t.hex(), s.hex()) for _, _, t, s in values}
    lower = {bound: 0.0 if n == 0 else RUN.buckets[n - 1] for n, bound in enumerate(RUN.buckets)}
    for (name, labels), exemplar in found.items():
        assert (exemplar.labels["trace_id"], exemplar.labels["span_id"]) in given_ids
        assert sum(map(len, (*exemplar.labels, *exemplar.labels.values()))) <= 128
        if name == "run_seconds_bucket":
            le = float(dict(labels)["le"])
            above = lower.get(le, RUN.buckets[-1])
            assert above < exemplar.value <= le or (exemplar.value == 0 == above)
    # Each bucket that counted something has one.
    buckets: Samples = {}
    last = 0.0
    for (name, labels), total in parsed(render(snapshots, openmetrics=False).decode()).items():
        if name == "run_seconds_bucket":
            if total > last:
                buckets[name, labels] = total
            last = total
    assert {key for key in found if key[0] == "run_seconds_bucket"} == buckets.keys()
