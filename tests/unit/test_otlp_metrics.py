"""OTLP metrics hold what /metrics shows: family by family, label by label, from one snapshot."""

import math
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.support.exemplars import life, traced
from tests.support.exposed import NAMES, T0, Exposed, Samples
from tests.support.otlp_metrics import Pointers, metrics, requests, samples
from z4j_exporter import __version__
from z4j_exporter.metrics.catalogue import CATALOGUE
from z4j_exporter.metrics.exemplars import Exemplar
from z4j_exporter.metrics.exporter import process_families
from z4j_exporter.metrics.exposition import render
from z4j_exporter.metrics.labels import clean, pairs
from z4j_exporter.metrics.otlp import MetricsEncoder, otlp_name, otlp_unit
from z4j_exporter.metrics.store import Family, FamilySnapshot, HistogramValue, label_text
from z4j_exporter.track.transitions import TraceRef

COUNTER = Family("jobs_total", "counter", "How many.", ("job", "state"), counts="job")
GAUGE = Family("speed", "gauge", "How fast.", ("job", "state"))
SECONDS = Family("run_seconds", "histogram", "How long.", ("job", "state"), "seconds", (0.1, 2.0))
START, NOW = 1_700_000_000_000_000_000, 1_800_000_000_000_000_000
REF = TraceRef(bytes(range(16)), bytes(range(8)))


def encode(snapshots: list[FamilySnapshot], **limits: int) -> list[bytes]:
    return MetricsEncoder({"service.name": "x"}, START, **limits).encode(snapshots, NOW)


def shown(snapshots: list[FamilySnapshot]) -> tuple[Samples, Pointers]:
    """Return what /metrics shows, as Prometheus's own client reads it."""
    found: Samples = {}
    pointers: Pointers = {}
    for family in text_string_to_metric_families(render(snapshots, openmetrics=True).decode()):
        for sample in family.samples:
            key = sample.name, tuple(sorted((k, v) for k, v in sample.labels.items() if v))
            found[key] = sample.value
            if sample.exemplar:
                e = sample.exemplar
                ids = e.labels["trace_id"], e.labels["span_id"]
                pointers[key] = (*ids, e.value, round(float(e.timestamp), 3))
    return found, pointers


# -- the contract --------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["native", "celery-exporter", "flower"])
@pytest.mark.parametrize("name", NAMES)
def test_every_recording_is_pushed_as_it_is_shown(profile: str, name: str) -> None:
    snapshots = Exposed(profile).recording(name).snapshots() + process_families()
    assert samples(encode(snapshots)) == shown(snapshots)


@pytest.mark.parametrize("profile", ["native", "celery-exporter", "flower"])
def test_exemplars_are_pushed_as_they_are_shown(profile: str) -> None:
    exposed = traced(profile).play(
        *life("u1", runtime=4.0), *life("u2", 10, end="failed", exception="E()")
    )
    snapshots = exposed.wait(3).snapshots()
    found, pointers = samples(encode(snapshots))
    assert pointers
    assert (found, pointers) == shown(snapshots)


label_values = st.text(max_size=30).map(clean)
labels = st.tuples(label_values, label_values)
refs = st.builds(TraceRef, st.binary(min_size=16, max_size=16), st.binary(min_size=8, max_size=8))
times = st.integers(0, 4_000_000_000_000).map(lambda ms: ms / 1000)


