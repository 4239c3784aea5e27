"""Verifying the audit log: every kind of change is found, where it is, in flat memory."""

import itertools
import json
import threading
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from z4j_exporter.actions.audit import AuditLog, Entry
from z4j_exporter.actions.audit_chain import GENESIS, Chain, Head
from z4j_exporter.actions.audit_verify import Report, as_document, verify
from z4j_exporter.actions.model import Verb
from z4j_exporter.errors import FileError

KEY = b"0123456789abcdef0123456789abcdef"
CHAIN = Chain(KEY)


def sealed(count: int, *, key: bytes = KEY, start: Head | None = None) -> tuple[list[bytes], Head]:
    chain, lines = Chain(key), []
    head = start or Head(0, GENESIS)
    for _ in range(count):
        line, head = chain.seal(head.seq + 1, {"stage": "requested", "target": "é"}, head.mac)
        lines.append(line)
    return lines, head


LINES, HEAD = sealed(5)


def verified(path: Path, lines: Sequence[bytes], expected: Head | None = None) -> Report:
    path.write_bytes(b"".join(lines))
    return verify(path, KEY, expected=expected)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def test_what_is_as_it_was_written_is_intact(path: Path) -> None:
    report = verified(path, LINES, HEAD)
    assert (report.ok, report.entries, report.first, report.head) == (True, 5, 1, HEAD)


