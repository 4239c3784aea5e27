"""Both text formats: read back by Prometheus's own parsers, chosen by the Accept header."""

import math
import time
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families as text_families

from tests.support.exposed import NAMES, Exposed
from tests.support.promtool import promtool
from z4j_exporter.metrics.exposition import number, render, wants_openmetrics
from z4j_exporter.metrics.labels import clean
from z4j_exporter.metrics.registry import expose
from z4j_exporter.metrics.store import (
    Family,
    FamilySnapshot,
    HistogramValue,
    Sample,
    Store,
    label_text,
)

COUNTER = Family("jobs_total", "counter", "How many.", ("job", "state"))
GAUGE = Family("speed", "gauge", 'A \\ and a "quote"\nand a line.', ("job", "state"))
SECONDS = Family("job_run_seconds", "histogram", "How long.", ("job", "state"), "seconds", (0.1, 2))
FORMATS = pytest.mark.parametrize("openmetrics", [False, True])

label_values = st.text(max_size=30).map(clean)
labels = st.tuples(label_values, label_values)


def read(families: Iterable[FamilySnapshot], *, openmetrics: bool) -> dict[object, float]:
    """Write and read back; a sample by its name and its labels that are not empty."""
    parse = openmetrics_families if openmetrics else text_families
    return {
        (sample.name, tuple(sorted((k, v) for k, v in sample.labels.items() if v))): sample.value
        for family in parse(render(families, openmetrics=openmetrics).decode())
        for sample in family.samples
    }


def key(name: str, values: Iterable[str], **more: str) -> object:
    pairs = dict(zip(("job", "state"), values, strict=True)) | more
    return name, tuple(sorted((k, v) for k, v in pairs.items() if v))


@FORMATS
@given(data=st.data())
def test_values_read_back_the_same(openmetrics: bool, data: st.DataObject) -> None:
    counters = data.draw(st.dictionaries(labels, st.integers(0, 10**18) | st.floats(0, 1e300)))
    gauges = data.draw(st.dictionaries(labels, st.floats()))
    families = [
        FamilySnapshot(COUNTER, [(label_text(COUNTER.labels, k), v) for k, v in counters.items()]),
        FamilySnapshot(GAUGE, [(label_text(GAUGE.labels, k), v) for k, v in gauges.items()]),
    ]
    expected = {key("jobs_total", k): float(v) for k, v in counters.items()}
    expected |= {key("speed", k): v for k, v in gauges.items()}
    assert read(families, openmetrics=openmetrics) == pytest.approx(expected, rel=0, nan_ok=True)


@FORMATS
@given(
    cells=st.dictionaries(
        labels,
        st.tuples(st.lists(st.integers(0, 10**9), min_size=3, max_size=3), st.floats(0, 1e15)),
    )
)
def test_histograms_read_back_the_same(
    openmetrics: bool, cells: dict[tuple[str, str], tuple[list[int], float]]
) -> None:
    samples: list[Sample] = [
        (label_text(SECONDS.labels, k), HistogramValue(counts, total))
        for k, (counts, total) in cells.items()
    ]
    expected = {}
    for k, (counts, total) in cells.items():
        for le, count in zip(("0.1", "2.0", "+Inf"), (1, 2, 3), strict=True):
            expected[key("job_run_seconds_bucket", k, le=le)] = sum(counts[:count])
        expected[key("job_run_seconds_count", k)] = sum(counts)
        expected[key("job_run_seconds_sum", k)] = total
    assert read([FamilySnapshot(SECONDS, samples)], openmetrics=openmetrics) == expected


def test_the_text_format_to_the_letter() -> None:
    families = [
        FamilySnapshot(COUNTER, [(label_text(COUNTER.labels, ('a"\\\n', "")), 3)]),
        FamilySnapshot(GAUGE, [("", 0.5)]),
        FamilySnapshot(SECONDS, [('job="j"', HistogramValue([1, 0, 2], 7.5))]),
    ]
    assert render(families, openmetrics=False).decode() == (
        "# HELP jobs_total How many.\n"
        "# TYPE jobs_total counter\n"
        'jobs_total{job="a\\"\\\\\\n"} 3\n'
        '# HELP speed A \\\\ and a "quote"\\nand a line.\n'
        "# TYPE speed gauge\n"
        "speed 0.5\n"
        "# HELP job_run_seconds How long.\n"
        "# TYPE job_run_seconds histogram\n"
        'job_run_seconds_bucket{job="j",le="0.1"} 1\n'
        'job_run_seconds_bucket{job="j",le="2.0"} 1\n'
        'job_run_seconds_bucket{job="j",le="+Inf"} 3\n'
        'job_run_seconds_sum{job="j"} 7.5\n'
        'job_run_seconds_count{job="j"} 3\n'
    )


def test_openmetrics_to_the_letter() -> None:
    families = [
        FamilySnapshot(COUNTER, [('job="j"', 3)]),
        FamilySnapshot(GAUGE, []),
        FamilySnapshot(SECONDS, []),
    ]
    assert render(families, openmetrics=True).decode() == (
        "# HELP jobs How many.\n"
        "# TYPE jobs counter\n"
        'jobs_total{job="j"} 3\n'
        '# HELP speed A \\\\ and a \\"quote\\"\\nand a line.\n'
        "# TYPE speed gauge\n"
        "# HELP job_run_seconds How long.\n"
        "# TYPE job_run_seconds histogram\n"
        "# UNIT job_run_seconds seconds\n"
        "# EOF\n"
    )