@given(
    counters=st.dictionaries(labels, st.integers(0, 2**53) | st.floats(0, 1e300)),
    gauges=st.dictionaries(labels, st.floats(allow_nan=False) | st.integers(-(2**53), 2**53)),
    cells=st.dictionaries(
        labels,
        st.tuples(st.lists(st.integers(1, 10**9), min_size=3, max_size=3), st.floats(0, 1e15)),
    ),
    ref=refs,
    at=times,
)
def test_whatever_is_shown_is_pushed(
    counters: dict[tuple[str, str], float],
    gauges: dict[tuple[str, str], float],
    cells: dict[tuple[str, str], tuple[list[int], float]],
    ref: TraceRef,
    at: float,
) -> None:
    names = COUNTER.labels
    texts = [label_text(names, k) for k in counters]
    inside = {0: Exemplar(0.1, at, ref), 2: Exemplar(1e9, at, ref)}
    snapshots = [
        FamilySnapshot(
            COUNTER,
            list(zip(texts, counters.values(), strict=True)),
            {text: Exemplar(1.0, at, ref) for text in texts[::2]},
        ),
        FamilySnapshot(GAUGE, [(label_text(names, k), v) for k, v in gauges.items()]),
        FamilySnapshot(
            SECONDS,
            [(label_text(names, k), HistogramValue(c, s, inside)) for k, (c, s) in cells.items()],
        ),
    ]
    encoder = MetricsEncoder({}, START, max_request_bytes=300)
    first, second = encoder.encode(snapshots, NOW), encoder.encode(snapshots, NOW)
    assert first == second  # from what was remembered
    assert samples(first) == shown(snapshots)


@given(values=st.lists(st.text(), min_size=2, max_size=2))
def test_label_texts_read_back(values: list[str]) -> None:
    named = [(name, value) for name, value in zip(("a", "b_c"), values, strict=True) if value]
    assert pairs(label_text(("a", "b_c"), values)) == named


# -- what else stands in a request ---------------------------------------------------------------


def test_a_request_says_whose_it_is() -> None:
    encoder = MetricsEncoder({"service.name": "z4j-exporter", "zone": "a"}, START)
    (request,) = requests(encoder.encode([FamilySnapshot(GAUGE, [("", 1)])], NOW))
    (resource,) = request.resource_metrics
    attributes = {a.key: a.value.string_value for a in resource.resource.attributes}
    assert attributes == {"service.name": "z4j-exporter", "zone": "a"}
    (scope,) = resource.scope_metrics
    assert (scope.scope.name, scope.scope.version) == ("z4j_exporter", __version__)


def test_types_units_and_times() -> None:
    snapshots = [
        FamilySnapshot(COUNTER, [("", 1)]),
        FamilySnapshot(GAUGE, [("", 0.5)]),
        FamilySnapshot(SECONDS, [("", HistogramValue([1, 0, 2], 9.5))]),
    ]
    counter, gauge, seconds = metrics(encode(snapshots))
    assert (counter.name, counter.unit, counter.description) == ("jobs", "{job}", "How many.")
    assert counter.sum.is_monotonic
    assert counter.sum.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE
    assert (gauge.name, gauge.unit) == ("speed", "")
    assert (seconds.name, seconds.unit) == ("run_seconds", "s")
    assert seconds.histogram.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE
    (point,) = seconds.histogram.data_points
    assert list(point.bucket_counts) == [1, 0, 2]  # each by itself
    assert list(point.explicit_bounds) == [0.1, 2.0]
    assert (point.count, point.sum) == (3, 9.5)
    for each, start in (
        (counter.sum.data_points[0], START),
        (gauge.gauge.data_points[0], 0),
        (point, START),
    ):
        assert (each.start_time_unix_nano, each.time_unix_nano) == (start, NOW)
    assert counter.sum.data_points[0].WhichOneof("value") == "as_int"
    assert gauge.gauge.data_points[0].WhichOneof("value") == "as_double"


def test_counters_that_others_keep_have_no_start_of_ours() -> None:
    # They began before: with our start, a backend would take all of it for an increase.
    elsewhere = [family for family in CATALOGUE if family.elsewhere]
    assert {f.name for f in elsewhere} == {
        "celery_worker_processed_total",
        *(f"celery_queue_messages_{what}_total" for what in ("published", "delivered", "acked")),
    }
    (metric,) = metrics(encode([FamilySnapshot(elsewhere[0], [("", 7)])]))
    assert metric.sum.data_points[0].start_time_unix_nano == 0


