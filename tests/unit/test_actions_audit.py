"""The audit log: what is written, how it goes on after crashes, and when it refuses."""

import errno
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from z4j_exporter.actions import audit_file
from z4j_exporter.actions.audit import MAX_IDS, AuditLog, AuditUnavailable, Entry
from z4j_exporter.actions.audit_chain import GENESIS, MAX_LINE_BYTES, START, Chain, Head
from z4j_exporter.actions.audit_verify import verify
from z4j_exporter.actions.model import Action, Actor, Target, Verb
from z4j_exporter.errors import ConfigError, FileError

KEY = b"0123456789abcdef0123456789abcdef"
ACTOR = Actor("deploy-bot", "operator", "token")
ENTRY = Entry("requested", Verb.RETRY, Target(task_id="t1"), ACTOR, "a1")

Opener = Callable[..., AuditLog]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def opened(path: Path) -> Iterator[Opener]:
    logs: list[AuditLog] = []

    def open_log(key: bytes = KEY, **more: Any) -> AuditLog:
        for log in logs:
            log.close()
        logs.append(AuditLog(path, key, clock=lambda: 1_700_000_000.25, **more))
        return logs[-1]

    yield open_log
    for log in logs:
        log.close()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_an_entry_says_who_asked_for_what(opened: Opener, path: Path) -> None:
    head = opened().append(
        Entry("requested", Verb.RETRY, Target(task_id="t1", task_name="app.add"), ACTOR, "a1")
    )
    (line,) = lines(path)
    assert line == {
        "seq": 1,
        "time": "2023-11-14T22:13:20.250000Z",
        "stage": "requested",
        "action": "a1",
        "verb": "retry",
        "target": {"task_id": "t1", "task_name": "app.add"},
        "dry_run": False,
        "actor": {"name": "deploy-bot", "role": "operator", "via": "token"},
        "outcome": "",
        "args": None,
        "prev": GENESIS,
        "mac": head.mac,
    }
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_entry_is_made_from_an_action(opened: Opener, path: Path) -> None:
    action = Action("a1", Verb.PURGE, Target(queue="low"), ACTOR, 1.0, dry_run=True)
    opened().append(Entry.of(action, "outcome", "done"))
    (line,) = lines(path)
    assert (line["verb"], line["target"], line["dry_run"], line["outcome"]) == (
        "purge",
        {"queue": "low"},
        True,
        "done",
    )


def test_arguments_are_never_written(opened: Opener, path: Path) -> None:
    log = opened()
    for arguments in (b'[["hunter2"],{}]', b'[["hunter2"],{}]', b"other"):
        log.append(Entry("requested", Verb.RETRY, arguments=arguments))
    assert b"hunter2" not in path.read_bytes()
    first, same, other = (line["args"] for line in lines(path))
    assert first == same != other
    assert "hunter2" not in repr(Entry("requested", Verb.RETRY, arguments=b"hunter2"))


def test_hostile_texts_stay_one_line_of_bounded_size(opened: Opener, path: Path) -> None:
    long = "\U0001f600\n\x1b\ud800" * 10_000
    ids = tuple(f"{number}{long}" for number in range(MAX_IDS))
    log = opened()
    log.append(
        Entry(
            "denied",
            long,
            Target(long, long, long, ids, long),
            Actor(long, "viewer", "token"),
            long,
        )
    )
    log.append(Entry("denied", Verb.BULK_RETRY, Target(task_ids=(*ids, "one more\ud800"))))
    assert max(map(len, path.read_bytes().splitlines())) < MAX_LINE_BYTES
    many = lines(path)[1]["target"]["task_ids"]
    assert many["count"] == MAX_IDS + 1
    assert len(many["hmac"]) == 64
    assert verify(path, KEY).entries == 2


def test_the_chain_goes_on_after_a_restart(opened: Opener, path: Path) -> None:
    first = opened().append(ENTRY)
    log = opened()
    assert log.head == first
    assert log.append(ENTRY).seq == 2
    assert verify(path, KEY).head == log.head