def test_no_bad_label_value_ends_a_scrape() -> None:
    # They are cleaned long before; this is the last line of defence.
    text = render([FamilySnapshot(GAUGE, [('job="\udc80"', 1)])], openmetrics=False)
    assert b'speed{job="?"} 1\n' in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (10**18, "1000000000000000000"),
        (0.1, "0.1"),
        (1e-7, "1e-07"),
        (math.nan, "NaN"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


# -- what real clients ask for -----------------------------------------------------------------

#: scrape/scrape.go of Prometheus 2.42.
V2_42 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
#: config/config.go ScrapeProtocolsHeaders, weighed as scrape/scrape.go acceptHeader does.
V2_53 = (
    "application/openmetrics-text;version=1.0.0;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
V3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
V3_TEXT_FIRST = (
    "text/plain;version=1.0.0;escaping=underscores;q=0.4,text/plain;version=0.0.4;q=0.3,"
    "application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.2,*/*;q=0.1"
)
V3_NATIVE_HISTOGRAMS = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;"
    "q=0.7," + V3
)
FIREFOX = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (V2_42, True),
        (V2_53, True),
        (V3, True),
        (V3_NATIVE_HISTOGRAMS, True),
        (V3_TEXT_FIRST, False),
        (FIREFOX, False),
        ("*/*", False),
        ("", False),
        ("text/plain", False),
        ("application/openmetrics-text", True),
        ("Application/OpenMetrics-Text; Version=1.0.0; charset=utf-8", True),
        ('application/openmetrics-text; version="1.0.0"', True),
        ("application/openmetrics-text;version=2.0.0", False),
        ("application/openmetrics-text;version=2.0.0,text/plain;q=0.1", False),
        ("application/openmetrics-text;q=0.5,text/plain;q=0.5", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=", False),
        ("application/openmetrics-text;q=nan", False),
        ("application/openmetrics-text;q=inf", False),
        ("application/openmetrics-text;q=-1", False),
        ("application/json", False),
        (";,;q=1,,=;=", False),
    ],
)
def test_negotiation(accept: str, expected: bool) -> None:
    assert wants_openmetrics(accept) is expected


@given(accept=st.text(max_size=100))
def test_negotiation_never_fails(accept: str) -> None:
    assert wants_openmetrics(accept) in (True, False)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["jobs_total"], {"jobs_total"}),
        (["jobs"], {"jobs_total"}),
        (["job_run_seconds_bucket", "nothing"], {"job_run_seconds"}),
        (["nothing"], set()),
    ],
)
def test_names_limit_the_families(names: list[str], expected: set[str]) -> None:
    families = [FamilySnapshot(f, []) for f in (COUNTER, GAUGE, SECONDS)]
    content_type, body = expose(lambda: list(families), "*/*", names)
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert {line.split()[2] for line in body.decode().splitlines()} == expected


def test_the_content_type_is_of_the_format() -> None:
    content_type, body = expose(list, V2_42)
    assert content_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert body.endswith(b"# EOF\n")
    assert b"process_cpu_seconds_total" in body


# -- the whole -----------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["native", "celery-exporter", "flower"])
@pytest.mark.parametrize("name", NAMES)
def test_every_recording_is_good_openmetrics(profile: str, name: str) -> None:
    exposed = Exposed(profile).recording(name)
    families = list(openmetrics_families(exposed.text(openmetrics=True, own=True)))
    assert len({family.name for family in families}) == len(families)
    # prometheus_client's parser looks at more than Prometheus: order, buckets, doubled series.
    assert list(text_families(exposed.text(own=True)))


@pytest.mark.parametrize("name", ["demo", "outside_ascii", "retry_and_fail"])
def test_promtool_finds_nothing_to_say(name: str) -> None:
    exposed = Exposed().recording(name)
    assert promtool(expose(exposed.snapshots, "")[1]) == ""


def test_promtool_reads_hostile_labels() -> None:
    hostile = [
        '"',
        "\\",
        '\\"',
        "\n",
        "a\\nb",
        "\r\n",
        "\0",
        "\u2028",
        "{}",
        'x="',
        "é",
        "🦀",
        "\x85",
    ]
    samples: list[Sample] = [
        (label_text(("value", "number"), (clean(value), str(n))), n)
        for n, value in enumerate(hostile)
    ]
    family = Family("hostile", "gauge", 'A "help" \\ text\n# HELP x', ("value", "number"))
    assert promtool(render([FamilySnapshot(family, samples)], openmetrics=False)) == ""


def test_fifty_thousand_samples(capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(max_series=60_000)
    counters = store.counter(COUNTER)
    for index in range(33_000):
        counters.child(f"project.module.task_{index}", "succeeded").value += index
    bounds = tuple(float(bound) for bound in range(1, 16))
    seconds = store.histogram(
        Family("run_seconds", "histogram", "Time.", ("job", "state"), "seconds", bounds)
    )
    for index in range(1_000):
        seconds.child(f"project.module.task_{index}", "succeeded").observe(index / 100)
    began = time.perf_counter()
    snapshots = [counters.snapshot(store.serial), seconds.snapshot(store.serial)]
    copied = time.perf_counter()
    text = render(snapshots, openmetrics=True)
    done = time.perf_counter()
    with capsys.disabled():
        print(  # noqa: T201  # the figure is what one runs this test for
            f"\n{len(text.splitlines())} lines, {len(text) / 1e6:.1f} MB: "
            f"copied in {(copied - began) * 1e3:.1f} ms, written in {(done - copied) * 1e3:.1f} ms"
        )
    samples = [line for line in text.splitlines() if not line.startswith(b"#")]
    assert len(samples) == 33_000 + 1_000 * (15 + 1 + 2)