def test_any_changed_bit_of_any_byte_is_found_in_its_line(path: Path) -> None:
    whole = b"".join(LINES[:3])
    ends = list(itertools.accumulate(map(len, LINES[:3])))
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        fault = verified(path, [bytes(changed)]).fault
        assert fault is not None, place
        assert fault.line == 1 + sum(end <= place for end in ends)


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_whatever_is_done_to_the_bytes_is_found(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = b"".join(LINES)
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    put = data.draw(st.one_of(st.binary(max_size=40), st.sampled_from([*LINES, b"\n", b"\n\n"])))
    changed = whole[:start] + put + whole[end:]
    path = tmp_path_factory.getbasetemp() / "whatever.jsonl"
    report = verified(path, [changed], HEAD)
    assert report.ok == (changed == whole)


@given(order=st.lists(st.sampled_from(range(5)), max_size=8))
@settings(max_examples=300, deadline=None)
def test_lines_lost_doubled_or_moved_are_found(
    tmp_path_factory: pytest.TempPathFactory, order: list[int]
) -> None:
    path = tmp_path_factory.getbasetemp() / "order.jsonl"
    lines = [LINES[number] for number in order]
    in_order = order == list(range(len(order)))
    assert verified(path, lines).ok == in_order
    assert verified(path, lines, HEAD).ok == (order == list(range(5)))


CASES = {
    "lost": ([0, 1, 3, 4], 3, "entry 3 is missing before entry 4"),
    "many lost": ([0, 4], 2, "entries 2 to 4 are missing before entry 5"),
    "first lost": ([1, 2], 1, "entry 1 is missing before entry 2"),
    "doubled": ([0, 1, 1, 2], 3, "entry 2 stands behind entry 2: doubled, or moved"),
    "moved": ([0, 2, 1, 3], 2, "entry 2 is missing before entry 3"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_first_bad_line_and_why(path: Path, case: str) -> None:
    order, line, reason = CASES[case]
    fault = verified(path, [LINES[number] for number in order]).fault
    assert fault is not None
    assert (fault.file, fault.line, fault.reason) == (str(path), line, reason)


def test_a_log_of_the_same_key_cannot_lend_its_lines(path: Path) -> None:
    other, _ = sealed(2, start=Head(0, "1" * 64))
    fault = verified(path, [LINES[0], other[1], LINES[2]]).fault
    assert fault is not None
    assert "entry 2 does not follow the entry 1" in fault.reason


def test_a_cut_at_the_end_shows_against_the_head_only(path: Path) -> None:
    assert verified(path, LINES[:3]).ok
    fault = verified(path, LINES[:3], HEAD).fault
    assert fault is not None
    assert (fault.line, fault.reason) == (
        0,
        "the log ends with entry 3, 5 is expected: cut at the end",
    )
    empty = verified(path, [], HEAD).fault
    assert empty is not None


def test_a_log_may_be_longer_than_the_head_that_is_expected(path: Path) -> None:
    earlier = Head(3, json.loads(LINES[2])["mac"][:16])
    assert verified(path, LINES, earlier).ok
    wrong = verified(path, LINES, Head(3, "0" * 16)).fault
    assert wrong is not None
    assert (wrong.line, wrong.reason) == (3, "entry 3 is not the one that is expected")


def test_a_log_that_was_begun_anew_is_not_the_one_that_is_expected(path: Path) -> None:
    others, _ = sealed(9, start=Head(0, GENESIS), key=KEY)
    assert verified(path, others, HEAD).ok  # the same entries
    anew, head = [], Head(0, GENESIS)
    for _ in range(9):
        line, head = CHAIN.seal(head.seq + 1, {"stage": "denied"}, head.mac)
        anew.append(line)
    fault = verified(path, anew, HEAD).fault
    assert fault is not None
    assert fault.line == 5


def test_another_key_is_told_as_one_of_the_causes(path: Path) -> None:
    path.write_bytes(b"".join(LINES))
    fault = verify(path, b"f" * 32).fault
    assert fault is not None
    assert (fault.line, "not the key" in fault.reason) == (1, True)


def test_a_torn_last_line_is_a_fault_until_a_start_tells_of_it(path: Path) -> None:
    fault = verified(path, [*LINES, LINES[0][:40]]).fault
    assert fault is not None
    assert (fault.line, "cut short" in fault.reason) == (6, True)


def recovered(left: bytes, head: Head, kind: str = "torn") -> bytes:
    digest = CHAIN.torn()
    digest.update(left)
    members = {"stage": "recovered", "kind": kind, "bytes": len(left), "digest": digest.hexdigest()}
    return CHAIN.seal(head.seq + 1, {"time": "then", **members}, head.mac)[0]


def test_a_torn_line_that_is_told_of_is_accepted_and_named(path: Path) -> None:
    torn = b'{"seq":6,"st\n'
    report = verified(path, [*LINES, torn, recovered(torn, HEAD)])
    assert report.ok
    (place,) = report.recovered
    assert (place.line, place.seq, place.bytes) == (6, 6, len(torn))


@pytest.mark.parametrize(
    "now", [b'{"seq":6,"sT\n', b'{"seq":6,"st\n\n', b"", b"\n", b"x" * 12 + b"\n"]
)
def test_a_torn_line_is_covered_too(path: Path, now: bytes) -> None:
    torn = b'{"seq":6,"st\n'
    fault = verified(path, [*LINES, now, recovered(torn, HEAD)]).fault
    assert fault is not None
    assert fault.line == 6


def test_a_line_that_is_told_of_in_another_file_is_a_fault(path: Path) -> None:
    torn = b'{"seq":6,"st\n'
    path.with_name(f"{path.name}.000001").write_bytes(b"".join([*LINES, torn]))
    fault = verified(path, [recovered(torn, HEAD)]).fault
    assert fault is not None
    assert fault.file.endswith(".000001")


def in_files(path: Path, parts: Sequence[Sequence[bytes]]) -> None:
    *older, newest = parts
    for number, part in enumerate(older, 1):
        path.with_name(f"{path.name}.{number:06d}").write_bytes(b"".join(part))
    path.write_bytes(b"".join(newest))


def test_the_chain_goes_over_files(path: Path) -> None:
    in_files(path, [LINES[:2], LINES[2:4], LINES[4:]])
    report = verify(path, KEY, expected=HEAD)
    assert (report.ok, report.entries, len(report.files)) == (True, 5, 3)


@pytest.mark.parametrize(("gone", "line"), [(1, 1), (2, 1)])
def test_a_file_that_is_lost_is_found(path: Path, gone: int, line: int) -> None:
    in_files(path, [LINES[:2], LINES[2:4], LINES[4:]])
    path.with_name(f"{path.name}.{gone:06d}").unlink()
    fault = verify(path, KEY).fault
    assert fault is not None
    assert (fault.line, "missing" in fault.reason) == (line, True)


def test_files_that_are_archived_elsewhere_are_stood_for_by_their_last_entry(path: Path) -> None:
    last = Head(2, json.loads(LINES[1])["mac"][:20])
    path.write_bytes(b"".join(LINES[2:]))
    assert verify(path, KEY, after=last, expected=HEAD).ok
    assert not verify(path, KEY, after=Head(2, "0" * 16)).ok
    assert not verify(path, KEY, after=Head(1, last.mac)).ok
    assert not verify(path, KEY, after=last, expected=Head(1, "0" * 16)).ok


def test_a_file_that_is_renamed_while_it_is_read_is_met_once(path: Path) -> None:
    path.write_bytes(b"".join(LINES))
    path.with_name(f"{path.name}.000001").hardlink_to(path)
    assert verify(path, KEY).entries == 5


def test_a_log_that_is_being_written_and_rotated_is_in_order(path: Path) -> None:
    log = AuditLog(path, KEY, max_file_bytes=2_000)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            log.append(Entry("requested", Verb.RETRY))

    writer = threading.Thread(target=write, name="writer", daemon=True)
    writer.start()
    try:
        for _ in range(30):
            report = verify(path, KEY, expected=log.head)
            assert report.ok or "cut short" in str(report.fault), report.fault
    finally:
        stop.set()
        writer.join(30)
        log.close()
    assert verify(path, KEY, expected=log.head).ok


def test_a_log_that_is_not_there_is_a_sentence(path: Path) -> None:
    with pytest.raises(FileError, match="there is no audit log"):
        verify(path, KEY)
    path.mkdir()
    with pytest.raises(FileError, match="cannot be read"):
        verify(path, KEY)


def test_memory_stays_flat_on_many_lines_and_on_one_endless_one(path: Path) -> None:
    lines, head = sealed(20_000)
    path.write_bytes(b"".join(lines) + b"x" * 20_000_000)
    del lines
    tracemalloc.start()
    report = verify(path, KEY, expected=head)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert report.entries == 20_000
    assert report.fault is not None
    assert (report.fault.line, "longer than any entry" in report.fault.reason) == (20_001, True)
    assert peak < 3_000_000


def test_a_report_for_programs_says_the_same(path: Path) -> None:
    document = as_document(verified(path, LINES[:4], HEAD))
    assert document == {
        "ok": False,
        "files": [str(path)],
        "entries": 4,
        "first": 1,
        "head": {"seq": 4, "mac": json.loads(LINES[3])["mac"]},
        "recovered": 0,
        "recovered_places": [],
        "fault": {
            "file": str(path),
            "line": 0,
            "reason": "the log ends with entry 4, 5 is expected: cut at the end",
        },
    }
