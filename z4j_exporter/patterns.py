"""Compiles the regular expressions of options."""

import re

from z4j_exporter.errors import ConfigError

#: Characters of a user's pattern that a message repeats.
_SHOWN = 80


def compile_pattern(pattern: str, option: str) -> re.Pattern[str]:
    """Compile a user's regular expression; it is to match the whole value, as in Prometheus.

    Raises ConfigError that names the option.
    """
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError(
            f"{option}: {pattern[:_SHOWN]!r} is not a regular expression: {error}",
            hint="Python's syntax; the pattern must match the whole value.",
        ) from None
