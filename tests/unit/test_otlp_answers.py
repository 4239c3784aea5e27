"""What OTLP endpoints answer is read with the official messages, whatever it is."""

import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from tests.support.otlp_messages import Signal, answer
from z4j_exporter.otlp.answers import answers, error_message, retry_after, retry_info
from z4j_exporter.otlp.outcome import Accepted
from z4j_exporter.otlp.wire import any_value, sized, varint


@pytest.mark.parametrize("signal", ["traces", "metrics"])
def test_partial_success(signal: Signal) -> None:
    decode = answers(signal)
    assert decode(answer(signal)) == decode(b"") == Accepted()
    assert decode(answer(signal, 3, "too\nold")) == Accepted(3, "too?old")
    assert decode(answer(signal, 0, "deprecated")) == Accepted(0, "deprecated")
    assert decode(answer(signal, -5)) == Accepted()
    assert len(decode(answer(signal, 1, "x" * 100_000)).message) <= 300


@given(st.binary(max_size=100))
def test_a_body_that_is_no_answer(body: bytes) -> None:
    assert answers("traces")(body).rejected >= 0
    assert error_message(body).isprintable()
    assert (retry_info(body) or 0.0) >= 0


def test_error_message() -> None:
    assert error_message(status_pb2.Status(message="bad\x1b[31m data").SerializeToString()) == (
        "bad?[31m data"
    )


def test_retry_info() -> None:
    status = status_pb2.Status()
    assert retry_info(status.SerializeToString()) is None
    status.details.add().Pack(error_details_pb2.DebugInfo(detail="x"))
    status.details.add(type_url="type.googleapis.com/google.rpc.RetryInfo", value=b"\xff")
    wait = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=2, nanos=500_000_000))
    status.details.add().Pack(wait)
    assert retry_info(status.SerializeToString()) == 2.5


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3.0),
        ("0.5", 0.5),
        ("-1", 0.0),
        ("Thu, 01 Jan 1970 00:01:50 GMT", 10.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("soon", None),
        ("inf", None),
        ("nan", None),
        ("", None),
        ("Thu, 99 Jan 1970 00:00:00 GMT", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": value}, 100.0) == seconds


def test_no_retry_after() -> None:
    assert retry_after({}, 100.0) is None


@given(st.integers(0, (1 << 64) - 1))
def test_varint_is_base_128(number: int) -> None:
    encoded = varint(number)
    assert sum((byte & 0x7F) << 7 * place for place, byte in enumerate(encoded)) == number
    assert [byte >> 7 for byte in encoded] == [1] * (len(encoded) - 1) + [0]


@pytest.mark.parametrize("length", [0, 127, 128, 2047, 2048, 20_000])
def test_lengths(length: int) -> None:
    assert sized(b"x" * length) == varint(length) + b"x" * length


def test_what_does_not_fit() -> None:
    for number in (-1, 1 << 64):
        with pytest.raises(ValueError, match="64 bits"):
            varint(number)
    for number in (-(1 << 63) - 1, 1 << 63):
        with pytest.raises(ValueError, match="64 bits"):
            any_value(number)
    with pytest.raises(TypeError, match="bytes"):
        any_value(b"x")  # type: ignore[arg-type]
