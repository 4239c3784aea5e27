"""Which traces the demo shows, and how it fits them into the terminal."""

import io
from urllib.parse import urlsplit

import pytest
from rich.console import Console
from rich.text import Text

from tests.support.spans import failed, ran, sent
from z4j_exporter.demo import sample_app, traces
from z4j_exporter.demo.live import fitted
from z4j_exporter.demo.overview import Observer
from z4j_exporter.demo.scrape import Scrape
from z4j_exporter.demo.traces import SHOWPIECE, SHOWPIECE_SPANS, Choice, choose, read, showpiece
from z4j_exporter.demo.trees import block, panel
from z4j_exporter.tracing.answers import TraceAnswers, TraceLine
from z4j_exporter.tracing.memory import RecentSpans
from z4j_exporter.tracing.model import Span


def line(number: int, root: str, spans: int, errors: int = 0) -> TraceLine:
    return TraceLine(
        trace_id=f"{number:032x}", root=f"send {root}", service="s", task_id="", start="",
        start_unix_nano="1", duration_seconds=1.0, spans=spans, errors=errors,
    )  # fmt: skip


def trace(number: int, task: str, tasks: int) -> list[Span]:
    """A chain of so many tasks."""
    trace_id = number.to_bytes(16, "big")
    spans: list[Span] = []
    for each in range(1, 2 * tasks, 2):
        spans.append(sent(each, each - 1, task, 10 * each, trace_id=trace_id))
        ended = ran(each + 1, each, task, 10 * each, 9, "SUCCESS", trace_id=trace_id)
        spans.append(ended)
    return spans


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> RecentSpans:
    """The memory of an exporter whose page is asked."""
    recent = RecentSpans(1000)
    answers = TraceAnswers(recent)

    def get(_url: str, path: str, _accept: str) -> tuple[int, bytes]:
        wanted = urlsplit(path).path.removeprefix("/traces").strip("/")
        body = answers.otlp_json(wanted) if wanted else answers.latest(100)
        return (404, b"") if body is None else (200, body)

    monkeypatch.setattr(traces, "get", get)
    return recent


def test_the_richest_trace_of_each_task_is_chosen_and_not_the_same_again() -> None:
    lines = [line(1, "a", 2), line(2, "a", 6), line(3, "b", 4), line(4, "b", 4, errors=1)]
    assert [each.trace_id[-1] for each in choose(lines, [])] == ["2", "4"]
    assert [each.trace_id[-1] for each in choose(lines, [lines[1].trace_id])] == ["4", "1"]
    assert len(choose([line(n, f"t{n}", n) for n in range(1, 20)], [])) == 4


def test_the_showpiece_is_a_task_of_the_sample_application_and_whole() -> None:
    assert SHOWPIECE in sample_app.app.tasks
    half, whole = line(1, SHOWPIECE, SHOWPIECE_SPANS - 1), line(2, SHOWPIECE, SHOWPIECE_SPANS)
    assert showpiece([half, whole, line(3, "a", 99)]) == whole
    assert showpiece([half]) is None


def test_a_choice_is_kept_for_a_while(page: RecentSpans) -> None:
    choice = Choice("http://x")
    assert choice.look(0.0) == []
    page.take(trace(1, "a", 2))
    assert [len(shown) for shown in choice.look(1.0)] == [4]
    page.take(trace(2, "a", 3))
    assert [len(shown) for shown in choice.look(8.9)] == [4]
    assert [len(shown) for shown in choice.look(9.1)] == [6]
    assert [len(shown) for shown in choice.look(18.0)] == [4]


def test_what_was_shown_stays_when_there_is_nothing_new(page: RecentSpans) -> None:
    page.take(trace(1, "a", 2))
    choice = Choice("http://x")
    assert choice.look(0.0) == choice.look(100.0) != []


def test_an_exporter_without_traces_shows_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "get", lambda *_: (404, b"no traces are kept"))
    assert Choice("http://x").look(0.0) == []
    assert read("http://x", "01" * 16) == []


def test_a_trace_is_a_line_for_each_attempt_under_its_heading() -> None:
    spans = trace(1, "a", 2)
    spans.append(ran(9, 4, "b", 90, 5, "FAILURE", trace_id=spans[0].trace_id, **failed("E", "no")))
    lines = [text.plain.rstrip() for text in block(spans, 100)]
    assert lines[0] == f"a  85.0 ms, 5 spans, 1 error  {1:032x}"
    assert [text.lstrip("│├└ ").split()[0] for text in lines[1:]] == ["a", "a", "b", "E:"]


def printed(item: object, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(item)
    written = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(written, str)
    return written.splitlines()


@pytest.mark.parametrize("height", [6, 9, 12, 20, 60])
@pytest.mark.parametrize("width", [40, 100, 200])
def test_a_panel_fits(height: int, width: int) -> None:
    made = panel([trace(1, "a", 5), trace(2, "b", 3)], width, height)
    assert made is not None
    lines = printed(made, width)
    assert len(lines) <= height
    assert {len(each) for each in lines} == {width}
    assert ("more lines" in "".join(lines)) == (height == 6)


def test_no_room_no_panel() -> None:
    assert panel([trace(1, "a", 5)], 100, 5) is None
    assert panel([], 100, 50) is None


@pytest.mark.parametrize(("height", "shown"), [(16, False), (60, True)])
def test_the_live_view_shows_traces_in_the_lines_that_are_left(height: int, shown: bool) -> None:
    console = Console(file=io.StringIO(), width=100, height=height, force_terminal=True)
    overview = Observer().observe(Scrape(""), 0.0)
    page = fitted(overview, "open it", [trace(1, "a", 5)], console)
    lines = console.render_lines(page, pad=False)
    text = Text("\n".join("".join(part.text for part in each) for each in lines)).plain
    assert ("Traces" in text) == shown
    assert not shown or len(lines) <= height
    assert "Ctrl-C" in text
