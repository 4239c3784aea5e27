"""Writes snapshots as Prometheus text or OpenMetrics.

Its own writer, since a scrape of 50 000 samples has to leave the events their processor:
prometheus_client builds an object and looks at each label again for every sample.
"""

import math
from collections.abc import Iterable

from z4j_exporter.metrics.exemplars import Exemplar
from z4j_exporter.metrics.store import FamilySnapshot, HistogramValue

TEXT_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def render(snapshots: Iterable[FamilySnapshot], *, openmetrics: bool) -> bytes:
    """Return the exposition of the families, in their order."""
    lines: list[str] = []
    for snapshot in snapshots:
        family = snapshot.family
        name = family.name
        base = name.removesuffix("_total") if family.type == "counter" and openmetrics else name
        lines.append(f"# HELP {base} {_escape_help(family.help, openmetrics=openmetrics)}\n")
        lines.append(f"# TYPE {base} {family.type}\n")
        if openmetrics and family.unit:
            lines.append(f"# UNIT {base} {family.unit}\n")
        if family.type == "histogram":
            _histograms(lines, snapshot, with_exemplars=openmetrics)
        else:
            exemplars = (openmetrics and snapshot.exemplars) or {}
            for labels, value in snapshot.samples:
                braces = f"{{{labels}}}" if labels else ""
                lines.append(f"{name}{braces} {number(value)}\n")  # type: ignore[arg-type]  # only histograms have histogram values
                if labels in exemplars:
                    lines[-1] = _with_exemplar(lines[-1], exemplars[labels])
    if openmetrics:
        lines.append("# EOF\n")
    # Label values are clean (labels.py); should one not be, a scrape must not fail for it.
    return "".join(lines).encode("utf-8", "replace")


def number(value: float) -> str:
    """Write a value: integers without a fraction, the rest so that it reads back the same."""
    if isinstance(value, int):
        return str(value)
    if math.isfinite(value):
        return repr(value)
    if math.isnan(value):
        return "NaN"
    return "+Inf" if value > 0 else "-Inf"


def _histograms(lines: list[str], snapshot: FamilySnapshot, *, with_exemplars: bool) -> None:
    name = snapshot.family.name
    ends = [f'le="{float(bound)!r}"}} ' for bound in snapshot.family.buckets]
    ends.append('le="+Inf"} ')
    for labels, value in snapshot.samples:
        if not isinstance(value, HistogramValue):
            raise TypeError(f"{name} is a histogram, its value is {value!r}")
        start = f"{name}_bucket{{{labels}," if labels else f"{name}_bucket{{"
        total = 0
        first = len(lines)
        for end, count in zip(ends, value.counts, strict=True):
            total += count
            lines.append(f"{start}{end}{total}\n")
        if with_exemplars and value.exemplars:
            for bucket, exemplar in value.exemplars.items():
                lines[first + bucket] = _with_exemplar(lines[first + bucket], exemplar)
        braces = f"{{{labels}}}" if labels else ""
        lines.append(f"{name}_sum{braces} {number(value.sum)}\n")
        lines.append(f"{name}_count{braces} {total}\n")


def _with_exemplar(line: str, exemplar: Exemplar) -> str:
    """Add an exemplar to a line; OpenMetrics allows its labels 128 characters, they take 63."""
    trace = exemplar.trace
    return (
        f'{line[:-1]} # {{trace_id="{trace.trace_id.hex()}",span_id="{trace.span_id.hex()}"}} '
        f"{number(exemplar.value)} {exemplar.timestamp:.3f}\n"
    )


def _escape_help(text: str, *, openmetrics: bool) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if openmetrics else text


def wants_openmetrics(accept: str) -> bool:
    """Return whether an Accept header asks for OpenMetrics 1.0 rather than the text format.

    Prometheus weighs both with ``q``; without a header, or where both weigh the same, the text
    format goes out, as every tool reads it.
    """
    weights = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for part in accept.split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        media = media.lower()
        if media in ("*/*", "text/*"):
            media = "text/plain"
        if media not in weights:
            continue
        given = dict(p.partition("=")[::2] for p in parameters)
        if media == "application/openmetrics-text" and given.get("version", "1.0.0").strip(
            '"'
        ) not in ("1.0.0", "0.0.1"):
            continue
        weights[media] = max(weights[media], _weight(given.get("q", "1")))
    return weights["application/openmetrics-text"] > weights["text/plain"]


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0
