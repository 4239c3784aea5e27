"""Shows a doctor's report to people: a line for each check, then what to do, then one sentence."""

import io

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from z4j_exporter.cli.show import printable
from z4j_exporter.doctor.model import Finding, Report, Verdict

_MARKS: dict[Verdict, tuple[str, str]] = {
    "ok": ("✓", "green"),
    "note": ("i", "cyan"),
    "skipped": ("-", "dim"),
    "warning": ("!", "yellow"),
    "problem": ("✗", "red"),
}
#: Columns where there is no terminal to tell: files and pipes.
_WIDTH = 120
_WIDEST = 160


def table(report: Report, *, colour: bool, terminal: bool, width: int | None = None) -> str:
    """Return the report as text; nothing in it can play with a terminal."""
    out = io.StringIO()
    if width is None:
        width = min(Console().width, _WIDEST) if terminal else _WIDTH
    console = Console(
        file=out,
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
        legacy_windows=False,
    )
    console.print(_checks(report))
    advised = [f for f in report.findings if f.advice and f.verdict != "ok"]
    if advised:
        console.print()
    for finding in sorted(advised, key=_urgency):
        console.print(_heading(finding))
        console.print(Padding(Text(printable(finding.advice)), (0, 0, 0, 2)))
    console.print()
    console.print(Text(printable(report.summary), style="bold"))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _checks(report: Report) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for finding in report.findings:
        mark, style = _MARKS[finding.verdict]
        dim = "dim" if finding.verdict == "skipped" else ""
        grid.add_row(
            Text(mark, style=style),
            Text(printable(finding.title), style=dim or "bold"),
            Text(printable(finding.evidence), style=dim),
        )
    return grid


def _heading(finding: Finding) -> Text:
    mark, style = _MARKS[finding.verdict]
    return Text(f"{mark} {printable(finding.title)}", style=style)


def _urgency(finding: Finding) -> int:
    return ["problem", "warning", "note", "skipped", "ok"].index(finding.verdict)
