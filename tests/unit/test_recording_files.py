"""Recordings as files: plain, compressed, damaged, missing, and being written."""

import gzip
import io
import json
import sys
from pathlib import Path

import pytest

from z4j_exporter.cli.recorder import FLUSH_SECONDS, RecordingFile
from z4j_exporter.errors import EndOfStreamError, FileError
from z4j_exporter.events import recording as line_format
from z4j_exporter.events.decode import Decoder
from z4j_exporter.events.recording import Recorded
from z4j_exporter.sources import recording as source_module
from z4j_exporter.sources.recording import BadLine, RecordingReader, RecordingSource


def line(number: int) -> bytes:
    event = {"type": "custom", "timestamp": float(number)}
    return line_format.encode_event(float(number), event)


def numbers(path: Path) -> list[float | tuple[str, int]]:
    """Read a file: the time of each good line, the place of each bad one."""
    with RecordingReader(path) as reader:
        return [
            item.received_at if isinstance(item, Recorded) else ("bad", item.number)
            for item in reader
        ]


def test_lines_come_in_order_and_blank_ones_are_nothing(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(line(1) + b"\n  \r\n" + line(2) + line(3).rstrip())
    assert numbers(path) == [1.0, 2.0, 3.0]


def test_gzip_is_told_by_its_first_bytes(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(gzip.compress(line(1) + line(2)))
    assert numbers(path) == [1.0, 2.0]


def test_a_bad_line_is_one_refusal_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(line(1) + b"{oops\n" + line(2) + b"\xff\n" + line(3))
    assert numbers(path) == [1.0, ("bad", 2), 2.0, ("bad", 4), 3.0]


def test_a_huge_line_is_skipped_without_being_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "MAX_LINE_BYTES", 256)
    path = tmp_path / "r.jsonl"
    path.write_bytes(line(1) + b"x" * 10_000 + b"\n" + line(2) + b"y" * 256 + b"\n" + line(3))
    assert numbers(path) == [1.0, ("bad", 2), 2.0, ("bad", 4), 3.0]


def test_a_line_of_exactly_the_limit_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "MAX_LINE_BYTES", len(line(1)))
    path = tmp_path / "r.jsonl"
    path.write_bytes(line(1) + line(2))
    assert numbers(path) == [1.0, 2.0]


@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_a_compressed_file_that_is_cut_off_gives_what_is_there(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "r.jsonl.gz"
    whole = gzip.compress(b"".join(line(n) for n in range(2000)))
    path.write_bytes(whole[: int(len(whole) * kept)])
    *good, last = numbers(path)
    assert good == [float(n) for n in range(len(good))]
    assert len(good) > 100
    assert last == ("bad", len(good) + 1)


def test_a_compressed_file_that_is_damaged_ends_with_a_refusal(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl.gz"
    whole = bytearray(gzip.compress(b"".join(line(n) for n in range(2000))))
    whole[-8] ^= 0xFF  # the checksum
    path.write_bytes(whole)
    assert numbers(path)[-1] == ("bad", 2001)


@pytest.mark.parametrize("name", ["missing.jsonl", "."])
def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileError, match="cannot be read") as caught:
        RecordingReader(tmp_path / name)
    assert str(tmp_path) in caught.value.message
    with pytest.raises(FileError):
        RecordingSource(tmp_path / name).connect()


def test_standard_input_is_a_recording_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(line(4)))))
    with RecordingReader("-") as reader:
        assert [item.received_at for item in reader if isinstance(item, Recorded)] == [4.0]


def test_progress_is_told_in_bytes_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(line(1) + line(2))
    with RecordingReader(path) as reader:
        assert reader.size_bytes == path.stat().st_size
        list(reader)
        assert reader.position_bytes == path.stat().st_size


def test_as_a_source_it_ends_and_bad_lines_are_counted_as_refusals(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(line(1) + b"{oops\n" + line(2))
    source = RecordingSource(path)
    assert (source.system, source.location) == ("recording", str(path))
    session = source.connect()
    decoder = Decoder()
    messages, size = session.read(0)
    events = [event for message in messages for event in decoder.decode(message)]
    assert [event.timestamp for event in events] == [1.0, 2.0]
    assert size > 0
    assert decoder.refused == {"malformed": 1}
    assert session.bad_lines == [BadLine(2, "it is not JSON")]
    with pytest.raises(EndOfStreamError):
        session.read(0)
    session.close()


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz"])
def test_what_is_written_can_be_read_and_is_for_its_owner_only(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with RecordingFile(path) as recording:
        recording.write([line(1), line(2)])
        recording.flush(100.0)
        recording.write([line(3)])
    assert recording.lines == 3
    assert numbers(path) == [1.0, 2.0, 3.0]
    assert path.stat().st_mode & 0o777 == 0o600
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == name.endswith(".gz")


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz"])
def test_what_was_flushed_survives_a_kill(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    recording = RecordingFile(path)
    recording.write([line(1)])
    recording.flush(100.0)
    recording.write([line(2)])
    recording.flush(100.0 + FLUSH_SECONDS / 2)  # too soon
    assert numbers(path)[0] == 1.0
    assert 2.0 not in numbers(path)
    recording.flush(100.0 + FLUSH_SECONDS)
    assert numbers(path)[:2] == [1.0, 2.0]
    recording.close()


def test_an_existing_file_is_kept_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(line(1))
    with pytest.raises(FileError, match="exists already") as caught:
        RecordingFile(path)
    assert "--force" in caught.value.hint
    assert path.read_bytes() == line(1)
    with RecordingFile(path, force=True) as recording:
        recording.write([line(2)])
    assert path.read_bytes() == line(2)


def test_a_folder_that_is_missing_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="No such file or directory"):
        RecordingFile(tmp_path / "no" / "r.jsonl")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_is_one_sentence() -> None:
    recording = RecordingFile(Path("/dev/full"), force=True)
    recording.write([line(1)])
    with pytest.raises(FileError, match="No space left on device"):
        recording.flush(100.0)
    with pytest.raises(FileError, match="No space left on device"):
        recording.close()


def test_a_recording_is_json_lines_as_documented(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    with RecordingFile(path) as recording:
        recording.write([line(1)])
    assert json.loads(path.read_text()) == {
        "received_at": 1.0,
        "event": {"type": "custom", "timestamp": 1.0},
    }
