"""Reads JSON as it was meant, or refuses it: no value may come out other than it was sent. Pure."""

import json
import math
from typing import Any, Final, NoReturn

from z4j_exporter.actions.model import ActionError

#: Objects and arrays inside each other.
MAX_DEPTH: Final = 64


def parse(data: bytes) -> Any:
    """Return the value of a JSON text.

    Python's parser takes more than JSON: NaN, keys that come twice (the last one wins), half
    surrogate pairs; and numbers beyond a float become infinite. All of it is refused.

    Raises ActionError (400, malformed-json).
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_float=_finite,
            object_pairs_hook=_unique,
        )
        _check(value, 0)
    except _MalformedError as error:
        raise _malformed(str(error)) from None
    except UnicodeDecodeError:
        raise _malformed("it is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise _malformed(f"a mistake at character {error.pos + 1}") from None
    except ValueError:  # an integer of more digits than Python reads
        raise _malformed("a number is too long") from None
    except RecursionError:
        raise _malformed(_TOO_DEEP) from None
    return value


_TOO_DEEP: Final = f"it is nested more than {MAX_DEPTH} deep"


class _MalformedError(Exception):
    """Says why, in words of ours."""


def _malformed(why: str) -> ActionError:
    return ActionError("malformed-json", 400, f"The body is no JSON that can be taken: {why}.")


def _refuse_constant(_: str) -> NoReturn:
    raise _MalformedError("NaN and Infinity are no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _MalformedError("a number is too large")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _MalformedError("a key comes twice")
    return found


def _check(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _MalformedError(_TOO_DEEP)
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_text(key)
            _check(item, depth + 1)


def _check_text(text: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise _MalformedError("a text holds half of a surrogate pair") from None
