"""The journal keeps within its age and its size, whatever is written."""

import os
from pathlib import Path

import pytest

from tests.support.journaling import DAY, MIB, Clock, envelope, open_journal, write
from z4j_exporter.config import build_settings
from z4j_exporter.events.captured import captured
from z4j_exporter.events.model import Event
from z4j_exporter.journal.journal import Journal, make_journal


def noise(uuid: str, size: int) -> Event:
    """An envelope that cannot be compressed."""
    body = os.urandom(size // 2).hex()
    return envelope(uuid, payload={"body": body, "content_type": "x", "content_encoding": "utf-8"})


def files_size(directory: Path) -> int:
    return sum(each.stat().st_size for each in directory.iterdir())


@pytest.mark.parametrize(("count", "size"), [(9000, 1000), (150, 100_000), (20_000, 0)])
def test_the_files_never_grow_beyond_the_bound(tmp_path: Path, count: int, size: int) -> None:
    clock = Clock()
    journal = open_journal(tmp_path, max_bytes=4 * MIB, clock=clock)
    largest = 0
    for i in range(count):
        clock.now += 0.001
        event = noise(f"u{i}", size)
        journal.captured(captured(event), event)
        if i % 250 == 249 or i == count - 1:
            while journal.stats().waiting:
                assert journal.step()
                largest = max(largest, files_size(tmp_path))
    stats = journal.stats()
    assert 2.5 * MIB < largest <= 4 * MIB
    assert stats.records == {"stored": count}
    assert stats.entries is not None
    assert 10 < stats.entries < count
    # The newest are there, the oldest are not.
    assert journal.payload(f"u{count - 1}") is not None
    assert journal.payload(f"u{count - stats.entries}") is not None
    assert journal.payload(f"u{count - stats.entries - 1}") is None
    assert len(journal.search(limit=10_000)) == min(stats.entries, 10_000)
    journal.close()


def test_members_that_were_never_published_are_bounded_too(tmp_path: Path) -> None:
    clock = Clock()
    journal = open_journal(tmp_path, max_bytes=4 * MIB, clock=clock)
    for i in range(30_000):
        journal.learn(f"{i:0200}", "g" * 100)
        if i % 1000 == 999:
            clock.now += 1
            while journal.stats().waiting:
                assert journal.step()
    assert files_size(tmp_path) <= 4 * MIB
    found = journal.group("g" * 100, 10_000)
    assert found is not None
    assert 1000 < len(found.members) <= 10_000
    journal.close()


def test_what_is_too_old_goes_and_the_file_shrinks(tmp_path: Path) -> None:
    clock = Clock()
    journal = open_journal(tmp_path, max_age=DAY, clock=clock)
    events = [noise(f"u{i}", 20_000) for i in range(400)]
    write(journal, [*events, envelope("m", group_id="old", group_index=0)])
    before = files_size(tmp_path)
    clock.now += DAY - 60
    write(journal, [envelope("new", group_id="young", group_index=0)])
    assert journal.stats().entries == 402
    clock.now += 61
    for _ in range(30):
        assert journal.step()
    assert journal.stats().entries == 1
    assert journal.payload("u0") is None
    assert journal.payload("new") is not None
    assert journal.group("old") is None
    assert journal.group("young") is not None
    journal.close()
    assert files_size(tmp_path) < before / 8


def test_a_message_that_is_published_again_is_young_again(tmp_path: Path) -> None:
    clock = Clock()
    journal = open_journal(tmp_path, max_age=DAY, clock=clock)
    write(journal, [envelope("u1"), envelope("u2")])
    clock.now += DAY / 2
    write(journal, [envelope("u1", retries=1)])
    clock.now += DAY / 2 + 40
    assert journal.step()
    assert journal.payload("u1") is not None
    assert journal.payload("u2") is None
    journal.close()


def test_what_a_clock_ahead_has_written_grows_old_all_the_same(tmp_path: Path) -> None:
    clock = Clock()
    clock.now += 365 * DAY
    first = open_journal(tmp_path, max_age=DAY, clock=clock)
    write(first, [envelope("u1")])
    first.close()
    clock.now -= 365 * DAY
    second = open_journal(tmp_path, max_age=DAY, clock=clock)
    assert second.step()
    assert second.stats().entries == 1
    clock.now += DAY + 40
    assert second.step()
    assert second.stats().entries == 0
    second.close()


def test_a_bound_that_was_lowered_holds_soon(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, max_bytes=64 * MIB)
    write(journal, [noise(f"u{i}", 50_000) for i in range(300)])
    journal.close()
    assert files_size(tmp_path) > 8 * MIB
    journal = open_journal(tmp_path, max_bytes=4 * MIB)
    for i in range(20):
        write(journal, [envelope(f"v{i}")])
    assert files_size(tmp_path) <= 4 * MIB
    assert journal.payload("v19") is not None
    journal.close()


def test_deleted_arguments_are_overwritten(tmp_path: Path) -> None:
    clock = Clock()
    journal = open_journal(tmp_path, max_age=DAY, clock=clock)
    marker = "card-of-mrs-miller"
    body = {"body": marker, "content_type": "x", "content_encoding": "utf-8"}
    write(journal, [envelope("u1", payload=body), envelope("u2")])
    clock.now += DAY + 40
    assert journal.step()
    journal.close()
    left = b"".join(each.read_bytes() for each in tmp_path.iterdir())
    assert b"SQLite format 3" in left
    assert marker.encode() not in left


def test_the_settings_make_a_journal_or_none(tmp_path: Path) -> None:
    assert make_journal(build_settings({})) is None
    path = tmp_path / "j.db"
    made = make_journal(build_settings({"journal_path": path, "journal_max_bytes": 8 * MIB}))
    assert isinstance(made, Journal)
    assert path.exists()
