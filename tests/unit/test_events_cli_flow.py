"""How `events` and `replay` run: time, limits, recording, pace; and their command lines."""

import io
import json
from pathlib import Path
from typing import Any

import click
import kombu
import pytest
from click.testing import CliRunner, Result

from z4j_exporter.cli.events import events
from z4j_exporter.cli.feed import RecordedFeed
from z4j_exporter.cli.recorder import RecordingFile
from z4j_exporter.cli.replay import replay
from z4j_exporter.cli.rerun import Rerun
from z4j_exporter.cli.resend import Resend
from z4j_exporter.cli.selection import Selection
from z4j_exporter.cli.show import EventLines
from z4j_exporter.cli.streams import wants_colour
from z4j_exporter.cli.timeline import Timeline
from z4j_exporter.cli.watch import Watch, WatchOptions, jsonl, pretty
from z4j_exporter.config import Settings
from z4j_exporter.errors import ExporterError, FileError
from z4j_exporter.events.message import Framed, Message
from z4j_exporter.events.recording import Recorded
from z4j_exporter.pipeline.buffer import Batch
from z4j_exporter.sources.publish import Publisher, shift_event
from z4j_exporter.sources.recording import RecordingReader
from z4j_exporter.track.cluster import Cluster

RECORDINGS = Path(__file__).parents[1] / "fixtures" / "recordings"
RETRIES = RECORDINGS / "retry_and_fail.jsonl"
#: Lines of RETRIES: 4 sent, 4 received, 4 started, 3 retried, 1 failed, online and offline.
RETRY_LINES = 18


# -- time ------------------------------------------------------------------------------------


