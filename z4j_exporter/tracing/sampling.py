"""Decides which traces are kept: a part of all, by the trace id, and what the rules name.

The part is decided as OpenTelemetry's consistent probability sampling does (randomness R, rejection
threshold T, kept when R >= T), so that every exporter and a sampler downstream decide alike:
https://opentelemetry.io/docs/specs/otel/trace/tracestate-probability-sampling/
"""

import re
from collections.abc import Iterable
from hashlib import blake2b

from msgspec import Struct

from z4j_exporter.errors import ConfigError

#: One more than the largest R: 56 bits.
_LIMIT = 1 << 56
_RANDOM_BYTES = 7
_HEX_DIGITS = 14

_SLOW = re.compile(r"slow:(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
#: Characters of a user's rule that a message repeats.
_SHOWN = 80


def is_random(trace_id: bytes) -> bool:
    """Return whether it is a UUID of version 4 and so has random low 56 bits."""
    return trace_id[6] >> 4 == 4 and trace_id[8] >> 6 == 2


def randomness(trace_id: bytes) -> int:
    """Return R: the low 56 bits of a uuid4, else of a hash.

    Not the low 64, whose top two a uuid4 fixes: by them a sampler keeps all or nothing.
    """
    if is_random(trace_id):
        return int.from_bytes(trace_id[-_RANDOM_BYTES:])
    return int.from_bytes(blake2b(trace_id, digest_size=_RANDOM_BYTES).digest())


class Ratio:
    """Keeps a part of all traces, ``ratio`` between 0 and 1."""

    def __init__(self, ratio: float) -> None:
        self._threshold = _LIMIT - round(ratio * _LIMIT)
        self._th = f"ot=th:{f'{self._threshold:014x}'.rstrip('0')}"
        #: Whether each trace is kept.
        self.keeps_all = self._threshold == 0

    def keeps(self, trace_id: bytes) -> bool:
        """Return whether this trace is kept."""
        return self.keeps_all or randomness(trace_id) >= self._threshold

    def trace_state(self, trace_id: bytes) -> str:
        """Return the tracestate of a span that is kept by its ratio; "" where each is.

        Where R is not the trace id's own, it is told (rv), so that a sampler downstream takes it.
        """
        if self.keeps_all:
            return ""
        if is_random(trace_id):
            return self._th
        return f"{self._th};rv:{randomness(trace_id):0{_HEX_DIGITS}x}"


class Keep(Struct, frozen=True):
    """What is kept whatever the ratio: attempts that failed, were lost, or ran for long."""

    failed: bool = False
    lost: bool = False
    #: Seconds; None: no rule.
    slow: float | None = None

    def matches(self, kind: str, runtime: float | None) -> bool:
        """Return whether a rule names an attempt that ended, or ran, so."""
        return (
            (kind == "failed" and self.failed)
            or (kind == "lost" and self.lost)
            or (runtime is not None and self.slow is not None and runtime > self.slow)
        )


def parse_keep(rules: Iterable[str]) -> Keep:
    """Return what ``--trace-keep`` says: failed, lost, slow:30s, separated by commas; or none.

    Raises ConfigError for anything else.
    """
    words = [word.strip() for rule in rules for word in rule.split(",")]
    if words == ["none"]:
        return Keep()
    failed = lost = False
    slow: float | None = None
    for word in words:
        match = _SLOW.fullmatch(word)
        if match:
            seconds = float(match[1]) * _SECONDS[match[2]]
            slow = seconds if slow is None else min(slow, seconds)
        elif word == "failed":
            failed = True
        elif word == "lost":
            lost = True
        else:
            raise ConfigError(
                f"--trace-keep: {word[:_SHOWN]!r} is not failed, lost, slow:DURATION or none",
                hint="For example failed,lost,slow:30s (units: ms, s, m, h); none stands alone.",
            )
    return Keep(failed, lost, slow)
