"""Writes numbers, durations and moments as people read them. Pure."""

import math
from datetime import UTC, datetime

#: A blank that no line breaks at and that is narrow: between digits, and before units.
THIN = "\u202f"
#: Up to here a count is written with all its digits.
_WHOLE = 100_000
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def exact(number: int) -> str:
    """Return a whole number with its digits in groups of three."""
    return f"{number:,}".replace(",", THIN)


def count(number: int) -> str:
    """Return a whole number, large ones rounded to three digits: ``12 345``, ``1.23 M``."""
    if abs(number) < _WHOLE:
        return exact(number)
    scaled, unit = number / 1000, "k"
    for larger in ("M", "G"):
        if abs(scaled) >= 999.5:
            scaled, unit = scaled / 1000, larger
    digits = 0 if abs(scaled) >= 99.95 else 1 if abs(scaled) >= 9.995 else 2
    return f"{scaled:,.{digits}f}{THIN}{unit}".replace(",", THIN)


def decimal(number: float) -> str:
    """Return a number with the digits that matter: ``0.04``, ``1.3``, ``12``, ``1 234``."""
    size = abs(number)
    if size == 0:
        return "0"
    if size < 0.005:
        return "<0.01" if number > 0 else ">-0.01"
    digits = 2 if size < 0.995 else 1 if size < 99.95 else 0
    return f"{number:,.{digits}f}".replace(",", THIN)


def duration(seconds: float) -> str:
    """Return a duration in its largest units: ``350 ms``, ``3.2 s``, ``3 m 12 s``, ``2 d 4 h``."""
    if seconds < 0:
        return f"\u2212{duration(-seconds)}"
    if seconds == 0:
        return f"0{THIN}s"
    if seconds < 0.00995:
        return f"{seconds * 1000:.2g}{THIN}ms" if seconds >= 0.00005 else f"<0.1{THIN}ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}{THIN}ms"
    if seconds < 9.95:
        return f"{seconds:.1f}{THIN}s"
    whole = round(seconds)
    for unit, name, less, least in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "m"),
        (_MINUTE, "m", 1, "s"),
    ):
        if whole >= unit:
            rest = whole % unit // less
            return f"{exact(whole // unit)}{THIN}{name} {rest}{THIN}{least}"
    return f"{whole}{THIN}s"


def is_number(value: float | None) -> bool:
    """Whether there is a number that can be written."""
    return value is not None and math.isfinite(value)


def iso_duration(seconds: float) -> str:
    """Return a duration as HTML's datetime attribute has it; "" for one below zero."""
    return f"PT{seconds:.3f}S" if seconds >= 0 else ""


def iso(epoch_seconds: float) -> str:
    """Return a moment in UTC to the second, ISO 8601; "" for a year that datetime does not know."""
    try:
        at = datetime.fromtimestamp(epoch_seconds, UTC).replace(microsecond=0, tzinfo=None)
    except (ValueError, OverflowError, OSError):
        return ""
    return f"{at.isoformat()}Z"


def clock(epoch_seconds: float) -> str:
    """Return a moment for people: ``2026-11-20 16:17:45 UTC``; "" where there is none."""
    return iso(epoch_seconds).replace("T", " ").replace("Z", " UTC")
