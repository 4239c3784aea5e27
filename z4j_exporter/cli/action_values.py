"""Reads what the ``action`` commands are given: ids, JSON, times; click callbacks."""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from z4j_exporter.actions.api_json import parse
from z4j_exporter.actions.model import ActionError
from z4j_exporter.errors import FileError

Callback = Callable[[click.Context, click.Parameter, str | None], Any]

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION: Final = re.compile(r"([1-9][0-9]{0,5})([smhdw])")
_MOST_NAME: Final = 255
#: Characters of a file with arguments; the API takes 64 KiB for all of a request.
_MOST_CHARACTERS: Final = 64 * 1024


def name_of(value: str) -> str:
    """Return an id or a name that can stand in a path; raises click.BadParameter."""
    if not 0 < len(value) <= _MOST_NAME or value in (".", ".."):
        raise click.BadParameter(f"write 1 to {_MOST_NAME} characters.")
    if any(c < " " or c in "/\x7f" or "\ud800" <= c <= "\udfff" for c in value):
        raise click.BadParameter("control characters and slashes are in no id or name.")
    return value


def a_name(_: click.Context, __: click.Parameter, value: str) -> str:
    """Check an argument; see ``name_of``."""
    return name_of(value)


def json_option(kind: type[list[Any]] | type[dict[str, Any]]) -> Callback:
    """Return a callback that reads JSON of that kind, from the option itself or ``@FILE``."""

    def read(_: click.Context, __: click.Parameter, value: str | None) -> Any:
        if value is None:
            return None
        text = _file_text(Path(value[1:])) if value.startswith("@") else value
        try:
            found = parse(text.encode("utf-8", "surrogatepass"))
        except ActionError as error:
            raise click.BadParameter(f"no JSON: {error.detail.partition(': ')[2]}") from None
        if not isinstance(found, kind):
            form = "an array: [1, 2]" if kind is list else 'an object: {"key": 1}'
            raise click.BadParameter(f"write {form}")
        return found

    return read


def _file_text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_MOST_CHARACTERS + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise FileError(f"{path} cannot be read: {reason}") from None
    if len(text) > _MOST_CHARACTERS:
        raise FileError(f"{path} has more than {_MOST_CHARACTERS} characters")
    return text


def a_past_time(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Read a time with its zone, or how long ago; return it as the API takes it."""
    return _time(value, -1, "2h (ago)")


def a_coming_time(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Read a time with its zone, or how long from now; return it as the API takes it."""
    return _time(value, 1, "10m (from now)")


def _time(value: str | None, direction: int, example: str) -> str | None:
    if value is None:
        return None
    try:
        if match := _DURATION.fullmatch(value):
            distance = timedelta(**{_UNITS[match[2]]: int(match[1])})
            return (datetime.fromtimestamp(time.time(), UTC) + direction * distance).isoformat()
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        pass
    raise click.BadParameter(
        f"write {example}, or a time with its zone, such as 2027-01-31T00:00:00Z."
    )
