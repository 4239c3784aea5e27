"""Random arguments of every kind that serializers take; a comparison that forgives nothing."""

import math
import random
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

#: What has been lost or changed by one way or another of writing arguments down.
TEXTS = (
    "",
    "C:\\new\\table",
    'it\'s "quoted"',
    "'",
    '"',
    "\\",
    "\\'",
    "line\nbreak\ttab\r\0\x1b[31m",
    "é ü ß 漢字 🎉 \u202e \u2028",
    "...",
    "(1, 2)",
    "[1,]",
    "None",
    "NaN",
    "1e5",
    "2024-01-01",
    "yes",
    "{'__type__': 'bytes'}",
    "chord",
    "group_id",
    " leading and trailing ",
    "a" * 1200,
)
NUMBERS = (
    0,
    -1,
    2**53 + 1,
    -(2**63),
    2**64,
    10**40,
    0.1,
    -0.0,
    1e22,
    5e-324,
    1.7976931348623157e308,
)
SERIALIZERS = ("json", "yaml", "pickle", "msgpack")


def arguments(rng: random.Random, serializer: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return positional and keyword arguments that ``serializer`` takes."""
    args = tuple(value(rng, serializer, 0) for _ in range(rng.randrange(4)))
    names = rng.sample(["a", "naïve", "self_", "x-y", "with space", "kwargs"], rng.randrange(3))
    return args, {name: value(rng, serializer, 0) for name in names}


def value(rng: random.Random, serializer: str, depth: int) -> Any:
    """Return one value, nested up to five deep."""
    kinds: list[Callable[[], Any]] = [
        lambda: rng.choice(TEXTS),
        lambda: "".join(chr(rng.randrange(1, 0xD7FF)) for _ in range(rng.randrange(8))),
        lambda: rng.choice(NUMBERS if serializer != "msgpack" else NUMBERS[:4] + NUMBERS[6:]),
        lambda: rng.choice((True, False, None)),
        lambda: rng.random() * 10 ** rng.randrange(-9, 9),
    ]
    kinds += _SPECIAL[serializer](rng)
    if depth < 5:
        kinds += [
            lambda: [value(rng, serializer, depth + 1) for _ in range(rng.randrange(4))],
            lambda: {
                rng.choice(TEXTS[:-1]): value(rng, serializer, depth + 1)
                for _ in range(rng.randrange(3))
            },
        ] * 2
        if serializer in ("json", "pickle"):
            # In JSON a tuple arrives as a list, as it did the first time.
            kinds.append(lambda: tuple(value(rng, serializer, 5) for _ in range(rng.randrange(3))))
    return rng.choice(kinds)()


def _moment(rng: random.Random) -> datetime:
    moment = datetime(2024, 2, 29, 23, 59, 59) + timedelta(microseconds=rng.randrange(10**15))
    zones = (None, UTC, timezone(timedelta(hours=5, minutes=45)))
    return moment.replace(tzinfo=rng.choice(zones))


def _of_json(rng: random.Random) -> list[Callable[[], Any]]:
    return [
        lambda: rng.randbytes(rng.randrange(9)),
        lambda: _moment(rng),
        lambda: date(2024, 2, 29),
        lambda: time(1, 2, 3, 4),
        lambda: Decimal("1.10"),
        lambda: uuid.UUID(int=rng.getrandbits(128)),
        lambda: rng.choice((math.inf, -math.inf, math.nan)),
        lambda: "\ud800",
    ]


def _of_yaml(rng: random.Random) -> list[Callable[[], Any]]:
    return [
        lambda: rng.randbytes(rng.randrange(9)),
        lambda: _moment(rng).replace(tzinfo=None),
        lambda: date(2024, 2, 29),
        lambda: {1, 2, 3},
        lambda: {1: "a number as a key"},
    ]


def _of_pickle(rng: random.Random) -> list[Callable[[], Any]]:
    return [
        *_of_json(rng),
        lambda: {1, "two", 3.0},
        lambda: frozenset((1, 2)),
        lambda: {1: "a number as a key", None: 2},
        lambda: bytearray(b"\x00\xff"),
        lambda: timedelta(seconds=rng.random()),
        lambda: complex(1, -0.0),
        lambda: range(3),
    ]


def _of_msgpack(rng: random.Random) -> list[Callable[[], Any]]:
    return [lambda: rng.randbytes(rng.randrange(9))]


_SPECIAL = {"json": _of_json, "yaml": _of_yaml, "pickle": _of_pickle, "msgpack": _of_msgpack}


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same in type and content, all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(map(repr, one)) == list(map(repr, other)) and all(
            same(one[key], other[key]) for key in one
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        if math.isnan(one):
            return math.isnan(other)
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    if isinstance(one, datetime):
        return one == other and one.utcoffset() == other.utcoffset()
    return bool(one == other)
