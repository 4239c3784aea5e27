"""A journal that cannot be used is refused, or told once, counted, and tried again."""

import logging
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.journaling import DAY, Clock, envelope, open_journal, write
from z4j_exporter.events.captured import captured
from z4j_exporter.journal import schema
from z4j_exporter.journal.journal import Journal
from z4j_exporter.journal.model import JournalError

OLD_UMASK = 0o000


def record(journal: Journal, *uuids: str) -> None:
    for uuid in uuids:
        event = envelope(uuid)
        journal.captured(captured(event), event)


# -- refused at the start --------------------------------------------------------------------------


def test_a_file_that_is_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(JournalError, match="is no journal of this program"):
        open_journal(tmp_path)
    assert path.read_bytes() == before
    path.write_bytes(b"some text that is no database\n" * 50)
    before = path.read_bytes()
    with pytest.raises(JournalError, match="is no journal of this program"):
        open_journal(tmp_path)
    assert path.read_bytes() == before


def test_a_journal_of_a_later_version_is_refused(tmp_path: Path) -> None:
    journal = write(open_journal(tmp_path), [envelope()])
    journal.close()
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        connection.execute(f"PRAGMA user_version={len(schema.MIGRATIONS) + 1}")
    with pytest.raises(JournalError, match="later version") as caught:
        open_journal(tmp_path)
    assert "--journal-path" in caught.value.hint


def test_an_older_journal_is_brought_to_this_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(open_journal(tmp_path), [envelope()]).close()
    more = ("ALTER TABLE entry ADD COLUMN more TEXT", "CREATE INDEX entry_more ON entry (more)")
    monkeypatch.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, more])
    journal = write(open_journal(tmp_path), [envelope("u2")])
    assert journal.payload("u1") is not None
    assert journal.payload("u2") is not None
    journal.close()
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
        assert connection.execute("SELECT more FROM entry").fetchall() == [(None,), (None,)]


def test_a_step_of_a_migration_that_fails_leaves_the_old_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(open_journal(tmp_path), [envelope()]).close()
    with monkeypatch.context() as patched:
        bad = ("CREATE TABLE more (x)", "CREATE TABLE entry (x)")
        patched.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, bad])
        journal = open_journal(tmp_path)
        assert not journal.step()
        assert journal.stats().trouble == "error"
        journal.close()
    journal = open_journal(tmp_path)
    assert journal.step()
    assert journal.payload("u1") is not None
    journal.close()


@pytest.mark.parametrize("name", ["journal.db", "journal.db-wal"])
def test_a_link_is_refused(tmp_path: Path, name: str) -> None:
    target = tmp_path / "elsewhere"
    target.write_text("")
    (tmp_path / name).symlink_to(target)
    with pytest.raises(JournalError, match="no regular file"):
        open_journal(tmp_path)


def test_a_directory_that_is_not_there_or_open_to_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="cannot be used"):
        open_journal(tmp_path / "no")
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="is no directory"):
        open_journal(tmp_path / "file")
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(JournalError, match="everybody may write") as caught:
        open_journal(shared)
    assert "chmod o-w" in caught.value.hint
    shared.chmod(0o1777)  # as /tmp
    open_journal(shared)


def test_a_file_of_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_journal(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(JournalError, match="belongs to another user"):
        open_journal(tmp_path)


def test_only_the_owner_may_read_any_of_its_files(tmp_path: Path) -> None:
    before = os.umask(OLD_UMASK)
    try:
        journal = write(open_journal(tmp_path), [envelope()])
    finally:
        os.umask(before)
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()}
    assert modes == dict.fromkeys(
        ["journal.db", "journal.db-wal", "journal.db-shm", "journal.db-lock"], 0o600
    )
    journal.close()
    (tmp_path / "journal.db").chmod(0o644)
    open_journal(tmp_path)
    assert stat.S_IMODE((tmp_path / "journal.db").stat().st_mode) == 0o600


# -- trouble that may pass -------------------------------------------------------------------------


def test_a_second_journal_waits_until_the_first_is_gone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = write(open_journal(tmp_path), [envelope("u1")])
    second = open_journal(tmp_path, queue_records=2)
    record(second, "u2", "u3")
    with caplog.at_level(logging.INFO):
        assert not second.step()
        assert not second.step()
        record(second, "u4", "u5", "u6")
        assert (second.stats().trouble, second.stats().entries) == ("locked", None)
        # Two are in hand, two in the queue; the reason for the rest is the trouble.
        assert second.stats().dropped == {"locked": 1}
        assert second.payload("u1") is not None
        first.close()
        assert second.step()
        assert second.step()
    assert second.stats().trouble == ""
    assert second.stats().entries == 5
    assert [r.message for r in caplog.records] == [
        "the journal cannot be written (locked): another process writes it",
        "the journal can be written again",
    ]
    second.close()


