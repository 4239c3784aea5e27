"""Ids are a pure function of a task's identity, and valid for any id from the wire."""

import uuid
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from z4j_exporter.tracing.ids import literal_span, span_id, trace_id

ROOT = "f415600d-7bb3-4641-9a1b-09c6a763c75e"


def test_a_uuid_is_the_trace_id_itself() -> None:
    assert trace_id(ROOT).hex() == ROOT.replace("-", "")


@pytest.mark.parametrize("form", [ROOT.replace("-", ""), ROOT.upper(), uuid.UUID(ROOT).hex.upper()])
def test_other_ways_to_write_a_uuid_are_the_same_trace(form: str) -> None:
    assert trace_id(form) == trace_id(ROOT)


@pytest.mark.parametrize(
    "text",
    [
        "order-42",
        "заказ/7 ✓",
        "x" * 300,
        "f415600d 7bb346419a1b09c6a763c75e",
        "f415600d7bb346419a1b09c6a763c7  ",  # bytes.fromhex passes over spaces
        "f415600d7-bb3-4641-9a1b-09c6a763c75e",
        "{f415600d-7bb3-4641-9a1b-09c6a763c75",
        "\u0660" * 32,  # digits, but not hexadecimal ones
    ],
)
def test_what_is_no_uuid_is_hashed(text: str) -> None:
    assert trace_id(text) == blake2b(text.encode(), digest_size=16).digest()


def test_all_zero_is_no_trace() -> None:
    assert any(trace_id(str(uuid.UUID(int=0))))


@given(st.text(st.characters(), max_size=60))
def test_any_text_has_ids(text: str) -> None:
    assert len(trace_id(text)) == 16
    assert any(trace_id(text))
    assert len(span_id(text, "send", 0, 0)) == 8
    assert any(span_id(text, "send", 0, 0))
    literal_span(text)


def test_half_a_surrogate_pair_has_ids() -> None:
    assert len(trace_id("\ud800")) == 16
    assert len(span_id("\udfff", "process", 0, 0)) == 8


def test_a_span_id_is_a_hash_of_what_makes_it_one() -> None:
    expected = blake2b(f"{ROOT}|process|3|1".encode(), digest_size=8).digest()
    assert span_id(ROOT, "process", 3, 1) == expected


def test_each_part_makes_another_span() -> None:
    ids = {
        span_id("a", "send", 0, 0),
        span_id("b", "send", 0, 0),
        span_id("a", "process", 0, 0),
        span_id("a", "send", 1, 0),
        span_id("a", "send", 0, 1),
    }
    assert len(ids) == 5


def test_a_parent_whose_first_half_is_zero_is_a_span() -> None:
    assert literal_span("00000000-0000-0000-b7ad-6b7169203331") == bytes.fromhex("b7ad6b7169203331")
    assert literal_span("0000000000000000B7AD6B7169203331") == bytes.fromhex("b7ad6b7169203331")


@pytest.mark.parametrize("parent", [ROOT, "", "order-42", str(uuid.UUID(int=0)), "0" * 31 + "g"])
def test_any_other_parent_is_a_task(parent: str) -> None:
    assert literal_span(parent) is None
