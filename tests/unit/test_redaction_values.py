"""Arguments, keyword arguments and headers are copied without their secrets."""

import collections
import dataclasses
import datetime
import enum
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from z4j_exporter.capture.redaction import MARKER, Bounds, Redactor, redact_text, redact_value

CORPUS = Path(__file__).parents[1] / "fixtures" / "secrets"
SECRET = "hunter2-planted"

SECRET_KEYS = (CORPUS / "keys_of_secrets.txt").read_text(encoding="utf-8").split()
OTHER_KEYS = (CORPUS / "other_keys.txt").read_text(encoding="utf-8").split()


@pytest.mark.parametrize("key", SECRET_KEYS)
def test_a_key_of_a_secret(key: str) -> None:
    assert redact_value({key: SECRET}) == ({key: MARKER}, True)
    assert redact_value({key.encode(): SECRET.encode()}) == (
        {key.encode(): MARKER.encode()},
        True,
    )
    assert redact_value({key: ["a", {"b": SECRET}]}) == ({key: MARKER}, True)
    assert redact_text(f"{key}={SECRET}") == f"{key}={MARKER}"
    assert redact_text(repr({key: SECRET})) == repr({key: MARKER})


@pytest.mark.parametrize("key", OTHER_KEYS)
def test_a_key_of_no_secret(key: str) -> None:
    assert redact_value({key: "plain"}) == ({key: "plain"}, False)
    assert redact_text(f"{key}=plain") == f"{key}=plain"


@pytest.mark.parametrize("value", [None, True, False, "", b"", [], {}, ()])
def test_nothing_is_no_secret(value: object) -> None:
    assert redact_value({"password": value}) == ({"password": value}, False)


def test_a_measure_is_no_secret() -> None:
    value = {"token_count": 12, "max_tokens": 4096, "session_timeout": 30.0}
    assert redact_value(value) == (value, False)
    assert redact_value({"pin": 1234, "token_count": "x"})[0] == {
        "pin": MARKER,
        "token_count": MARKER,
    }


