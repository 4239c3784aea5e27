"""Compiles the regular expressions, and the rules PATTERN=REPLACEMENT, of options."""

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


def compile_rewrite(
    rule: str, option: str, *, into: str = "replacement", example: str, empty: bool = True
) -> tuple[re.Pattern[str], str]:
    """Return pattern and replacement of a rule PATTERN=REPLACEMENT.

    ``into`` is what the option calls the replacement, ``empty`` whether it may be empty. Raises
    ConfigError that names the option.
    """
    pattern, separator, replacement = rule.rpartition("=")
    if not separator or not pattern or not (replacement or empty):
        raise ConfigError(
            f"{option}: {rule[:_SHOWN]!r} is not PATTERN={into.upper()}",
            hint=f"For example '{example}'.",
        )
    compiled = compile_pattern(pattern, option)
    try:
        compiled.sub(replacement, "")  # it reads the replacement, match or not
    except (re.error, IndexError) as error:
        raise ConfigError(
            f"{option}: {into} {replacement[:_SHOWN]!r}: {error}",
            hint=r"\1 stands for the first group of the pattern.",
        ) from None
    return compiled, replacement
