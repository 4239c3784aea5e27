"""Draws a row of numbers as small bars, and says them in words."""

from collections.abc import Sequence

from z4j_exporter.web import humanize
from z4j_exporter.web.markup import Html, shape, svg

#: Units of a bar and of the gap after it, and of the drawing's height.
_BAR, _STEP, _HEIGHT = 3, 4, 40
#: Bars that there is room for, at the least and at the most.
_BARS_LEAST, _BARS = 20, 60


def bars(values: Sequence[float | None], *, kind: str, words: str) -> Html:
    """Return the bars of the latest values, the newest at the right; none where it is not known.

    ``words`` is said instead of it to who cannot see it. The highest bar fills the height.
    """
    latest = list(values)[-_BARS:]
    width = max(_BARS_LEAST, len(latest)) * _STEP
    most = max((value for value in latest if value is not None), default=0.0)
    left = width - len(latest) * _STEP
    drawn = [shape("rect", x="0", y=str(_HEIGHT - 1), width=str(width), height="1", class_="base")]
    for index, value in enumerate(latest):
        if value is None or value <= 0 or most <= 0:
            continue
        height = max(2.0, value / most * (_HEIGHT - 2))
        drawn.append(
            shape(
                "rect",
                x=str(left + index * _STEP),
                y=f"{_HEIGHT - 1 - height:.1f}",
                width=str(_BAR),
                height=f"{height:.1f}",
                class_="bar",
            )
        )
    return svg(
        *drawn,
        viewBox=f"0 0 {width} {_HEIGHT}",
        preserveAspectRatio="none",
        role="img",
        aria_label=words,
        class_=f"bars {kind}",
    )


def in_words(values: Sequence[float | None], seconds: float, name: str) -> str:
    """Return what the bars show: the least, the most and the latest of it."""
    known = [value for value in values if value is not None]
    if not known:
        return f"{name}: not known"
    least, most, latest = min(known), max(known), known[-1]
    return (
        f"{name} a second over the last {humanize.duration(seconds)}:"
        f" latest {humanize.decimal(latest)}, least {humanize.decimal(least)},"
        f" most {humanize.decimal(most)}"
    )


def meter(part: float, kind: str = "") -> Html:
    """Return a bar that is filled to a part (0 to 1); the numbers stand beside it in words."""
    filled = min(1.0, max(0.0, part))
    return svg(
        shape("rect", x="0", y="0", width="100%", height="100%", class_="base"),
        shape("rect", x="0", y="0", width=f"{filled:.1%}", height="100%", class_="bar"),
        aria_hidden="true",
        class_=f"meter {kind}".rstrip(),
    )
