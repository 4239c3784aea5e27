"""Finds the exception's class in what an event says of it: never its message."""

import re

#: Label value when no class can be told.
UNKNOWN_EXCEPTION = "Unknown"

_NAME = r"[^\W\d]\w{0,199}(?:\.[^\W\d]\w{0,199}){0,15}"
#: ``ValueError('x')``, ``pkg.mod.Error(1)``: what the repr of nearly every exception looks like.
_CALL = re.compile(rf"({_NAME})\(")
#: ``<pkg.Error: text>``, ``<pkg.Error object at 0x1>``, ``<class 'pkg.Error'>``.
_ANGLE = re.compile(rf"<(?:class ')?({_NAME})[\s:'>]")
#: A repr that is nothing but a class: begins with a capital, as classes do and messages may not.
_BARE = re.compile(r"((?:\w+\.)*[A-Z]\w{0,199})\Z")
#: A traceback's last line: ``pkg.Error: message`` or just ``pkg.Error``.
_TRACEBACK_END = re.compile(rf"({_NAME})(?::\s|:?\Z)")

#: billiard's and Celery's wrappers: they say nothing of the exception inside.
_WRAPPERS = frozenset(
    {"ExceptionWithTraceback", "ExceptionInfo", "RemoteTraceback", "UnpickleableExceptionWrapper"}
)
#: Characters of a repr, and of a traceback's end, that are looked at.
_REPR_LENGTH = 512
_TRACEBACK_LENGTH = 8192


def exception_class(representation: str | None, traceback: str | None = None) -> str:
    """Return the class name, without its module, of the exception that an event reports.

    ``representation`` is the event's ``exception`` (a repr); ``traceback``, its ``traceback``,
    decides where the repr is not of the usual form (``Reject``, classes with a repr of their own)
    or names billiard's wrapper only (a killed pool child, a hard time limit). The repr goes first,
    since a message of several lines may end the traceback.
    """
    text = (representation or "")[:_REPR_LENGTH]
    match = _CALL.match(text)
    if match:
        name = _last(match[1])
        if name not in _WRAPPERS:
            return name
    if traceback:
        name = _from_traceback(traceback)
        if name:
            return name
    match = _ANGLE.match(text) or _BARE.match(text)
    if match and _last(match[1]) not in _WRAPPERS:
        return _last(match[1])
    return UNKNOWN_EXCEPTION


def _from_traceback(traceback: str) -> str:
    """Return the class on the last line, if that looks like the end of a traceback."""
    for line in reversed(traceback[-_TRACEBACK_LENGTH:].splitlines()):
        if not line.strip():
            continue
        match = _TRACEBACK_END.match(line[:_REPR_LENGTH])
        if match and _last(match[1]) not in _WRAPPERS:
            return _last(match[1])
        return ""
    return ""


def _last(dotted: str) -> str:
    return dotted.rpartition(".")[2]
