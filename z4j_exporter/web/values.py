"""Shows numbers, durations and moments in HTML, with the exact value beside the readable one."""

from z4j_exporter.web import humanize
from z4j_exporter.web.markup import NOTHING, Html, element, join, text

#: What stands where a value is not known: a dash for the eye, words for a screen reader.
UNKNOWN = element(
    "span",
    element("span", text("\u2014"), aria_hidden="true"),
    element("span", text("not known"), class_="unseen"),
    class_="unknown",
)


def number(value: int | None) -> Html:
    """Return a count; the exact one in a tooltip where it is rounded."""
    if value is None:
        return UNKNOWN
    shown, exact = humanize.count(value), humanize.exact(value)
    return element("data", text(shown), value=str(value), title=exact if exact != shown else None)


def decimal(value: float | None, unit: str = "") -> Html:
    """Return a number that is not whole."""
    if value is None or not humanize.is_number(value):
        return UNKNOWN
    told = element(
        "data", text(humanize.decimal(value)), value=f"{value:.6g}", title=f"{value:.6g}"
    )
    return join([told, element("span", text(unit), class_="unit")]) if unit else told


def duration(seconds: float | None) -> Html:
    """Return a duration or an age."""
    if seconds is None or not humanize.is_number(seconds):
        return UNKNOWN
    return element(
        "time",
        text(humanize.duration(seconds)),
        datetime=humanize.iso_duration(seconds) or None,
        title=f"{seconds:.3f} s",
    )


def ago(at: float, now: float) -> Html:
    """Return how long ago a moment was; both are seconds since the epoch."""
    if not humanize.is_number(at):
        return UNKNOWN
    return element(
        "time",
        # Clocks of two hosts differ: what is a little ahead has happened just now.
        text(f"{humanize.duration(max(0.0, now - at))} ago"),
        datetime=humanize.iso(at) or None,
        title=humanize.clock(at) or None,
    )


def moment(at: float) -> Html:
    """Return a moment in UTC."""
    told = humanize.clock(at) if humanize.is_number(at) else ""
    return element("time", text(told), datetime=humanize.iso(at)) if told else UNKNOWN


def plural(value: int, one: str, many: str = "") -> str:
    """Return a number with its noun: ``1 worker``, ``12 workers``."""
    return f"{humanize.count(value)} {one if value == 1 else many or one + 's'}"


def mark(kind: str, meaning: str = "") -> Html:
    """Return a sign of a state: its shape tells it as well as its colour.

    ``kind`` is ok, look, bad or unknown; ``meaning`` is for screen readers where no word beside it
    says it.
    """
    said = element("span", text(meaning), class_="unseen") if meaning else NOTHING
    return join(
        [element("span", text(_SHAPES[kind]), class_=f"mark {kind}", aria_hidden="true"), said]
    )


_SHAPES = {"ok": "\u2713", "look": "!", "bad": "\u2715", "unknown": "?"}
