"""Draws the panels of a dashboard's preview: a number, lines, a table, a heatmap."""

import math
import re
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

#: A query and what it gave.
Answers = Sequence[tuple[dict[str, Any], list[dict[str, Any]]]]
Span = tuple[float, float]

_COLORS = {
    "green": "#56a64b", "red": "#e02f44", "orange": "#ff780a", "blue": "#3274d9",
    "yellow": "#f2cc0c", "purple": "#a352cc", "transparent": "transparent", "text": "#ccccdc",
}  # fmt: skip
_PALETTE = ("#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#705da0")
#: Lines named in a key.
_KEYS = 4
_TIMES = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


class _Scale(NamedTuple):
    """The values at the lower and the upper edge of a graph."""

    bottom: float
    top: float

    def value(self, part: float) -> float:
        """Return the value at this part of the height."""
        return self.bottom + part * (self.top - self.bottom)

    def part(self, value: float) -> float:
        """Return at which part of the height a value is."""
        return (value - self.bottom) / (self.top - self.bottom)


def number(panel: dict[str, Any], answers: Answers, width: int, height: int, _span: Span) -> str:
    """Return the last value, on its colour."""
    found = [float(series["value"][1]) for _, result in answers for series in result]
    defaults = panel["fieldConfig"]["defaults"]
    if not found:
        text, colour = defaults.get("noValue", "no data"), "#33363d"
    else:
        text, colour = _shown(found[-1], defaults)
    size = min(height * 0.5, 1.3 * width / max(5, len(text)))
    style = f"height:{height - 8}px;font-size:{size:.0f}px;background:{colour}"
    return f"<div class=number style='{style}'>{escape(text)}</div>"


def lines(panel: dict[str, Any], answers: Answers, width: int, height: int, span: Span) -> str:
    """Return lines over time with a key of the first few."""
    drawn = [
        (_name(target, series["metric"]), _points(series["values"]))
        for target, result in answers
        for series in result
    ]
    drawn = [(name, points) for name, points in drawn if points]
    if not drawn:
        return "<div class=none>no data</div>"
    defaults = panel["fieldConfig"]["defaults"]
    unit = defaults.get("unit", "")
    values = [value for _, points in drawn for _, value in points]
    bottom, top = min(0, *values), max(0, *values)
    scale = _Scale(bottom, top if top > bottom else bottom + 1)
    tall, key, marks = height - 52, [], []
    for index, (name, points) in enumerate(sorted(drawn, key=lambda each: -each[1][-1][1])):
        colour = _fixed(panel, name) or _PALETTE[index % len(_PALETTE)]
        marks.append(_polyline(points, span, width - 66, tall - 10, scale, colour))
        if index < _KEYS:
            last = format_value(points[-1][1], unit)
            key.append(f"<div><i style='background:{colour}'></i>{escape(name)} {last}</div>")
    grid = "".join(
        f"<line x1=52 x2={width - 14} y1={y:.0f} y2={y:.0f} stroke=#2c3235 />"
        f"<text x=46 y={y + 3:.0f} text-anchor=end>{format_value(scale.value(part), unit)}</text>"
        for part in (0, 0.5, 1)
        for y in [(tall - 14) * (1 - part) + 8]
    )
    picture = f"{grid}<g transform='translate(52,8)'>{''.join(marks)}</g>"
    key_list = f"<div class=key>{''.join(key)}</div>"
    return f"<svg width={width} height={tall}>{picture}</svg>{key_list}"