def test_a_full_disk_costs_nothing_that_fits_into_memory(tmp_path: Path) -> None:
    journal = write(open_journal(tmp_path), [envelope("u1")])
    assert journal._database is not None
    connection = journal._database._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    # SQLite's own error for it, raised by its own code.
    connection.execute(f"PRAGMA max_page_count={pages}")
    body = {"body": os.urandom(50_000).hex(), "content_type": "x", "content_encoding": "utf-8"}
    event = envelope("u2", payload=body)
    journal.captured(captured(event), event)
    assert not journal.step()
    assert journal.stats().trouble == "disk_full"
    assert journal.stats().waiting == 1
    assert journal.step()  # it opened the file anew, and there is room again
    assert journal.stats().trouble == ""
    assert journal.payload("u2") is not None
    journal.close()


def test_a_program_that_holds_the_file_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "_BUSY_SECONDS", 0.01)
    journal = write(open_journal(tmp_path), [envelope("u1")])
    with closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        record(journal, "u2")
        assert not journal.step()
        assert journal.stats().trouble == "locked"
        other.execute("ROLLBACK")
    assert journal.step()
    assert journal.payload("u2") is not None
    journal.close()


@pytest.mark.parametrize("when", ["at the start", "while it runs"])
def test_a_damaged_journal_is_set_aside(
    tmp_path: Path, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    journal = open_journal(tmp_path, clock=clock)
    write(journal, [envelope(f"u{i}") for i in range(2000)])
    path = tmp_path / "journal.db"
    if when == "at the start":
        journal.close()
        _scribble(path)
        journal = open_journal(tmp_path, clock=clock)
    else:
        assert journal._database is not None
        for pragma in ("wal_checkpoint(TRUNCATE)", "cache_size=1", "shrink_memory"):
            journal._database._connection.execute(f"PRAGMA {pragma}").fetchall()
        _scribble(path)
    record(journal, *(f"u{i}" for i in range(2100)))
    assert not journal.step()
    assert journal.stats().trouble == "damaged"
    while journal.stats().waiting:
        assert journal.step()
    assert journal.stats().trouble == ""
    assert journal.stats().entries == 2100
    assert journal.payload("u7") is not None
    aside = tmp_path / "journal.db.damaged"
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600
    assert f"set aside as {aside}" in caplog.text
    # It is there as long as what it held would have been.
    clock.now = aside.stat().st_mtime + 6 * DAY
    assert journal.step()
    assert aside.exists()
    clock.now += 2 * DAY
    assert journal.step()
    for _ in range(10):
        assert journal.step()
    assert not aside.exists()
    journal.close()


def test_a_damaged_journal_of_another_process_is_left_to_it(tmp_path: Path) -> None:
    first = write(open_journal(tmp_path), [envelope("u1")])
    assert first._database is not None
    first._database._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    _scribble(tmp_path / "journal.db")
    second = open_journal(tmp_path)
    record(second, "u2")
    assert not second.step()
    assert second.stats().trouble == "locked"
    assert not (tmp_path / "journal.db.damaged").exists()
    first.close()
    second.step()
    while second.stats().waiting:
        second.step()
    assert (tmp_path / "journal.db.damaged").exists()
    assert second.payload("u2") is not None
    second.close()


def _scribble(path: Path) -> None:
    """Spoil all pages but the first, which says what the file is."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096))


def test_a_journal_that_was_taken_away_is_told(tmp_path: Path) -> None:
    journal = write(open_journal(tmp_path), [envelope("u1")])
    journal.close()
    for each in tmp_path.iterdir():
        each.unlink()
    with pytest.raises(JournalError, match="cannot be read"):
        journal.payload("u1")
    record(journal, "u2")
    assert journal.step()
    assert journal.payload("u2") is not None
    journal.close()


# -- the thread ------------------------------------------------------------------------------------


def test_stopping_writes_what_waits(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.start()
    record(journal, *(f"u{i}" for i in range(2500)))
    journal.stop(30)
    assert not journal.is_alive()
    assert journal.stats().dropped == {}
    assert journal.payload("u0") is not None
    assert journal.payload("u2499") is not None
    record(journal, "late")
    assert journal.stats().dropped == {"stopping": 1}
    again = open_journal(tmp_path)  # it let go of the file
    assert again.step()
    again.close()


def test_stopping_in_trouble_counts_what_is_lost(tmp_path: Path) -> None:
    first = write(open_journal(tmp_path), [envelope("u1")])
    second = open_journal(tmp_path)
    record(second, "u2", "u3")
    second.start()
    second.stop(30)
    assert not second.is_alive()
    assert second.stats().dropped == {"locked": 2}
    first.close()
