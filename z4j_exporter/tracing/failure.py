"""Says what an attempt failed of: the exception event and the status message of its span.

All text is what the task raised: it goes through redaction before it is put anywhere.
"""

import re
from ast import literal_eval

from z4j_exporter.capture.redaction import redact_text
from z4j_exporter.tracing.model import SpanEvent, Value
from z4j_exporter.tracing.text import clean, clean_lines
from z4j_exporter.track.attempts import MAX_TRACEBACK, Notes
from z4j_exporter.track.exceptions import UNKNOWN_EXCEPTION

#: error.type where no class can be told, by OpenTelemetry's conventions.
OTHER_ERROR = "_OTHER"
#: Characters of a status message: a line in a list of spans.
_MAX_STATUS = 256

#: ``pkg.ValueError('x')``: what a repr mostly looks like.
_CALL = re.compile(r"[\w.]{1,400}\((.*)\)\Z", re.DOTALL)
#: One string and nothing else; the comma is how Python 2 and some classes write a single argument.
_STRING = re.compile(r"(?:'(?:[^'\\]|\\.)*+'|\"(?:[^\"\\]|\\.)*+\"),?\Z", re.DOTALL)
#: A traceback's last line: ``pkg.Error: message``.
_LAST_LINE = re.compile(r"([\w.]{1,400}): (.*)\Z", re.DOTALL)


def error_type(detail: str) -> str:
    """Return error.type for the exception class that a transition tells."""
    return clean(detail) if detail not in ("", UNKNOWN_EXCEPTION) else OTHER_ERROR


def exception_event(notes: Notes, time_ns: int) -> tuple[SpanEvent, str] | None:
    """Return the ``exception`` event and a line for the status; None when no exception was told.

    Semantic conventions, "Exceptions on spans": exception.type, .message, .stacktrace.
    """
    if notes.exception is None:
        return None
    name = error_type(notes.detail)
    text = clean_lines(redact_text(_message(notes.exception, notes.traceback)))
    attributes: list[tuple[str, Value]] = [("exception.type", name), ("exception.message", text)]
    if notes.traceback:
        stack = clean_lines(redact_text(_whole_lines(notes.traceback)))
        attributes.append(("exception.stacktrace", stack))
    first = text.partition("\n")[0]
    status = clean(f"{name}: {first}" if first else name, _MAX_STATUS)
    return SpanEvent("exception", time_ns, tuple(attributes)), status


def _message(representation: str, traceback: str | None) -> str:
    """Return the message out of an exception's repr, or of its traceback's last line.

    The latter where the repr is a wrapper's and says nothing: ``ExceptionWithTraceback()``.
    """
    match = _CALL.match(representation)
    if match is None:
        return representation
    inside = match[1].strip()
    if not inside and traceback:
        last = _LAST_LINE.match(traceback.rstrip().rpartition("\n")[2])
        return _said(*last.groups()) if last else ""
    if _STRING.match(inside):
        try:
            return str(literal_eval(inside.rstrip(",")))
        except (ValueError, SyntaxError):
            return inside
    return inside


def _said(name: str, message: str) -> str:
    """Return what an exception says beside its class: billiard's say ``TimeLimitExceeded(1,)``."""
    call = f"{name.rpartition('.')[2]}("
    if message.startswith(call) and message.endswith(")"):
        return message[len(call) : -1].rstrip(",")
    return message


def _whole_lines(traceback: str) -> str:
    """Return a traceback without the rest of a line at its cut: it may be half of a secret."""
    return traceback.partition("\n")[2] if len(traceback) >= MAX_TRACEBACK else traceback
