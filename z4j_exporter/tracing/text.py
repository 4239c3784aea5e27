"""Makes text from the wire fit for a span: short, valid UTF-8, no control characters."""

import re

#: Characters of a name or an id in a span. Ids have at most 512 (events/model.py).
MAX_TEXT = 512

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_CONTROL_BUT_LINES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def clean(text: str, limit: int = MAX_TEXT) -> str:
    """Return a line of at most ``limit`` characters, without control characters."""
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    return text if text.isprintable() else _CONTROL.sub("\ufffd", text)


def clean_lines(text: str) -> str:
    """Return a text of several lines without control characters."""
    return text if text.isprintable() else _CONTROL_BUT_LINES.sub("\ufffd", text)
