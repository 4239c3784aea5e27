"""Bodies that nobody should send: thousands of kinds of them, the same for the same seed."""

import base64
import json
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

NOW = 1_700_000_000.0


class Hostile(NamedTuple):
    """A message as it is published, and how many events or refusals it must be counted as."""

    payload: bytes
    count: int = 1


def task(kind: str, uuid: str, **fields: Any) -> dict[str, Any]:
    base = {"type": f"task-{kind}", "uuid": uuid, "hostname": "w@h", "timestamp": NOW}
    return {**base, **fields}


def wrapped(body: bytes | str | Any, **changes: Any) -> bytes:
    """kombu's envelope around a body."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    made = {
        "body": base64.b64encode(raw).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {},
        "properties": {"body_encoding": "base64"},
    }
    return json.dumps({**made, **changes}).encode()


def counted(raw: bytes) -> int:
    """How many events and refusals a JSON body makes: one, or one for each item of a list."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return 1
    return max(1, len(value)) if isinstance(value, list) else 1


REAL = [
    task("sent", "real-1", name="shop.order", queue="shop", retries=0),
    task("failed", "real-1", exception="ValueError('ü')", traceback="Traceback\nValueError: ü"),
    {"type": "worker-heartbeat", "hostname": "w@h", "timestamp": NOW, "processed": 3, "active": 1},
]


def damaged(random_: random.Random, number: int) -> Iterator[Hostile]:
    """Real messages, truncated and with bytes changed."""
    body = json.dumps(REAL).encode()
    whole = wrapped(body)
    # What is not UTF-8 or a bad escape counts only in a field that is read: other_bytes() has it.
    letters = [byte for byte in range(32, 127) if byte != ord("\\")]
    for n in range(number):
        raw = bytearray(body)
        for _ in range(random_.randrange(1, 4)):
            at = random_.randrange(len(raw))
            raw[at : at + random_.randrange(3)] = bytes(random_.choices(letters, k=2))
        if n % 3 == 0:
            yield Hostile(whole[: random_.randrange(len(whole))])
        elif n % 3 == 1:
            cut = bytes(raw[: random_.randrange(len(raw))])
            yield Hostile(wrapped(cut), counted(cut))
        else:
            yield Hostile(wrapped(bytes(raw)), counted(bytes(raw)))


def other_bytes(random_: random.Random, number: int) -> Iterator[Hostile]:
    """Bytes that are not UTF-8, control characters and bad escapes, in strings that are read."""
    odd = [b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\x00", b"\n", b"\\q", b"\\u12", b"\xf0\x9f"]
    for _ in range(number):
        event = dict(random_.choice(REAL), hostname="@@")
        yield Hostile(wrapped(json.dumps(event).encode().replace(b"@@", random_.choice(odd))))


def wrong_types(random_: random.Random, number: int) -> Iterator[Hostile]:
    """Each field with a value of each wrong kind."""
    odd = [
        None,
        True,
        -1,
        1.5,
        10**30,
        "",
        "x",
        [],
        [1],
        {},
        {"a": 1},
        "x" * 3000,
        "\x00",
        "\ud800",
    ]
    fields = [name for event in REAL for name in event]
    fields += ["retries", "runtime", "eta", "loadavg", "freq", "pid", "root_id", "terminated"]
    for _ in range(number):
        event = dict(random_.choice(REAL))
        for _ in range(random_.randrange(1, 4)):
            event[random_.choice(fields)] = random_.choice(odd)
        yield Hostile(wrapped(event))


def extremes(random_: random.Random, number: int) -> Iterator[Hostile]:
    """NaN, infinities, huge numbers; times long ago, far ahead and negative."""
    literals = ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "9" * 400, "9" * 5000, "-0.0"]
    literals += ["-1", "0", "253402300799", "253402300801", "1e18", "1e308", "true", "null"]
    for n in range(number):
        event = dict(REAL[n % 3], uuid=f"extreme-{n}")
        name = random_.choice(["timestamp", "runtime", "retries", "processed", "active", "freq"])
        text = json.dumps({**event, name: "@"}).replace('"@"', random_.choice(literals))
        yield Hostile(wrapped(text.encode()))


def deep_and_huge(random_: random.Random, number: int) -> Iterator[Hostile]:
    """Nesting without end, and messages of megabytes."""
    for n in range(number):
        depth = random_.randrange(100, 50_000)
        piece = random_.choice([b"[", b'{"a":', b'[{"type":'])
        yield Hostile(wrapped(piece * depth))
        if n % 20 == 0:
            yield Hostile(wrapped({**REAL[0], "args": "x" * 5_000_000}))
            yield Hostile(wrapped([0] * 10_001))
            yield Hostile(b"[" * 1_000_000)


