"""What the demo shows in the terminal."""

import io

import pytest
from rich.console import Console

from z4j_exporter.demo.live import LineView, duration, line, render, sparkline
from z4j_exporter.demo.overview import (
    EVENTS,
    STATES,
    Observer,
    Overview,
    Queue,
    Spread,
    Worker,
)
from z4j_exporter.demo.scrape import Scrape

TEXT = """\
# TYPE celery_exporter_events counter
celery_exporter_events_total{type="task-sent"} %d
celery_exporter_events_total{type="other"} 10
# TYPE celery_task_sent counter
celery_task_sent_total{task="a",queue="q"} 7
# TYPE celery_tasks_in_progress gauge
celery_tasks_in_progress{state="running"} 3
# TYPE celery_worker_up gauge
celery_worker_up{worker="two@sample"} 0
celery_worker_up{worker="one@sample"} 1
# TYPE celery_worker_active_tasks gauge
celery_worker_active_tasks{worker="one@sample"} 2
# TYPE celery_worker_pool_size gauge
celery_worker_pool_size{worker="one@sample"} 4
# TYPE celery_queue_messages gauge
celery_queue_messages{queue="q",state="ready",priority="0"} 5
celery_queue_messages{queue="q",state="ready",priority="9"} 1
celery_queue_messages{queue="q",state="unacked"} 2
# TYPE celery_queue_workers gauge
celery_queue_workers{queue="other"} 1
# TYPE celery_task_runtime_seconds histogram
celery_task_runtime_seconds_bucket{task="fast",le="1"} 4
celery_task_runtime_seconds_bucket{task="fast",le="10"} 4
celery_task_runtime_seconds_bucket{task="fast",le="+Inf"} 4
celery_task_runtime_seconds_bucket{task="slow[bold]",le="1"} 0
celery_task_runtime_seconds_bucket{task="slow[bold]",le="10"} 4
celery_task_runtime_seconds_bucket{task="slow[bold]",le="+Inf"} 4
"""


def _observed() -> Overview:
    observer = Observer()
    observer.observe(Scrape(TEXT % 90), 100.0)
    return observer.observe(Scrape(TEXT % 190), 102.0)


def _page(overview: Overview) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(render(overview, "open http://127.0.0.1:9808/"))
    written = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(written, str)
    return written


def test_the_rate_is_the_difference_between_two_scrapes() -> None:
    overview = _observed()
    assert overview.rates == (50.0,)
    assert overview.events_total == 200


def test_one_scrape_has_no_rate() -> None:
    assert Observer().observe(Scrape(TEXT % 90), 100.0).rates == ()


def test_the_overview_holds_what_metrics_say() -> None:
    overview = _observed()
    assert overview.counts["sent"] == 7
    assert overview.counts["failed"] == 0
    assert overview.in_progress == {"waiting": 0, "reserved": 0, "running": 3}
    assert [spread.name for spread in overview.slowest] == ["slow[bold]", "fast"]
    assert [(w.name, w.up, w.active, w.pool_size) for w in overview.workers] == [
        ("one@sample", True, 2, 4),
        ("two@sample", False, 0, None),
    ]
    assert [(q.name, q.ready, q.unacked, q.workers) for q in overview.queues] == [
        ("other", None, None, 1),
        ("q", 6, 2, None),
    ]


def test_the_page_shows_it_and_takes_no_name_for_markup() -> None:
    page = _page(_observed())
    for part in ("50 events/s", "sent 7", "one@sample", "slow[bold]", "9.55 s", "Ctrl-C"):
        assert part in page


def test_the_page_of_a_demo_in_full_swing_fits_into_a_small_terminal() -> None:
    waiting = Queue("reports", 7, 0, 0, Spread("reports", 9.1, 18.0))
    queues = [Queue(n, 12, 16, 1, Spread(n, 1.0, 28.38)) for n in ("crawl", "mail", "media", "o")]
    overview = Overview(
        rates=(100.0,) * 60,
        events_total=1_234_567.0,
        counts=dict.fromkeys(EVENTS, 10_000.0),
        in_progress=dict.fromkeys(STATES, 120.0),
        slowest=[Spread("media.thumbnail", 30.0, 57.25)] * 5,
        queues=[*queues, waiting],
        workers=[Worker(f"demo{n}@sample", True, 4.0, 10_000.0, 4.0) for n in (1, 2, 3)],
    )
    console = Console(file=io.StringIO(), width=80, height=24)
    # What to open, and two lines of what to try.
    console.print(render(overview, "\n".join(["open", "try " + "x" * 70, "more"])))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) == 24
    page = "\n".join(lines)
    for part in ("succeeded 10000", "media.thumbnail", "57.25 s", "unacked", "28.38 s", "demo3@"):
        assert part in page
    assert "works in shifts" in lines[-1]
    assert "…" not in page


def test_an_exporter_without_events_has_a_page_too() -> None:
    page = _page(Observer().observe(Scrape(""), 0.0))
    assert "0 events/s" in page


def test_one_line_for_logs() -> None:
    assert line(_observed()) == "50 events/s; tasks: 7 sent; 3 running; 1 workers up"


def test_lines_come_every_five_seconds() -> None:
    console = Console(file=io.StringIO(), width=200)
    with LineView(console) as view:
        for now in (0.0, 1.0, 4.9, 5.0, 9.0, 10.5):
            view.show(_observed(), now)
    assert console.file.getvalue().count("events/s") == 3  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("values", "expected"), [([], ""), ([0, 0], "▁▁"), ([0, 7, 14], "▁▅█"), ([-3, 5], "▁█")]
)
def test_sparkline(values: list[float], expected: str) -> None:
    assert sparkline(values) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.0071, "7 ms"), (1.25, "1.25 s"), (180, "3.0 min")]
)
def test_duration(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected
