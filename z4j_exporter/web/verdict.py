"""Says in one line whether all is well, and where to look if not. Pure."""

from typing import Literal, NamedTuple

from z4j_exporter.web.status import Advice, Status
from z4j_exporter.web.values import plural

Kind = Literal["ok", "look", "bad"]


class Reason(NamedTuple):
    """Why someone should look, and at which part of the page."""

    part: str
    words: str
    kind: Kind


class Verdict(NamedTuple):
    """The line, and the reasons for it, the worst first."""

    kind: Kind
    headline: str
    reasons: list[Reason]


#: Findings of one severity that are told one by one.
_TOLD = 2
_SEVERITIES: tuple[tuple[str, Kind], ...] = (("problem", "bad"), ("warning", "look"))
_HEADLINES: dict[Kind, str] = {
    "ok": "All is well",
    "look": "Worth a look",
    "bad": "Something is wrong",
}


def verdict_of(status: Status) -> Verdict:
    """Return the verdict. What is not known yet is no reason, but then not all is well either.

    What was lost since the start is told and changes nothing: the past would hide the present.
    """
    reasons = list(_reasons(status))
    reasons.sort(key=lambda reason: reason.kind != "bad")
    kind: Kind = reasons[0].kind if reasons else "ok"
    headline = _HEADLINES[kind]
    if kind == "ok" and not status.examined:
        headline = "Nothing wrong seen yet"
    lost = sum(loss.count for loss in status.losses)
    if lost:
        reasons.append(Reason("losses", f"{plural(lost, 'loss', 'losses')} since the start", "ok"))
    return Verdict(kind, headline, reasons)


def _reasons(status: Status) -> list[Reason]:
    found: list[Reason] = []
    if not status.ready:
        found.append(Reason("connections", status.reason or "Not ready", "bad"))
    away = [connection.what for connection in status.connections if connection.ok is False]
    if away and status.ready:
        found.append(Reason("connections", f"Not connected: {', '.join(away[:3])}", "look"))
    for severity, kind in _SEVERITIES:
        some = [finding for finding in status.findings if finding.severity == severity]
        if len(some) <= _TOLD:
            found += [Reason("findings", _said(finding), kind) for finding in some]
        else:
            found.append(Reason("findings", plural(len(some), severity), kind))
    down = status.workers_total - status.workers_up
    if down > 0:
        found.append(Reason("workers", f"{plural(down, 'worker')} down", "look"))
    if status.queues_ok is False:
        found.append(Reason("queues", "Queues could not be read", "look"))
    return found


def _said(finding: Advice) -> str:
    """Return what a finding is about, with its first sentence."""
    return f"{finding.title}: {finding.text.partition('. ')[0]}".removesuffix(".")