def test_a_second_owner_is_refused_with_a_sentence(opened: Opener, path: Path) -> None:
    opened()
    with pytest.raises(
        ConfigError, match=rf"{path}.*in use by another process \(process {os.getpid()}"
    ):
        AuditLog(path, KEY)


def test_another_key_is_refused_and_changes_nothing(opened: Opener, path: Path) -> None:
    opened().append(ENTRY)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="does not end with an entry of this key"):
        opened(b"f" * 32)
    assert path.read_bytes() == before
    assert opened().append(ENTRY).seq == 2


@pytest.mark.parametrize("whole", [0, 1, 3])
def test_wherever_a_crash_tears_the_last_line_the_log_goes_on(
    opened: Opener, path: Path, whole: int
) -> None:
    log = opened()
    for _ in range(whole):
        log.append(ENTRY)
    kept = path.read_bytes()
    log.append(ENTRY)
    last = path.read_bytes()[len(kept) :]
    for cut in range(1, len(last) - 1):
        log.close()
        path.write_bytes(kept + last[:cut])
        log = opened()
        assert log.recovered == 1
        log.append(ENTRY)
        report = verify(path, KEY)
        assert report.ok, report.fault
        assert (report.entries, report.recovered_total) == (whole + 2, 1)
        assert report.recovered[0].bytes == cut + 1
        assert path.read_bytes().startswith(kept + last[:cut] + b"\n")
        assert lines_of_recovery(path)["kind"] == "torn"


def lines_of_recovery(path: Path) -> dict[str, Any]:
    (found,) = (
        json.loads(line)
        for line in path.read_bytes().splitlines()
        if b'"stage":"recovered"' in line
    )
    return dict(found)


def test_a_line_that_lacks_only_its_end_is_whole(opened: Opener, path: Path) -> None:
    head = opened().append(ENTRY)
    path.write_bytes(path.read_bytes()[:-1])
    log = opened()
    assert (log.head, log.recovered) == (head, 0)
    assert verify(path, KEY).ok


def test_a_torn_attempt_to_tell_of_a_torn_line_is_told_of(opened: Opener, path: Path) -> None:
    opened().append(ENTRY)
    path.write_bytes(path.read_bytes() + b'{"seq":2,"ti')
    opened()
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    opened().append(ENTRY)
    report = verify(path, KEY)
    assert report.ok, report.fault
    assert report.recovered_total == 1


def test_zeros_that_a_power_loss_left_are_told_of(opened: Opener, path: Path) -> None:
    opened().append(ENTRY)
    path.write_bytes(path.read_bytes() + bytes(500))
    opened().append(ENTRY)
    assert verify(path, KEY).recovered_total == 1


def test_what_no_crash_can_leave_is_not_called_torn(opened: Opener, path: Path) -> None:
    log = opened()
    for _ in range(3):
        log.append(ENTRY)
    path.write_bytes(path.read_bytes().replace(b'"seq":3', b'"seq":4'))
    log = opened()
    assert log.append(ENTRY).seq == 4
    assert lines_of_recovery(path)["kind"] == "altered"
    fault = verify(path, KEY).fault
    assert fault is not None
    assert (fault.line, "not made by the exporter" in fault.reason) == (3, True)


