"""How a report is shown: table, JSON, exit code, one sentence."""

import json
import threading
import time

import pytest

from z4j_exporter.cli.doctor import as_json
from z4j_exporter.cli.doctor_table import table
from z4j_exporter.doctor.background import Background
from z4j_exporter.doctor.model import Finding, Report, Verdict, count, shown, some
from z4j_exporter.errors import SourceLostError


def report(*verdicts: Verdict) -> Report:
    findings = tuple(
        Finding(f"check-{n}", f"Check {n}", verdict, f"evidence {n}", f"advice {n}")
        for n, verdict in enumerate(verdicts)
    )
    return Report("redis://h:6379/0", 10.0, findings)


@pytest.mark.parametrize(
    ("verdicts", "verdict", "code", "summary"),
    [
        (("ok",), "ok", 0, "Nothing is wrong (1 check passed)."),
        (("ok", "ok", "note"), "ok", 0, "Nothing is wrong (2 checks passed; 1 note above)."),
        (("skipped", "ok"), "ok", 0, "Nothing is wrong (1 check passed)."),
        (("ok", "warning"), "warning", 10, "1 warning; begin with “Check 1”."),
        (
            ("warning", "problem", "problem"),
            "problem",
            11,
            "2 problems and 1 warning; begin with “Check 1”.",
        ),
    ],
)
def test_what_findings_come_to(
    verdicts: tuple[Verdict, ...], verdict: str, code: int, summary: str
) -> None:
    made = report(*verdicts)
    assert (made.verdict, made.exit_code, made.summary) == (verdict, code, summary)


def test_the_table_is_a_line_each_and_advice_where_it_is_needed() -> None:
    text = table(report("ok", "warning", "problem", "skipped"), colour=False, terminal=False)
    assert text.splitlines() == [
        "✓ Check 0 evidence 0",
        "! Check 1 evidence 1",
        "✗ Check 2 evidence 2",
        "- Check 3 evidence 3",
        "",
        "✗ Check 2",
        "  advice 2",
        "! Check 1",
        "  advice 1",
        "- Check 3",
        "  advice 3",
        "",
        "1 problem and 1 warning; begin with “Check 2”.",
    ]


def test_colours_only_when_wanted() -> None:
    assert "\x1b[" in table(report("problem"), colour=True, terminal=False)
    assert "\x1b" not in table(report("problem"), colour=False, terminal=True)


def test_a_narrow_terminal_wraps() -> None:
    long = Report("", 1.0, (Finding("c", "Check", "problem", "word " * 30, "advise " * 30),))
    text = table(long, colour=False, terminal=True, width=50)
    assert all(len(line) <= 50 for line in text.splitlines())
    assert text.count("word") == 30
    assert text.count("advise") == 30


def test_nothing_plays_with_the_terminal() -> None:
    bad = Finding("c", "T\x1b[2J", "problem", "[red]e\x1b]0;x\x07\u202e[/red]", "a\x9b\n")
    text = table(Report("", 1.0, (bad,)), colour=False, terminal=False)
    assert all(line.isprintable() for line in text.splitlines())
    assert "[red]e" in text  # markup is no markup here


def test_json_is_for_programs() -> None:
    document = json.loads(as_json(report("ok", "problem")))
    assert document["verdict"] == "problem"
    assert document["broker"] == "redis://h:6379/0"
    assert document["findings"][1] == {
        "check": "check-1",
        "title": "Check 1",
        "verdict": "problem",
        "evidence": "evidence 1",
        "advice": "advice 1",
    }


def test_words() -> None:
    assert count(1, "task") == "1 task"
    assert count(12345, "task") == "12 345 tasks"
    assert some(["b", "a"]) == "a, b"
    assert some(list("edcba")) == "a, b, c and 2 more"
    assert shown("x" * 1000) == "x" * 99 + "…"
    assert shown("a\x1bb\ud800") == "a\\x1bb\\ud800"


def test_a_question_that_does_not_end_is_not_waited_for() -> None:
    never = threading.Event()
    asked = Background("never", lambda: never.wait(30))
    assert asked.answer(time.monotonic()) is None
    never.set()


def test_a_question_that_fails_has_no_answer() -> None:
    def lost() -> str:
        raise SourceLostError("gone")

    def bug() -> str:
        raise ValueError("bug")

    deadline = time.monotonic() + 10
    assert Background("lost", lost).answer(deadline) is None
    assert Background("bug", bug).answer(deadline) is None
    assert Background("fine", lambda: "yes").answer(deadline) == "yes"
