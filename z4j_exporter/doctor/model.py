"""What the doctor finds: one verdict for each check, and what they come to."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

#: ok; note: nothing wrong, but worth knowing, or it could not be told; skipped: not looked at;
#: warning: some metrics are missing or wrong; problem: metrics stay empty, or tasks wait for ever.
Verdict = Literal["ok", "note", "skipped", "warning", "problem"]

#: Exit codes of ``z4j-exporter doctor``; errors of other kinds have 1 to 9 (errors.py).
EXIT_WARNING = 10
EXIT_PROBLEM = 11

#: The longest string from the wire that is shown whole.
_SHOWN_CHARACTERS = 100
#: Names of one kind that a sentence lists.
_NAMED = 3


@dataclass(frozen=True)
class Finding:
    """One check's result. None of its texts holds a secret or a control character."""

    #: Short and lasting, for scripts: ``task-events``.
    check: str
    title: str
    verdict: Verdict
    #: What was seen, in one sentence.
    evidence: str
    #: What to do about it; "" when nothing has to be done.
    advice: str = ""


@dataclass(frozen=True)
class Report:
    """All findings of one examination."""

    #: Where the broker is, without secrets.
    location: str
    listened_seconds: float
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of the findings: problem, warning or ok."""
        verdicts = {finding.verdict for finding in self.findings}
        return "problem" if "problem" in verdicts else "warning" if "warning" in verdicts else "ok"

    @property
    def exit_code(self) -> int:
        """0 when nothing is wrong, else by the worst finding."""
        return {"warning": EXIT_WARNING, "problem": EXIT_PROBLEM}.get(self.verdict, 0)

    @property
    def summary(self) -> str:
        """The whole in one sentence."""
        counts = Counter(finding.verdict for finding in self.findings)
        if self.verdict == "ok":
            notes = f"; {count(counts['note'], 'note')} above" if counts["note"] else ""
            return f"Nothing is wrong ({count(counts['ok'], 'check')} passed{notes})."
        found = [count(counts[kind], kind) for kind in ("problem", "warning") if counts[kind]]
        first = next(finding for finding in self.findings if finding.verdict == self.verdict)
        return f"{' and '.join(found)}; begin with “{first.title}”."


def count(number: int, noun: str) -> str:
    """Return ``1 task``, ``2 tasks``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}".replace(",", " ")


def shown(text: str) -> str:
    """Return a string from the wire as it can be shown: short, control characters escaped."""
    if len(text) > _SHOWN_CHARACTERS:
        text = text[: _SHOWN_CHARACTERS - 1] + "…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def some(names: "list[str] | tuple[str, ...]") -> str:
    """Return the first few names, and how many there are beside them."""
    listed = ", ".join(shown(name) for name in sorted(names)[:_NAMED])
    more = len(names) - _NAMED
    return f"{listed} and {more} more" if more > 0 else listed
