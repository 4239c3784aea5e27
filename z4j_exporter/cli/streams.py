"""Standard output and error as they are: a terminal, a pipe that closes, a disk that is full."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from z4j_exporter.errors import FileError


def wants_colour(
    asked: bool | None, stream: TextIO, environment: Mapping[str, str] = os.environ
) -> bool:
    """Return whether to write colours: as asked, else on a terminal without NO_COLOR."""
    if asked is not None:
        return asked
    # https://no-color.org: present and not an empty string, whatever its value.
    if environment.get("NO_COLOR") or environment.get("TERM") == "dumb":
        return False
    return stream.isatty()


def lenient_output() -> TextIO:
    """Return standard output, writing escapes for what its encoding cannot say."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
    return sys.stdout


@contextmanager
def quiet_pipe() -> Iterator[None]:
    """Let the reader of standard output go away (``| head``): that ends the body, quietly.

    Raises FileError when standard output cannot be written for another reason.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
    except OSError as error:
        _discard_output()
        reason = error.strerror or str(error)
        raise FileError(f"standard output cannot be written: {reason}") from None


def _discard_output() -> None:
    """Point standard output at nothing: the interpreter flushes it once more when it ends."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)