class Ticks:
    """A cluster that only writes down when it is ticked."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def tick(self, now: float, *, connected: bool = True) -> None:
        assert connected
        self.at.append(now)


def test_time_passes_in_whole_steps_from_the_first_moment() -> None:
    ticks = Ticks()
    timeline = Timeline(ticks)  # type: ignore[arg-type]  # all that it uses
    assert timeline.advance(1000.25) == 1000.25
    assert ticks.at == []
    assert timeline.advance(1003.0) == 1003.0
    assert ticks.at == [1001.25, 1002.25]


def test_time_never_goes_back() -> None:
    timeline = Timeline(Ticks())  # type: ignore[arg-type]  # all that it uses
    assert [timeline.advance(moment) for moment in (10.0, 5.0, 11.0)] == [10.0, 10.0, 11.0]


def test_a_silence_of_millennia_is_a_bounded_number_of_ticks() -> None:
    ticks = Ticks()
    timeline = Timeline(ticks)  # type: ignore[arg-type]  # all that it uses
    timeline.advance(0.0)
    timeline.advance(250_000_000_000.0)
    assert 3000 < len(ticks.at) < 4000


def test_a_worker_that_fell_silent_in_a_recording_is_down_at_its_end() -> None:
    rerun = Rerun(Settings())
    online = {"type": "worker-online", "timestamp": 1000.0, "hostname": "w1@h"}
    other = {"type": "worker-online", "timestamp": 1100.0, "hostname": "w2@h"}
    for event in (online, other):
        body = json.dumps(event).encode()
        rerun.feed(Recorded(event["timestamp"], Framed(body, "application/json", "utf-8")))  # type: ignore[arg-type]  # it is a number
    text = rerun.render(openmetrics=False).decode()
    assert 'celery_worker_up{worker="w1@h"} 0' in text
    assert 'celery_worker_up{worker="w2@h"} 1' in text


# -- watching --------------------------------------------------------------------------------


class ListFeed:
    """A feed of given messages, one second apart, on a clock of its own."""

    connected = True
    connections = 1
    dropped = 0

    def __init__(self, messages: list[Message]) -> None:
        self.messages = messages
        self.now = 1000.0

    def __enter__(self) -> "ListFeed":
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def take(self, timeout_seconds: float) -> Batch | None:
        self.now += max(0.001, timeout_seconds)
        if not self.messages:
            return None
        return Batch([self.messages.pop(0)], 0, self.now, self.now)

    def wake(self) -> None:
        pass

    def moment(self) -> tuple[float, float]:
        return self.now, self.now


def message(*events: dict[str, Any]) -> Framed:
    return Framed(json.dumps(list(events)).encode(), "application/json", "utf-8")


def task(uuid: str, kind: str = "task-received") -> dict[str, Any]:
    return {"type": kind, "timestamp": 1.0, "hostname": "w@h", "uuid": uuid, "name": "t"}


def options(**given: Any) -> WatchOptions:
    given = {"selection": Selection(), "write": pretty(EventLines(utc=True)), **given}
    return WatchOptions(**given)


def watched(feed: ListFeed, **given: Any) -> tuple[Watch, str]:
    out = io.StringIO()
    watch = Watch(feed, Cluster(lambda _step: None), out, options(**given))
    watch.run(lambda: feed.now)
    return watch, out.getvalue()


def test_it_ends_after_the_limit_even_within_a_message() -> None:
    feed = ListFeed([message(task("a"), task("b"), task("c"))])
    _, text = watched(feed, limit=2)
    assert len(text.splitlines()) == 2


def test_the_limit_counts_what_is_shown() -> None:
    feed = ListFeed([message(task("a"), task("b"), task("c"))])
    _, text = watched(feed, limit=1, selection=Selection(uuids=["c"]))
    assert "UUID=c," in text


def test_it_ends_after_the_duration() -> None:
    feed = ListFeed([message(task("a"))])
    _, text = watched(feed, duration_seconds=5.0)
    assert len(text.splitlines()) == 1
    assert feed.now == pytest.approx(1005.0, abs=0.01)


def test_a_bad_event_is_counted_and_its_neighbours_are_shown() -> None:
    feed = ListFeed(
        [message(task("a"), {"type": "task-sent"}, task("b")), Framed(b"{", None, None)]
    )
    watch, text = watched(feed, duration_seconds=5.0)
    assert len(text.splitlines()) == 2
    assert watch.refused == {"not_an_event": 1, "malformed": 1}


def test_a_name_with_half_a_surrogate_pair_takes_nothing_with_it(tmp_path: Path) -> None:
    odd = Framed(b'[{"type": "task-sent", "timestamp": 1, "uuid": "a", "\\ud800": 1}]', None, None)
    feed = ListFeed([odd, message(task("b"))])
    with RecordingFile(tmp_path / "r.jsonl") as recording:
        _, text = watched(feed, recording=recording, duration_seconds=5.0)
    assert "UUID=b," in text
    assert recording.lines == 2


def test_everything_is_recorded_whatever_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    bad = Framed(b"\x80", "application/x-python-serialize", "binary")
    feed = ListFeed([message(task("a"), task("b")), bad])
    with RecordingFile(path) as recording:
        _, text = watched(
            feed, selection=Selection(uuids=["b"]), recording=recording, duration_seconds=5.0
        )
    assert len(text.splitlines()) == 1
    with RecordingReader(path) as reader:
        first, second, third = reader
    assert isinstance(first, Recorded)
    assert isinstance(second, Recorded)
    assert json.loads(first.message.body) == task("a")  # type: ignore[union-attr]  # framed
    assert first.received_at == second.received_at
    assert isinstance(third, Recorded)
    assert third.message == bad


def test_snapshots_come_at_their_interval_and_at_the_end() -> None:
    feed = ListFeed([message(task("a"))])
    _, text = watched(feed, write=None, snapshot_seconds=2.0, duration_seconds=5.0)
    taken = [json.loads(line) for line in text.splitlines()]
    assert [round(each["timestamp"]) for each in taken] == [1002, 1004, 1005]
    assert taken[0]["tasks"]["by_state"] == {"RECEIVED": 1}


def test_a_recording_is_watched_with_its_own_time() -> None:
    out = io.StringIO()
    feed = RecordedFeed(RETRIES, pytest.fail)
    Watch(feed, Cluster(lambda _step: None), out, options(write=jsonl)).run(lambda: 0.0)
    assert out.getvalue() == RETRIES.read_text()


# -- sending again ---------------------------------------------------------------------------


class Wire:
    """A publisher that only writes down, and a clock that sleeping moves."""

    def __init__(self) -> None:
        self.now = 50.0
        self.sent: list[tuple[float, float]] = []

    def publish(self, message: Message, shift_seconds: float = 0.0) -> bool:
        self.sent.append((self.now, shift_seconds))
        return not isinstance(message, bytes)

    def sleep(self, seconds: float) -> None:
        assert 0 < seconds <= 3600
        self.now += seconds


def resend(times: list[float], **given: Any) -> tuple[Wire, Resend]:
    wire = Wire()
    sender = Resend(
        wire,  # type: ignore[arg-type]  # all that it uses
        monotonic=lambda: wire.now,
        wall=lambda: wire.now + 9000.0,
        sleep=wire.sleep,
        **given,
    )
    sender.send(Recorded(at, message(task("a"))) for at in times)
    return wire, sender


@pytest.mark.parametrize(
    ("speed", "sent"),
    [(1.0, [50.0, 52.0, 52.0, 60.0]), (2.0, [50.0, 51.0, 51.0, 55.0]), (float("inf"), [50.0] * 4)],
)
def test_the_pace_is_the_recorded_one_or_faster(speed: float, sent: list[float]) -> None:
    wire, _ = resend([100.0, 102.0, 101.0, 110.0], speed=speed)
    assert [at for at, _ in wire.sent] == sent


def test_times_stay_as_they_were_unless_shifted() -> None:
    wire, _ = resend([100.0, 102.0])
    assert [shift for _, shift in wire.sent] == [0.0, 0.0]
    wire, _ = resend([100.0, 102.0], shift_time=True)
    assert [shift for _, shift in wire.sent] == [8950.0, 8950.0]


def test_a_gap_of_centuries_is_slept_in_parts() -> None:
    wire, _ = resend([0.0, 36_000_000.0])
    assert wire.sent[-1][0] == pytest.approx(36_000_050.0)


def test_what_a_broker_cannot_carry_is_counted() -> None:
    wire = Wire()
    sender = Resend(wire, monotonic=lambda: wire.now, sleep=wire.sleep)  # type: ignore[arg-type]  # all that it uses
    sender.send([Recorded(1.0, b"an envelope"), Recorded(1.0, message(task("a")))])
    assert sender.skipped == 1


def test_what_goes_out_is_what_was_recorded() -> None:
    settings = Settings(broker_url="memory://", event_exchange="published")
    event = {"type": "task-sent", "timestamp": 5.0, "hostname": "w1@h", "uuid": "a"}
    plain = Framed(json.dumps(event).encode(), "application/json", "utf-8")
    packed = Framed(b"\x80", "application/x-python-serialize", "binary")
    taken: list[Any] = []
    with kombu.Connection("memory://") as connection:
        exchange = kombu.Exchange("published", type="topic")
        queue = kombu.Queue("all", exchange=exchange, routing_key="#")
        with (
            kombu.Consumer(connection, [queue], on_message=taken.append, no_ack=True),
            Publisher(settings) as publisher,
        ):
            assert publisher.publish(plain)
            assert publisher.publish(plain, shift_seconds=60.0)
            assert publisher.publish(packed)
            assert not publisher.publish(b"an envelope")
            assert publisher.published == 3
            while len(taken) < 3:
                connection.drain_events(timeout=5)
    first, second, third = taken
    assert (first.body, first.content_type, first.content_encoding) == plain
    assert first.delivery_info["routing_key"] == "task.sent"
    assert first.headers == {"hostname": "w1@h"}
    assert json.loads(second.body) == {**event, "timestamp": 65.0}
    assert (third.body, third.content_type, third.content_encoding) == packed
    assert third.delivery_info["routing_key"] == "task.multi"


def test_shifting_moves_the_moments_and_nothing_else() -> None:
    event = {
        "timestamp": 1.5,
        "eta": "2026-11-20T10:00:33.5+00:00",
        "expires": "2026-11-20T10:00:33",
        "runtime": 3.0,
    }
    assert shift_event(event, 60.0) == {
        "timestamp": 61.5,
        "eta": "2026-11-20T10:01:33.500000+00:00",
        "expires": "2026-11-20T10:01:33",
        "runtime": 3.0,
    }
    odd = {"timestamp": "soon", "eta": "tomorrow", "expires": 7}
    assert shift_event(odd, 60.0) == odd


# -- the command lines -----------------------------------------------------------------------


def call(command: click.Command, *args: str) -> Result:
    return CliRunner().invoke(command, args, catch_exceptions=True, env={"TZ": "UTC"})


def error_of(result: Result) -> ExporterError:
    assert isinstance(result.exception, ExporterError), result.output
    return result.exception


def test_help_warns_of_secrets() -> None:
    text = " ".join(call(events, "--help").stdout.split())
    assert "args, kwargs and results, which may hold secrets" in text


def test_events_of_a_recording_are_shown() -> None:
    result = call(events, "--recording", str(RETRIES), "--type", "TASK-F*", "--utc")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 1
    assert "TASK-FAILED      web.visit" in result.stdout


def test_jsonl_of_a_recording_is_the_recording() -> None:
    result = call(events, "--recording", str(RETRIES), "--format", "jsonl")
    assert result.stdout == RETRIES.read_text()


def test_a_recording_can_be_recorded(tmp_path: Path) -> None:
    path = tmp_path / "copy.jsonl"
    result = call(events, "--recording", str(RETRIES), "--limit", "100", "--record", str(path))
    assert result.exit_code == 0
    assert path.read_bytes() == RETRIES.read_bytes()
    assert f"recorded {RETRY_LINES} lines" in result.stderr
    again = call(events, "--recording", str(RETRIES), "--record", str(path))
    assert isinstance(error_of(again), FileError)
    forced = call(events, "--recording", str(RETRIES), "--record", str(path), "--force")
    assert forced.exit_code == 0


@pytest.mark.parametrize(
    "args",
    [
        ["--verbose", "--format", "jsonl"],
        ["--snapshot", "1", "--type", "task-*"],
        ["--snapshot", "1", "--verbose"],
        ["--snapshot", "0"],
        ["--limit", "0"],
        ["--duration", "-1"],
    ],
)
def test_options_that_make_no_sense_are_refused(args: list[str]) -> None:
    result = call(events, "--recording", str(RETRIES), *args)
    assert result.exit_code == 2
    assert "Error: " in result.stderr


@pytest.mark.parametrize("command", [events, replay])
def test_a_file_that_is_no_recording_is_one_sentence(
    command: click.Command, tmp_path: Path
) -> None:
    path = tmp_path / "noise"
    path.write_bytes(b"\x00\x1b[31m noise\n" * 20)
    args = ["--recording", str(path)] if command is events else [str(path)]
    result = call(command, *args)
    assert "none of its lines" in error_of(result).message
    assert len(result.stderr.splitlines()) == 6
    assert result.stdout == ""


def test_replay_prints_the_metrics_of_a_recording() -> None:
    result = call(replay, str(RETRIES))
    assert result.exit_code == 0
    assert 'celery_task_sent_total{task="web.visit",queue="web"} 4\n' in result.stdout
    assert (
        'celery_task_failed_total{task="web.visit",queue="web",exception="HTTPError"} 1\n'
        in result.stdout
    )
    assert "process_" not in result.stdout
    assert f"{RETRY_LINES} events, none refused, in " in result.stderr


@pytest.mark.parametrize("profile", ["native", "celery-exporter", "flower"])
def test_replay_prints_the_same_bytes_every_time(profile: str) -> None:
    first, second = (call(replay, str(RETRIES), "--profile", profile) for _ in range(2))
    assert first.stdout_bytes == second.stdout_bytes
    assert "web.visit" in first.stdout


def test_replay_prints_openmetrics() -> None:
    assert call(replay, str(RETRIES), "--openmetrics").stdout.endswith("# EOF\n")


def test_replay_counts_what_it_refuses(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(
        b'oops\n{"received_at": 1, "event": {"type": "task-sent"}}\n' + RETRIES.read_bytes()
    )
    result = call(replay, str(path))
    assert result.exit_code == 0
    assert f"{path}, line 1: it is not JSON" in result.stderr
    assert f"{RETRY_LINES} events, 2 refused (not_an_event 1, bad lines 1), in " in result.stderr
    assert 'celery_exporter_events_refused_total{reason="not_an_event"} 1\n' in result.stdout


@pytest.mark.parametrize(
    "args",
    [
        ["--speed", "2"],
        ["--shift-time"],
        ["--to", "memory://", "--openmetrics"],
        ["--to", "memory://", "--speed", "0"],
        ["--to", "memory://", "--speed", "nan"],
        ["--to", "memory://", "--speed", "fast"],
        ["--profile", "statsd"],
    ],
)
def test_replay_refuses_options_that_make_no_sense(args: list[str]) -> None:
    result = call(replay, str(RETRIES), *args)
    assert result.exit_code == 2
    assert "Error: " in result.stderr


@pytest.mark.parametrize("url", ["sqs://", "nothing", "redsi://h"])
def test_replay_refuses_a_broker_that_carries_no_events(url: str) -> None:
    assert error_of(call(replay, str(RETRIES), "--to", url)).exit_code == 4


def test_replay_publishes_to_a_broker_in_memory() -> None:
    result = call(replay, str(RETRIES), "--to", "memory://", "--speed", "max")
    assert result.exit_code == 0
    assert f"{RETRY_LINES} events published to memory://" in result.stderr
    assert "0 lines left out" in result.stderr


@pytest.mark.parametrize(
    ("asked", "environment", "terminal", "coloured"),
    [
        (None, {}, True, True),
        (None, {}, False, False),
        (None, {"NO_COLOR": "1"}, True, False),
        (None, {"NO_COLOR": ""}, True, True),
        (None, {"TERM": "dumb"}, True, False),
        (True, {"NO_COLOR": "1"}, False, True),
        (False, {}, True, False),
    ],
)
def test_colours_are_for_terminals(
    asked: bool | None, environment: dict[str, str], terminal: bool, coloured: bool
) -> None:
    stream: Any = io.StringIO()
    stream.isatty = lambda: terminal
    assert wants_colour(asked, stream, environment) is coloured