def test_a_full_disk_refuses_and_leaves_no_trace(
    opened: Opener, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = opened()
    head = log.append(ENTRY)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(audit_file, "_write", writes_some_then_fails)
        with pytest.raises(AuditUnavailable) as refused:
            log.append(ENTRY)
    assert (refused.value.status, refused.value.kind) == (503, "audit-unavailable")
    assert "No space left" in refused.value.hint
    assert (log.head, log.failures) == (head, 1)
    assert path.read_bytes() == before
    assert log.append(ENTRY).seq == 2
    assert verify(path, KEY).recovered_total == 0


def test_where_a_failed_write_cannot_be_cut_off_it_is_told_of(
    opened: Opener, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = opened()
    log.append(ENTRY)
    with monkeypatch.context() as patch:
        patch.setattr(audit_file, "_write", writes_some_then_fails)
        patch.setattr(os, "ftruncate", not_permitted)  # as chattr +a does
        with pytest.raises(AuditUnavailable):
            log.append(ENTRY)
    assert log.append(ENTRY).seq == 3
    assert (log.recovered, verify(path, KEY).recovered_total) == (1, 1)


def test_an_entry_that_could_not_be_synced_is_refused(
    opened: Opener, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = opened()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", cannot_sync)
        with pytest.raises(AuditUnavailable):
            log.append(ENTRY)
    assert log.head == START
    assert log.append(ENTRY).seq == 1
    assert verify(path, KEY).ok


def test_when_a_failed_write_leaves_another_file_it_refuses(
    opened: Opener, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = opened()
    log.append(ENTRY)
    with monkeypatch.context() as patch:
        patch.setattr(audit_file, "_write", writes_some_then_fails)
        with pytest.raises(AuditUnavailable):
            log.append(ENTRY)
    path.write_bytes(Chain(b"another key").seal(1, {}, GENESIS)[0])
    for _ in range(2):
        with pytest.raises(AuditUnavailable, match="cannot be written"):
            log.append(ENTRY)


def test_a_full_disk_is_logged_once(
    opened: Opener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = opened()
    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(audit_file, "_write", writes_some_then_fails)
            for _ in range(3):
                with pytest.raises(AuditUnavailable):
                    log.append(ENTRY)
        log.append(ENTRY)
    assert (log.failures, len(caplog.records)) == (6, 2)


@given(garbage=st.lists(st.binary(max_size=60) | st.sampled_from([b"\n", b"\r", b'{"seq":2,'])))
@settings(max_examples=200, deadline=None)
def test_whatever_stands_at_the_end_the_log_goes_on_and_verify_tells(
    tmp_path_factory: pytest.TempPathFactory, garbage: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("garbage") / "audit.jsonl"
    log = AuditLog(path, KEY)
    log.append(ENTRY)
    log.close()
    kept = path.read_bytes() + b"".join(garbage)
    path.write_bytes(kept)
    log = AuditLog(path, KEY)
    log.append(ENTRY)
    log.close()
    assert path.read_bytes().startswith(kept)  # nothing is ever taken away
    report = verify(path, KEY)
    if not kept[len(kept) - sum(map(len, garbage)) :]:
        assert (report.ok, report.entries) == (True, 2)
    elif report.ok:
        assert (report.entries, report.recovered_total) == (3, 1)
    else:
        assert report.fault is not None
        assert "not made by the exporter" in report.fault.reason


def test_every_entry_is_synced_before_append_returns(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = opened()
    done: list[str] = []
    write, sync = audit_file._write, os.fsync
    monkeypatch.setattr(audit_file, "_write", lambda *a: (write(*a), done.append("write")))
    monkeypatch.setattr(os, "fsync", lambda fd: (sync(fd), done.append("sync")))
    log.append(ENTRY)
    assert done == ["write", "sync"]


def writes_some_then_fails(descriptor: int, data: bytes) -> None:
    os.write(descriptor, data[:10])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def not_permitted(descriptor: int, size: int) -> None:
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def cannot_sync(descriptor: int) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def removed(path: Path) -> None:
    path.unlink()


def replaced(path: Path) -> None:
    path.with_suffix(".new").write_bytes(path.read_bytes())
    path.with_suffix(".new").rename(path)


def cut(path: Path) -> None:
    os.truncate(path, 10)


def written_to(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"{}\n")


@pytest.mark.parametrize("what", [removed, replaced, cut, written_to])
def test_a_file_that_others_changed_is_not_written_to(
    opened: Opener, path: Path, what: Callable[[Path], None]
) -> None:
    log = opened()
    log.append(ENTRY)
    what(path)
    for _ in range(2):  # it does not get used to it
        with pytest.raises(AuditUnavailable, match="cannot be written") as refused:
            log.append(ENTRY)
        assert "somebody else" in refused.value.hint


def test_a_file_that_is_put_back_is_written_to_again(opened: Opener, path: Path) -> None:
    log = opened()
    log.append(ENTRY)
    aside = path.with_suffix(".aside")
    path.rename(aside)
    with pytest.raises(AuditUnavailable):
        log.append(ENTRY)
    aside.rename(path)
    assert log.append(ENTRY).seq == 2


def test_full_files_get_numbers_and_the_chain_goes_over_them(opened: Opener, path: Path) -> None:
    log = opened(max_file_bytes=1000)
    for _ in range(10):
        log.append(ENTRY)
    log = opened(max_file_bytes=1000)
    log.append(ENTRY)
    files = audit_file.numbered(path)
    assert [file.name for file in files] == [f"audit.jsonl.{n:06d}" for n in range(1, 6)]
    assert all(file.stat().st_size <= 1000 for file in files)
    report = verify(path, KEY)
    assert report.ok, report.fault
    assert (report.entries, len(report.files)) == (11, 6)


def test_a_crash_between_the_renames_of_a_rotation_loses_nothing(
    opened: Opener, path: Path
) -> None:
    log = opened()
    log.append(ENTRY)
    log.close()
    path.rename(f"{path}.000001")
    log = opened()
    assert log.append(ENTRY).seq == 2
    path.write_bytes(b'{"torn')  # and a crash while the new file's first entry was written
    log = opened()
    assert log.append(ENTRY).seq == 3
    assert verify(path, KEY).ok


def test_a_rotation_that_fails_leaves_the_log_usable(
    opened: Opener, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = opened(max_file_bytes=500)
    log.append(ENTRY)
    rename = Path.rename

    def fails_for_the_new_one(source: Path, target: Path) -> Path:
        if source.name.endswith(".next"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fails_for_the_new_one)
        with pytest.raises(AuditUnavailable):
            log.append(ENTRY)
    assert log.append(ENTRY).seq == 2
    assert verify(path, KEY).ok


def test_many_threads_make_one_chain(opened: Opener, path: Path) -> None:
    log = opened(max_file_bytes=5000)
    threads = [
        threading.Thread(target=lambda: [log.append(ENTRY) for _ in range(20)], name=f"writer-{n}")
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    report = verify(path, KEY)
    assert report.ok, report.fault
    assert (report.entries, report.head) == (160, log.head)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_refused(path: Path, make: Callable[[Path], None]) -> None:
    make(path)
    with pytest.raises(FileError, match="cannot be opened"):
        AuditLog(path, KEY)


def test_a_symbolic_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileError, match="cannot be opened"):
        AuditLog(path, KEY)


def test_a_log_that_others_can_read_is_closed_to_them(opened: Opener, path: Path) -> None:
    path.touch(0o644)
    opened()
    assert path.stat().st_mode & 0o777 == 0o600


def test_nothing_of_another_purpose_passes_as_a_seal() -> None:
    chain = Chain(KEY)
    line, head = chain.seal(1, {"stage": "requested"}, GENESIS)
    body = line[: line.index(b',"mac"')] + b"}"
    torn = chain.torn()
    torn.update(body)
    assert len({head.mac, chain.arguments(body), torn.hexdigest()}) == 3


@pytest.mark.parametrize("text", ["", "1", "1:", "x:" + "a" * 64, "1:" + "a" * 15, "1:" + "g" * 64])
def test_a_head_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="a head must look like"):
        Head.parse(text)


def test_a_head_is_read_as_it_is_written() -> None:
    head = Head(7, "ab" * 32)
    assert Head.parse(str(head)) == head
    assert head.is_same(Head.parse("7:" + "ab" * 8))
    assert not head.is_same(Head.parse("7:" + "ab" * 7 + "ac"))
    assert not head.is_same(Head(8, head.mac))