def other_serializers(random_: random.Random, number: int) -> Iterator[Hostile]:
    """Content types and encodings of every kind, on bodies that are not of them."""
    kinds = ["application/x-python-serialize", "application/x-msgpack", "application/x-yaml"]
    kinds += [
        "text/plain",
        "",
        "application/json; a=b",
        "x" * 1000,
        "\n",
        "application/x-oversized",
    ]
    encodings = ["utf-8", "binary", "utf-16", "idna", "punycode", "hex", "zip", ""]
    for n in range(number):
        encoding = random_.choice([*encodings, f"made-up-{n}"])
        body = random_.choice(
            [random_.randbytes(200), b"\xdd\xff\xff\xff\xff", b"[" * 300, b"&a [*a]", b"{}"]
        )
        changes = {"content-type": random_.choice(kinds), "content-encoding": encoding}
        yield Hostile(wrapped(body, **changes))


def no_envelopes(random_: random.Random, number: int) -> Iterator[Hostile]:
    """Payloads that kombu never wrote."""
    odd = [b"", b"{}", b"[]", b"null", b"1", b'"', b'{"body": 1}', b'{"body": "@@"}', b"\xff\xff"]
    for n in range(number):
        yield Hostile(odd[n % len(odd)] if n % 2 else random_.randbytes(random_.randrange(300)))


def label_bombs(random_: random.Random, number: int) -> Iterator[Hostile]:
    """Distinct names of tasks, queues, workers and exceptions, written to break a text format."""
    spice = [
        '"',
        "\\",
        "\n",
        "\r",
        "\t",
        "\x00",
        "\x1b[31m",
        "{",
        "}",
        "=",
        ",",
        " ",
        "\u2028",
        "é",
    ]
    for n in range(number):
        odd = "".join(random_.choices(spice, k=4)) + str(n)
        uuid = f"bomb-{n}"
        long = "L" * (100_000 if n % 100 == 0 else 1000 if n % 10 == 0 else 5)
        yield Hostile(
            wrapped(task("sent", uuid, name=f"task{odd}{long}", queue=f"q{odd}", retries=0))
        )
        host = f"worker{odd}@{odd}"
        yield Hostile(
            wrapped(
                [
                    task("received", uuid, name=f"task{odd}", hostname=host),
                    task("started", uuid, hostname=host),
                    task(
                        random_.choice(["failed", "retried"]),
                        uuid,
                        hostname=host,
                        exception=f"Error{n}{odd}('{odd}')",
                        traceback=f"Traceback\npkg.Error{n}: {odd}",
                    ),
                ]
            ),
            3,
        )
        beat = {"type": "worker-heartbeat", "timestamp": NOW, "hostname": host, "processed": n}
        yield Hostile(wrapped({**beat, "sw_ident": odd, "sw_ver": odd, "loadavg": [n] * 50}))
        yield Hostile(wrapped({"type": f"custom{odd}{n}", "timestamp": NOW, "hostname": host}))


def odd_notes(random_: random.Random, number: int) -> Iterator[Hostile]:
    """Notes of a capture hook that no hook writes: other versions, wrong fields, no contents."""
    kinds = ["z4j-envelope", "z4j-run", "z4j-end", "z4j-report"]
    contents: list[Any] = [None, 1, "x", [], {}, {"v": 2}, {"v": "1"}, {"v": 1, "uuid": 5}]
    contents += [{"v": 1, "uuid": "u" * 10_000}, {"v": 1, "uuid": "u", "name": ["x"]}]
    for n in range(number):
        content = random_.choice(contents)
        note = {"type": kinds[n % 4], "hostname": "gen1@h", "timestamp": NOW, "pid": 1}
        yield Hostile(wrapped(note if content is None else {**note, "z4j": content}))


def all_kinds(seed: int, *, bombs: int) -> Iterator[Hostile]:
    """More than 10 000 messages of every kind, and four for each label bomb."""
    random_ = random.Random(seed)
    yield from damaged(random_, 3000)
    yield from other_bytes(random_, 500)
    yield from wrong_types(random_, 3000)
    yield from extremes(random_, 2000)
    yield from no_envelopes(random_, 1000)
    yield from other_serializers(random_, 1500)
    yield from deep_and_huge(random_, 100)
    yield from odd_notes(random_, 200)
    yield from label_bombs(random_, bombs)