@pytest.mark.parametrize(
    ("value", "copy"),
    [
        (("password", SECRET), ("password", MARKER)),
        ([["host", "a"], ["x-api-key", SECRET]], [["host", "a"], ["x-api-key", MARKER]]),
        ([(b"cookie", b"a=b")], [(b"cookie", MARKER.encode())]),
        (["db", "--password", SECRET, "-h"], ["db", "--password", MARKER, "-h"]),
        ({"name": "Cookie", "value": SECRET}, {"name": "Cookie", "value": MARKER}),
        ({"a": [f"password={SECRET}"]}, {"a": [f"password={MARKER}"]}),
        ({"ann@example.com": 1, "bob@example.com": 2}, {MARKER: 1, f"{MARKER} (2)": 2}),
        (4111111111111111, MARKER),
        ({1: "Bearer abc123def"}, {1: f"Bearer {MARKER}"}),
        ({"Bearer abc123"}, {f"Bearer {MARKER}"}),
        (frozenset(["Bearer abc123"]), frozenset([f"Bearer {MARKER}"])),
        (collections.deque(["Bearer abc123"]), [f"Bearer {MARKER}"]),
        (bytearray(b"token=abcdef"), b"token=" + MARKER.encode()),
        (memoryview(b"token=abcdef"), b"token=" + MARKER.encode()),
    ],
)
def test_secrets_in_values(value: object, copy: object) -> None:
    assert redact_value(value) == (copy, True)


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**11), 10**11)
    | st.floats(allow_nan=False)
    | st.text(alphabet="abc xyzäß", max_size=20)
    | st.binary(max_size=4)
    | st.uuids()
    | st.datetimes(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.sampled_from(["a", "b", "name", "id"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(PLAIN)
def test_plain_data_is_copied_as_it_is(value: object) -> None:
    assert redact_value(value) == (value, False)


@given(PLAIN, st.sampled_from(SECRET_KEYS))
def test_a_secret_goes_wherever_it_is(value: object, key: str) -> None:
    copy, differs = redact_value([value, {"deep": ({key: SECRET}, value)}])
    assert differs
    assert SECRET not in repr(copy)


def test_the_copy_shares_no_container_and_the_original_stays() -> None:
    inner = ["a"]
    value = {"password": SECRET, "inner": inner}
    copy, _ = redact_value(value)
    assert value == {"password": SECRET, "inner": ["a"]}
    assert isinstance(copy, dict)
    assert copy["inner"] is not inner


def test_cycles_and_shared_parts() -> None:
    shared = ["a"]
    assert redact_value([shared, shared]) == ([["a"], ["a"]], False)
    cyclic: list[Any] = ["a"]
    cyclic.append(cyclic)
    assert redact_value(cyclic) == (["a", "<cycle>"], True)
    loop: dict[str, Any] = {}
    loop["loop"] = {"again": loop}
    assert redact_value(loop) == ({"loop": {"again": "<cycle>"}}, True)


def test_the_bounds() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    copy, differs = redact_value(deep)
    assert differs
    assert "<too deep>" in repr(copy)
    assert redact_value([1, 2, 3], Bounds(items=2)) == ([1, 2, "<cut>"], True)
    assert redact_value({"a": 1, "b": 2}, Bounds(items=1)) == ({"a": 1, "<cut>": "<cut>"}, True)
    assert redact_value(["abc", "def"], Bounds(characters=4)) == (["abc", "d"], True)
    assert redact_value(b"x" * 1_000_000, Bounds(characters=10)) == (b"<cut>", True)
    wide = [["x" * 100] * 1000] * 1000
    assert len(json.dumps(redact_value(wide)[0])) < 200_000
    assert redact_value(10**30_000)[1] is False


class Hostile:
    """Whatever is asked of it fails."""

    def __repr__(self) -> str:
        raise ZeroDivisionError

    __str__ = __hash__ = __eq__ = __len__ = __iter__ = __bool__ = __repr__  # type: ignore[assignment]


class HostileDict(dict):  # type: ignore[type-arg]
    def items(self) -> Any:
        raise ZeroDivisionError

    __getitem__ = __iter__ = __len__ = get = keys = items  # type: ignore[assignment]


class HostileText(str):
    def __str__(self) -> str:
        raise ZeroDivisionError

    __len__ = __getitem__ = lower = encode = __str__  # type: ignore[assignment]

    def __hash__(self) -> int:
        return 7


class HostileInt(int):
    def __int__(self) -> int:
        raise ZeroDivisionError

    __str__ = __repr__ = __index__ = __add__ = __int__  # type: ignore[assignment]


class Meta(type):
    def __getattribute__(cls, name: str) -> Any:
        raise ZeroDivisionError


class WithMeta(metaclass=Meta):
    pass


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Login:
    user: str
    password: str


def test_no_code_of_a_users_is_run() -> None:
    value = [Hostile(), HostileDict(a=Hostile()), HostileText(SECRET), HostileInt(7), WithMeta()]
    name = f"{__name__}.Hostile"
    copy, differs = redact_value(value)
    assert copy == [f"<{name}>", {"a": f"<{name}>"}, SECRET, 7, f"<{__name__}.WithMeta>"]
    assert differs
    assert redact_value({"password": Hostile()}) == ({"password": MARKER}, True)
    assert redact_value(HostileDict({HostileText("password"): SECRET})) == (
        {"password": MARKER},
        True,
    )


def test_objects_become_their_class_or_their_repr() -> None:
    login = Login("ann", SECRET)
    assert redact_value(login) == (f"<{__name__}.Login>", True)
    assert redact_value(login, objects_by_repr=True) == (
        f"Login(user='ann', password='{MARKER}')",
        True,
    )
    assert redact_value([Hostile()], objects_by_repr=True) == ([f"<{__name__}.Hostile>"], True)
    assert redact_value(Colour.RED) == (f"<{__name__}.Colour>", True)
    assert redact_value({Colour.RED: 1}) == ({f"<{__name__}.Colour>": 1}, True)


def test_plain_objects_of_the_standard_library_stay() -> None:
    value = [uuid.uuid4(), datetime.datetime(2026, 1, 1), datetime.timedelta(1), 1.5, 2j, ...]
    assert redact_value(value) == (value, False)


def test_a_dictionary_that_changes_meanwhile_is_no_error() -> None:
    class Growing(dict):  # type: ignore[type-arg]
        pass

    value: Any = Growing(a=1, b=2)

    class Sprout(Hostile):
        def __repr__(self) -> str:
            value["c"] = 3
            return "sprout"

    value["a"] = Sprout()
    assert redact_value(value, objects_by_repr=True) == (MARKER, True)


def test_own_keys_and_patterns_hold_for_values() -> None:
    redactor = Redactor(["iban"], [r"CUST-[0-9]{4}"])
    value = {"myIban": SECRET, "note": "for CUST-1234", "CUST-9876": 1}
    assert redactor.redact_value(value) == (
        {"myIban": MARKER, "note": f"for {MARKER}", MARKER: 1},
        True,
    )
