"""The buffer: bounded in bytes, first in first out, nothing kept of what does not fit."""

import sys
import threading
from itertools import count
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from z4j_exporter.events.message import Message
from z4j_exporter.pipeline.buffer import ITEM_OVERHEAD_BYTES, Buffer


def make(max_bytes: int = 10_000, **clocks: Any) -> Buffer:
    steps = count(1.0)
    return Buffer(
        max_bytes,
        monotonic=clocks.get("monotonic", lambda: next(steps)),
        wall=clocks.get("wall", lambda: 1_700_000_000.0),
    )


def put(buffer: Buffer, items: list[Any], size: int) -> bool:
    return buffer.put(items, size, lambda items: items)


def messages(number: int, size: int = 100) -> tuple[list[Message], int]:
    return [b"x" * size] * number, number * size


def cost(number: int, size: int = 100) -> int:
    return number * (size + ITEM_OVERHEAD_BYTES)


def test_batches_come_out_whole_and_in_order() -> None:
    buffer = make()
    assert buffer.take() is None
    assert put(buffer, [b"a", b"b"], 2)
    assert put(buffer, [b"c"], 1)
    first, second = buffer.take(), buffer.take()
    assert first is not None
    assert second is not None
    assert (first.messages(), second.messages()) == ([b"a", b"b"], [b"c"])
    assert buffer.take() is None
    assert buffer.size_bytes == 0


def test_items_are_unpacked_by_who_takes_them() -> None:
    buffer = make()
    calls: list[list[int]] = []

    def unpack(items: list[int]) -> list[Message]:
        calls.append(items)
        return [b"%d" % item for item in items]

    assert buffer.put([1, 2], 2, unpack)
    batch = buffer.take()
    assert batch is not None
    assert calls == []
    assert batch.messages() == [b"1", b"2"]
    assert calls == [[1, 2]]


def test_a_batch_has_the_times_at_which_it_was_put() -> None:
    buffer = make(monotonic=lambda: 12.5, wall=lambda: 1_700_000_000.25)
    put(buffer, [b"a"], 1)
    batch = buffer.take()
    assert batch is not None
    assert (batch.received, batch.received_wall) == (12.5, 1_700_000_000.25)


def test_what_does_not_fit_is_refused_whole() -> None:
    buffer = make(cost(10))
    assert put(buffer, *messages(10))
    assert buffer.size_bytes == cost(10)
    assert not put(buffer, [b""], 0), "the objects around a message cost something too"
    assert not put(buffer, *messages(3))
    assert buffer.size_bytes == cost(10)
    buffer.take()
    assert put(buffer, *messages(3))
    assert buffer.size_bytes == cost(3)


def test_a_batch_larger_than_the_buffer_never_fits() -> None:
    buffer = make(1000)
    assert not put(buffer, [b"x" * 1000], 1000)
    assert put(buffer, *messages(1))


def test_the_taker_is_woken_for_every_batch_it_has_not_seen() -> None:
    buffer = make()
    assert not buffer.filled.is_set()
    put(buffer, *messages(1))
    assert buffer.filled.is_set()
    buffer.filled.clear()
    put(buffer, *messages(1))
    assert buffer.filled.is_set()


def test_refusing_wakes_nobody() -> None:
    buffer = make(10)
    put(buffer, *messages(1))
    assert not buffer.filled.is_set()


@given(st.lists(st.one_of(st.none(), st.tuples(st.integers(1, 5), st.integers(0, 400)))))
def test_it_never_grows_beyond_its_bound_and_loses_nothing_it_took(
    steps: list[tuple[int, int] | None],
) -> None:
    buffer = make(1000)
    kept = taken = 0
    for step in steps:
        if step is None:
            batch = buffer.take()
            taken += len(batch.items) if batch else 0
        else:
            number, size = step
            fits = buffer.size_bytes + cost(number, size) <= 1000
            assert put(buffer, *messages(number, size)) is fits
            kept += number * fits
        assert 0 <= buffer.size_bytes <= 1000
    while (batch := buffer.take()) is not None:
        taken += len(batch.items)
    assert kept == taken
    assert buffer.size_bytes == 0


def test_two_threads_lose_nothing() -> None:
    buffer = make(50_000)
    total = 20_000
    taken: list[Message] = []
    done = threading.Event()

    def take() -> None:
        while not (done.is_set() and buffer.size_bytes == 0):
            buffer.filled.wait(0.1)
            buffer.filled.clear()
            while (batch := buffer.take()) is not None:
                taken.extend(batch.messages())

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # many chances for a race
    try:
        thread = threading.Thread(target=take, name="taker", daemon=True)
        thread.start()
        kept = [b"%d" % n for n in range(total) if put(buffer, [b"%d" % n], 5)]
        done.set()
        thread.join(20)
    finally:
        sys.setswitchinterval(interval)
    assert not thread.is_alive()
    assert taken == kept