def table(panel: dict[str, Any], answers: Answers, _width: int, height: int, _span: Span) -> str:
    """Return rows joined by a label, in the order and with the names that the panel gives."""
    steps = {each["id"]: each.get("options", {}) for each in panel.get("transformations") or ()}
    label = steps.get("joinByField", {}).get("byField", "")
    organize = steps.get("organize", {})
    names, left_out = organize.get("renameByName", {}), organize.get("excludeByName", {})
    order = organize.get("indexByName", {})
    rows: dict[str, dict[str, str | float]] = {}
    for target, result in answers:
        # As Grafana calls it: only values of several queries have their query's letter.
        value = "Value" if len(answers) == 1 else f"Value #{target['refId']}"
        for series in result:
            row = rows.setdefault(series["metric"].get(label, ""), {})
            row.update(series["metric"])
            row[value] = float(series["value"][1])
    columns = [(field, name) for field, name in names.items() if not left_out.get(field)]
    columns.sort(key=lambda column: order.get(column[0], len(order)))
    sort = next((each["displayName"] for each in panel["options"].get("sortBy") or ()), "")
    field = next((each for each, name in columns if name == sort), "")
    ordered = sorted(rows.values(), key=lambda row: -_sortable(row.get(field)))
    head = "".join(f"<th>{escape(name)}</th>" for _, name in columns)
    body = "".join(
        f"<tr>{''.join(_cell(panel, name, row.get(each)) for each, name in columns)}</tr>"
        for row in ordered[: height // 24]
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def heat(_panel: dict[str, Any], answers: Answers, width: int, height: int, span: Span) -> str:
    """Return a heatmap: a row for each bucket, darker for less."""
    buckets = [series for _, result in answers for series in result if "le" in series["metric"]]
    buckets.sort(key=lambda series: float(series["metric"]["le"]))
    if not buckets:
        return "<div class=none>no data</div>"
    grid: list[tuple[int, float, float]] = []
    below: dict[float, float] = {}
    for row, series in enumerate(buckets):
        points = dict(_points(series["values"]))
        grid += [(row, at, value - below.get(at, 0)) for at, value in points.items()]
        below = points
    most = max((value for _, _, value in grid), default=0) or 1
    tall = (height - 8) / len(buckets)
    wide = (width - 60) / max(1, len({at for _, at, _ in grid})) + 0.5
    scale = (width - 66) / (span[1] - span[0])
    cells = "".join(
        f"<rect x={52 + (at - span[0]) * scale:.1f} y={height - 8 - (row + 1) * tall:.1f}"
        f" width={wide:.1f} height={tall:.1f}"
        f" fill=#ff780a fill-opacity={math.sqrt(value / most):.2f} />"
        for row, at, value in grid
        if value > 0
    )
    marks = "".join(
        f"<text x=46 y={height - 8 - row * tall:.0f} text-anchor=end>"
        f"{escape(series['metric']['le'])}</text>"
        for row, series in enumerate(buckets)
        if row % max(1, len(buckets) // 6) == 0
    )
    return f"<svg width={width} height={height}>{cells}{marks}</svg>"


def format_value(value: float, unit: str, decimals: int | None = None) -> str:
    """Return a value as Grafana would write it in this unit, about."""
    if math.isinf(value) or math.isnan(value):
        return "∞" if value > 0 else "-"
    if unit == "s":
        if abs(value) < 1:
            return f"{value * 1000:.3g} ms" if value else "0 s"
        size, name = next((each for each in _TIMES if abs(value) >= each[0]), _TIMES[-1])
        return f"{value / size:.3g} {name}"
    if unit == "percentunit":
        return f"{value * 100:.3g}%"
    if unit in ("bytes", "decbytes"):
        power = min(3, int(math.log(abs(value), 1024))) if value else 0
        return f"{value / 1024**power:.3g} {('B', 'KiB', 'MiB', 'GiB')[power]}"
    if abs(value) >= 10_000:
        text = f"{value / 1000:.3g} K"
    else:
        text = f"{value:.4g}" if decimals is None else f"{value:.{decimals}f}"
    return text + {"ops": "/s", "reqps": "/s", "cps": "/s"}.get(unit, "")


def _shown(value: float, settings: dict[str, Any]) -> tuple[str, str]:
    """Return a value's text and colour, by its mappings and thresholds."""
    for mapping in settings.get("mappings") or ():
        named = mapping.get("options", {}).get(f"{value:g}")
        if named:
            return named["text"], _colour(named.get("color", "text"))
    colour = "transparent"
    for step in settings.get("thresholds", {}).get("steps", ()):
        if step.get("value") is None or value >= step["value"]:
            colour = _colour(step["color"])
    return format_value(value, settings.get("unit", ""), settings.get("decimals")), colour


def _cell(panel: dict[str, Any], name: str, value: str | float | None) -> str:
    if value is None or isinstance(value, str):
        return f"<td>{escape(value or '-')}</td>"
    override = next(
        (each for each in panel["fieldConfig"]["overrides"] if each["matcher"]["options"] == name),
        None,
    )
    settings = {each["id"]: each["value"] for each in override["properties"]} if override else {}
    text, colour = _shown(value, settings)
    return f"<td style='background:{colour}'>{escape(text)}</td>"


def _name(target: dict[str, Any], labels: dict[str, str]) -> str:
    legend = target.get("legendFormat", "")
    if legend in ("", "__auto"):
        return ", ".join(f"{key}={value}" for key, value in labels.items()) or "value"
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels.get(found[1], ""), legend)


def _points(values: Sequence[tuple[float, str]]) -> list[tuple[float, float]]:
    return [(at, float(value)) for at, value in values if math.isfinite(float(value))]


def _polyline(
    points: Sequence[tuple[float, float]],
    span: Span,
    width: int,
    tall: int,
    scale: _Scale,
    colour: str,
) -> str:
    wide = width / (span[1] - span[0])
    path = " ".join(
        f"{(at - span[0]) * wide:.1f},{(tall - 4) * (1 - scale.part(value)):.1f}"
        for at, value in points
    )
    return f"<polyline points='{path}' fill=none stroke='{colour}' stroke-width=1.5 />"


def _fixed(panel: dict[str, Any], name: str) -> str | None:
    for override in panel["fieldConfig"].get("overrides") or ():
        if override["matcher"]["options"] == name:
            for each in override["properties"]:
                if each["id"] == "color":
                    return _colour(each["value"]["fixedColor"])
    return None


def _colour(name: str) -> str:
    return _COLORS.get(name, name)


def _sortable(value: str | float | None) -> float:
    return value if isinstance(value, float) and not math.isnan(value) else -math.inf