def test_one_rule_for_units() -> None:
    units = {otlp_unit(family) for family in CATALOGUE}
    assert {"s", "By", "{task}", "{message}", ""} <= units
    assert "1" not in units  # Prometheus would add _ratio to a gauge's name
    for family in CATALOGUE:
        assert not (family.unit and family.counts), family.name
        assert family.type != "counter" or family.counts, family.name
        assert not otlp_name(family).endswith("_total")
    process = {family.name: otlp_unit(family) for family in (s.family for s in process_families())}
    assert process["process_cpu_seconds_total"] == "s"
    assert process["process_resident_memory_bytes"] == "By"


def test_families_without_series_are_left_out() -> None:
    assert encode([FamilySnapshot(COUNTER, []), FamilySnapshot(SECONDS, [])]) == []
    (metric,) = metrics(encode([FamilySnapshot(COUNTER, []), FamilySnapshot(GAUGE, [("", 1)])]))
    assert metric.name == "speed"


def test_much_is_pushed_in_several_requests() -> None:
    counted = [(f'job="{"x" * 200}{n}"', n) for n in range(1000)]
    timed = [(f'job="{"x" * 200}{n}"', HistogramValue([1, 1, 1], 3.0)) for n in range(1000)]
    snapshots = [FamilySnapshot(COUNTER, counted), FamilySnapshot(SECONDS, list(timed))]
    payloads = encode(snapshots, max_request_bytes=50_000)
    assert 5 < len(payloads) < 15
    assert all(len(payload) < 55_000 for payload in payloads)
    assert samples(payloads) == shown(snapshots)
    for request in requests(payloads):
        (resource,) = request.resource_metrics
        assert resource.resource.attributes
        assert {m.name for m in resource.scope_metrics[0].metrics} <= {"jobs", "run_seconds"}


def test_attributes_of_series_that_are_gone_are_forgotten() -> None:
    encoder = MetricsEncoder({}, START)
    for push in range(5):
        counted = [(f'job="{push}-{n}"', n) for n in range(100)]
        encoder.encode([FamilySnapshot(COUNTER, list(counted))], NOW)
    assert len(encoder._numbers._now) + len(encoder._numbers._before) <= 200


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 10**30, math.inf, -math.inf])
def test_numbers_of_any_size_are_pushed(value: float) -> None:
    assert samples(encode([FamilySnapshot(GAUGE, [("", value)])]))[0] == {
        ("speed", ()): float(value)
    }


def test_no_number_is_pushed_as_such() -> None:
    ((_, value),) = samples(encode([FamilySnapshot(GAUGE, [("", math.nan)])]))[0].items()
    assert math.isnan(value)


def test_no_bad_text_or_time_ends_a_push() -> None:
    far = Exemplar(1.0, 253_402_300_799.0, REF)
    text = 'job="\udc80"'
    (metric,) = metrics(encode([FamilySnapshot(COUNTER, [(text, 1)], {text: far})]))
    (point,) = metric.sum.data_points
    assert point.attributes[0].value.string_value == "?"
    assert point.exemplars[0].time_unix_nano == 2**64 - 1


def test_fifty_thousand_samples(capsys: pytest.CaptureFixture[str]) -> None:
    counted = [(f'job="project.module.task_{n}",state="succeeded"', n) for n in range(50_000)]
    encoder = MetricsEncoder({}, START)
    for _ in range(2):
        began = time.process_time()
        payloads = encoder.encode([FamilySnapshot(COUNTER, counted)], NOW)
        took = time.process_time() - began
    with capsys.disabled():
        print(  # noqa: T201  # the figure is what one runs this test for
            f"\n{sum(map(len, payloads)) / 1e6:.1f} MB in {len(payloads)} requests, "
            f"{took * 1e3:.0f} ms of CPU"
        )
    assert sum(len(m.sum.data_points) for m in metrics(payloads)) == 50_000


def test_the_rest_of_the_metrics_does_not_load_protobuf() -> None:
    program = (
        "import sys, z4j_exporter.metrics.push, z4j_exporter.metrics.profiles\n"
        "assert not [m for m in sys.modules if 'metrics_pb2' in m]"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_moments_of_events_are_kept() -> None:
    exposed = traced().play(*life("u1"))
    _, pointers = samples(encode(exposed.wait(3).snapshots()))
    assert {at for *_, at in pointers.values()} == {T0 + 3, T0 + 7}
