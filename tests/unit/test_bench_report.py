"""The benchmark's verdicts follow from its measurements."""

from dataclasses import replace

from benchmarks.consumers import sample_count, sample_sum
from benchmarks.growth import MemoryPoint, ScrapePoint
from benchmarks.report import (
    BEGIN,
    END,
    OURS,
    YARDSTICK,
    Results,
    as_markdown,
    goals,
    insert,
    ratio,
)
from benchmarks.throughput import Measurement

M = Measurement(
    broker="redis",
    consumer=OURS,
    rate=5_000.0,
    published=1_000,
    expected=1_000,
    seen=1_000,
    cpu_seconds=0.01,
    peak_bytes=50_000_000,
    publish_seconds=0.2,
    late_seconds=0.0,
    drained_seconds=1.0,
    cut_off=False,
)
SCRAPE = ScrapePoint(400, 60_000, 5_000_000, 0.3, 0.5, 10, 90_000_000, 0)


def kept(results: Results) -> list[bool]:
    return [goal.kept for goal in goals(results)]


def test_the_ratio_is_of_cpu_per_event_seen_in_the_same_case() -> None:
    slow = replace(M, consumer=YARDSTICK, cpu_seconds=0.05, seen=500)
    results = Results(throughput=[M, slow, replace(slow, rate=None), replace(slow, broker="x")])  # type: ignore[arg-type]  # any other broker
    assert ratio(results, M) == 10.0
    assert ratio(Results(throughput=[M]), M) is None


def test_on_redis_the_cpu_must_be_an_eighth_on_rabbitmq_a_quarter() -> None:
    for cpu, on_redis, on_rabbitmq in (
        (0.081, True, True),
        (0.05, False, True),
        (0.03, False, False),
    ):
        peer = replace(M, consumer=YARDSTICK, cpu_seconds=cpu)
        assert kept(Results(throughput=[M, peer])) == [on_redis]
        pair = [replace(m, broker="rabbitmq") for m in (M, peer)]
        assert kept(Results(throughput=pair)) == [on_rabbitmq]


def test_flat_out_nothing_may_be_lost() -> None:
    assert kept(Results(throughput=[replace(M, rate=None)])) == [True]
    assert kept(Results(throughput=[replace(M, rate=None, seen=999)])) == [False]


def test_a_tracked_task_may_take_700_bytes() -> None:
    first = MemoryPoint(1_000, 50_000_000)
    assert kept(Results(memory=[first, MemoryPoint(2_000, 50_700_000)])) == [True]
    assert kept(Results(memory=[first, MemoryPoint(2_000, 50_701_000)])) == [False]


def test_a_large_scrape_takes_less_than_a_second_and_loses_nothing() -> None:
    small = replace(SCRAPE, samples=49_999)
    assert kept(Results(scrapes=[small])) == []
    assert kept(Results(scrapes=[small, SCRAPE])) == [True]
    assert kept(Results(scrapes=[replace(SCRAPE, longest_seconds=1.0)])) == [False]
    assert kept(Results(scrapes=[replace(SCRAPE, lost=1)])) == [False]


def test_markdown_has_the_facts_and_a_row_for_each_measurement() -> None:
    text = as_markdown(Results(throughput=[M], scrapes=[SCRAPE]), ["2 cores"])
    assert text.startswith("- 2 cores\n")
    assert "| redis | 5,000/s | z4j-exporter | 10.0 µs | 1.0 | 50.0 MB | 1,000 | 0 | no |" in text
    assert "| 400 | 60,000 | 0.300 s | 0.500 s | 5.0 MB | 90.0 MB | 0 |" in text


def test_samples_are_counted_and_added_up() -> None:
    text = (
        '# HELP a x\n# TYPE a counter\na_total{b="c d"} 2.0\na_total{b="e"} 3.0 # {t="1"} 1\nb 7\n'
    )
    assert sample_count(text) == 3
    assert sample_sum(text, "a_total") == 5.0
    assert sample_sum(text, "none") == 0.0


def test_the_tables_replace_those_of_the_run_before() -> None:
    document = f"# Title\n{BEGIN}\nold\n{END}\nrest\n"
    assert insert(document, "new") == f"# Title\n{BEGIN}\n\nnew\n{END}\nrest\n"
    assert insert(insert(document, "newer"), "new") == insert(document, "new")
    assert insert("no marks", "new") == "new"
