"""The installed `events` and `replay`, with real brokers and real workers."""

import contextlib
import gzip
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import servers
from tests.support.counted import event_counts, observations, task_counts
from tests.support.process import free_port, scratch, wait_until
from tests.support.proxy import Proxy
from tests.support.rabbitmq import Vhost
from tests.support.scenarios import SCENARIOS
from tests.support.servers import Redis, run_command
from tests.support.stage import Listener, counts, play

PROGRAM = Path(sys.executable).with_name("z4j-exporter")
RECORDINGS = Path(__file__).parents[1] / "fixtures" / "recordings"
RETRIES = RECORDINGS / "retry_and_fail.jsonl"

#: [time] TYPE name (STATE=…, UUID=…, WORKER=…)
LINE = re.compile(
    r"\[(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3})Z\] (?P<type>\S+) +(?P<name>\S+) +"
    r"\(STATE=(?P<state>\w+), +UUID=(?P<uuid>[^,]+), (?:WORKER|CLIENT)=(?P<sender>[^,)]+).*\)"
)


@dataclass
class Watcher:
    """A running `events` with standard output and error apart."""

    popen: "subprocess.Popen[bytes]"
    directory: Path

    @property
    def stdout(self) -> str:
        return (self.directory / "stdout").read_text()

    @property
    def stderr(self) -> str:
        return (self.directory / "stderr").read_text()

    def wait_lines(self, number: int) -> list[str]:
        """Wait for so many lines and return all there are."""
        wait_until(
            lambda: len(self.stdout.splitlines()) >= number,
            message=lambda: f"not {number} lines:\n{self.stdout}\n{self.stderr}",
        )
        return self.stdout.splitlines()

    def wait_said(self, text: str, times: int = 1) -> None:
        """Wait until this stands on standard error."""
        wait_until(lambda: self.stderr.count(text) >= times, 30, lambda: self.stderr)

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal and return the exit code."""
        self.popen.send_signal(number)
        return self.popen.wait(10)


@contextmanager
def watching(*args: str, connected: bool = True) -> Iterator[Watcher]:
    """Run `events` with these arguments; wait until it is connected."""
    directory = scratch("events")
    with (directory / "stdout").open("wb") as out, (directory / "stderr").open("wb") as err:
        popen = subprocess.Popen(
            [PROGRAM, "events", *args], stdin=subprocess.DEVNULL, stdout=out, stderr=err
        )
    watcher = Watcher(popen, directory)
    try:
        if connected:
            watcher.wait_said("connected to ")
        yield watcher
    finally:
        popen.kill()
        popen.wait(10)


def recorded(path: Path) -> list[dict[str, Any]]:
    """Return the events of a recording."""
    packed = path.read_bytes()
    lines = gzip.decompress(packed) if path.suffix == ".gz" else packed
    return [json.loads(line)["event"] for line in lines.splitlines()]


def test_a_line_for_each_transition(valkey: Redis) -> None:
    with watching("-b", valkey.url, "--type", "task-*", "--utc") as watcher:
        received = play(valkey.url, SCENARIOS["retry_and_fail"])
        sent = [r.event for r in received if r.event["type"].startswith("task-")]
        lines = watcher.wait_lines(len(sent))
        assert watcher.end() == 130
    matches = [LINE.fullmatch(line) for line in lines]
    assert all(matches), lines
    shown = [match.groupdict() for match in matches if match]
    assert [each["type"].lower() for each in shown] == [event["type"] for event in sent]
    assert {each["name"] for each in shown} == {"web.visit"}
    assert {each["uuid"] for each in shown} == {sent[0]["uuid"]}
    assert (shown[0]["state"], shown[-1]["state"]) in {
        ("PENDING", "FAILURE"),
        ("RECEIVED", "FAILURE"),  # the worker was quicker than the client
    }
    assert "Traceback" not in watcher.stderr


def test_a_recording_replayed_counts_what_run_counted(valkey: Redis, tmp_path: Path) -> None:
    path = tmp_path / "story.jsonl.gz"
    names = ("visit_nested", "retry_and_fail", "rejected")
    with (
        servers.exporter("--broker-url", valkey.url) as exporter,
        watching("-b", valkey.url, "--record", str(path), "--type", "none") as watcher,
    ):
        received = play(valkey.url, *(SCENARIOS[name] for name in names))
        expected = Counter(r.event["type"] for r in received)
        wait_until(lambda: event_counts(exporter.scrape()) == expected)
        live = wait_settled(lambda: task_counts(exporter.scrape()))
        live_observations = observations(exporter.scrape())
        assert watcher.end() == 130
        assert watcher.stdout == ""
        assert f"recorded {len(received)} lines in {path}" in watcher.stderr
    assert recorded(path) == [r.event for r in received]
    first = run_command("replay", str(path))
    assert first.returncode == 0, first.stderr
    assert task_counts(first.stdout) == live
    assert observations(first.stdout) == live_observations
    assert event_counts(first.stdout) == expected
    assert run_command("replay", str(path)).stdout == first.stdout


def wait_settled(read: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Return what is read once it has not changed for longer than a name is waited for."""
    since, last = time.monotonic(), read()

    def settled() -> bool:
        nonlocal since, last
        now = read()
        if now != last:
            since, last = time.monotonic(), now
        return time.monotonic() - since > 3.5

    wait_until(settled, 20, every=0.2)
    return last


def test_replayed_into_valkey_it_is_seen_by_events(valkey: Redis) -> None:
    with watching("-b", valkey.url, "--format", "jsonl") as watcher:
        result = run_command("replay", str(RETRIES), "--to", valkey.url, "--speed", "max")
        assert result.returncode == 0, result.stderr
        assert "18 events published to redis://" in result.stderr
        assert result.stdout == ""
        lines = watcher.wait_lines(18)
        assert watcher.end() == 130
    assert [json.loads(line)["event"] for line in lines] == recorded(RETRIES)


@pytest.mark.parametrize(
    "options", [["global_keyprefix=shop:"], ["fanout_prefix=/{db}.shop."], ["fanout_prefix=false"]]
)
def test_replayed_with_a_prefix_it_is_seen_with_that_prefix_only(
    valkey: Redis, options: list[str]
) -> None:
    given = [part for option in options for part in ("--broker-transport-option", option)]
    with (
        watching("-b", valkey.url, *given, "--format", "jsonl") as told,
        watching("-b", valkey.url, "--format", "jsonl") as untold,
    ):
        result = run_command("replay", str(RETRIES), "--to", valkey.url, "--speed", "max", *given)
        assert result.returncode == 0, result.stderr
        told.wait_lines(18)
        plain = run_command("replay", str(RETRIES), "--to", valkey.url, "--speed", "max")
        assert plain.returncode == 0
        assert len(untold.wait_lines(18)) == 18
        assert len(told.stdout.splitlines()) == 18


def test_replayed_into_rabbitmq_it_is_seen_by_events_and_by_celery(vhost: Vhost) -> None:
    with (
        Listener(vhost.url) as listener,
        watching("-b", vhost.url, "--format", "jsonl") as watcher,
    ):
        result = run_command("replay", str(RETRIES), "--to", vhost.url, "--speed", "max")
        assert result.returncode == 0, result.stderr
        lines = watcher.wait_lines(18)
        listener.wait(lambda events: len(events) >= 18, "18 events")
        assert watcher.end() == 130
    assert [json.loads(line)["event"] for line in lines] == recorded(RETRIES)
    assert [r.event for r in listener.received] == recorded(RETRIES)
    password = vhost.url.split("@")[0].rpartition(":")[2]
    assert f":{password}@" not in result.stderr


def test_replayed_with_shifted_time_it_happens_now(valkey: Redis) -> None:
    before = time.time()
    with watching("-b", valkey.url, "--format", "jsonl") as watcher:
        # About 1.5 s of story at ten times the pace.
        args = ("--to", valkey.url, "--speed", "10", "--shift-time")
        assert run_command("replay", str(RETRIES), *args).returncode == 0
        lines = watcher.wait_lines(18)
    events = [json.loads(line)["event"] for line in lines]
    assert all(before - 1 < event["timestamp"] < time.time() + 1 for event in events)
    assert counts_of(events) == counts_of(recorded(RETRIES))


def counts_of(events: list[dict[str, Any]]) -> Counter[str]:
    return Counter(event["type"] for event in events)


def test_the_recorded_pace_is_kept(valkey: Redis) -> None:
    times = [json.loads(line)["received_at"] for line in RETRIES.read_text().splitlines()]
    started = time.monotonic()
    assert run_command("replay", str(RETRIES), "--to", valkey.url).returncode == 0
    assert time.monotonic() - started >= times[-1] - times[0]


def test_a_lost_connection_is_told_apart_from_the_events(
    valkey: Redis, proxied: Callable[[int], Proxy]
) -> None:
    proxy = proxied(valkey.port)
    url = f"redis://127.0.0.1:{proxy.port}/0"
    with watching("-b", url, "--format", "jsonl") as watcher:
        publish = ("replay", str(RETRIES), "--to", valkey.url, "--speed", "max")
        assert run_command(*publish).returncode == 0
        watcher.wait_lines(18)
        proxy.cut()
        watcher.wait_said("trying again")
        watcher.wait_said("connected to ", times=2)
        assert run_command(*publish).returncode == 0
        lines = watcher.wait_lines(36)
        assert watcher.end() == 130
    assert all(line.startswith('{"received_at": ') for line in lines)
    said = watcher.stderr.splitlines()
    assert all(line.startswith("z4j-exporter: ") for line in said), said
    assert len(said) <= 6


def test_without_a_broker_it_waits_and_ends_in_time() -> None:
    url = f"redis://:secret@127.0.0.1:{free_port()}/0"
    result = run_command("events", "-b", url, "--duration", "1.5")
    assert result.returncode == 0
    assert result.stdout == ""
    assert "trying again" in result.stderr
    assert "secret" not in result.stderr


def test_publishing_without_a_broker_is_one_sentence() -> None:
    url = f"redis://:secret@127.0.0.1:{free_port()}/0"
    result = run_command("replay", str(RETRIES), "--to", url)
    assert result.returncode == 9
    assert "cannot be published to" in result.stderr
    assert "secret" not in result.stderr
    assert "Traceback" not in result.stderr


def test_a_reader_that_goes_away_ends_it_quietly(valkey: Redis) -> None:
    command = [PROGRAM, "events", "-b", valkey.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as popen:
        assert popen.stdout is not None
        assert popen.stderr is not None
        try:
            assert b"connected" in popen.stderr.readline()
            publish = ("replay", str(RETRIES), "--to", valkey.url, "--speed", "max")
            assert run_command(*publish).returncode == 0
            assert popen.stdout.readline()
            popen.stdout.close()
            assert run_command(*publish).returncode == 0
            assert popen.wait(10) == 0
            assert popen.stderr.read() == b""
        finally:
            popen.kill()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_leaves_a_whole_recording(
    valkey: Redis, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    path = tmp_path / "r.jsonl.gz"
    with watching("-b", valkey.url, "--record", str(path)) as watcher:
        publish = ("replay", str(RETRIES), "--to", valkey.url, "--speed", "max")
        assert run_command(*publish).returncode == 0
        watcher.wait_lines(18)
        assert watcher.end(number) == code
        assert "Traceback" not in watcher.stderr
    assert recorded(path) == recorded(RETRIES)


def test_snapshots_of_a_real_worker(valkey: Redis) -> None:
    with watching("-b", valkey.url, "--snapshot", "0.5") as watcher:
        play(valkey.url, SCENARIOS["visit_nested"])
        number = len(watcher.stdout.splitlines())
        lines = watcher.wait_lines(number + 2)
        assert watcher.end() == 130
    last = json.loads(lines[-1])
    assert last["tasks"]["by_state"] == {"SUCCESS": 3}
    assert last["tasks"]["in_progress"] == []
    assert [worker["hostname"] for worker in last["workers"]["list"]] == ["w1@host1"]
    assert last["events"]["task-succeeded"] == 3


def test_a_story_of_the_rabbitmq_is_recorded_and_replayed(vhost: Vhost, tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    with watching("-b", vhost.url, "--record", str(path), "--type", "task-*") as watcher:
        received = play(vhost.url, SCENARIOS["visit_nested"])
        watcher.wait_lines(sum(counts(received).values()))
        assert watcher.end() == 130
    result = run_command("replay", str(path))
    assert task_counts(result.stdout) == {
        f"{step} {task}@web": 1
        for step in ("sent", "received", "started", "succeeded")
        for task in ("web.visit", "web.extract", "web.store")
    }


def test_published_with_tls_and_never_to_a_server_that_cannot_prove_itself() -> None:
    certificates = servers.certificates()
    trusted = ("--broker-ssl-option", f"ssl_ca_certs={certificates.ca}")
    with servers.redis_server(tls=True, password="s3cret/:@") as server:
        publish = ("replay", str(RETRIES), "--to", server.url, "--speed", "max")
        with watching("-b", server.url, *trusted, "--format", "jsonl") as watcher:
            result = run_command(*publish, *trusted)
            assert result.returncode == 0, result.stderr
            lines = watcher.wait_lines(18)
        refused = run_command(*publish)
    assert [json.loads(line)["event"] for line in lines] == recorded(RETRIES)
    assert refused.returncode == 9
    assert "TLS failed" in refused.stderr
    assert "0 events published" not in refused.stderr


def test_on_a_terminal_there_are_colours_and_a_progress_bar(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    path.write_bytes((RECORDINGS / "demo.jsonl").read_bytes() * 20)
    shown = on_terminal("events", "--recording", str(RETRIES), "--type", "task-failed")
    assert "\x1b[31mTASK-FAILED" in shown
    plain = on_terminal(
        "events", "--recording", str(RETRIES), "--type", "task-failed", NO_COLOR="1"
    )
    assert "TASK-FAILED" in plain
    assert "\x1b" not in plain
    assert "replayed" in on_terminal("replay", str(path))


def on_terminal(*args: str, **env: str) -> str:
    """Run the command with a terminal as its output and return what it wrote there."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200", **env}
    with subprocess.Popen(
        [PROGRAM, *args], stdin=follower, stdout=follower, stderr=follower, env=environment
    ) as popen:
        os.close(follower)
        written = bytearray()
        # Linux answers EIO once the last writer has closed the terminal.
        with contextlib.suppress(OSError):
            while part := os.read(leader, 65536):
                written += part
        os.close(leader)
        assert popen.wait(10) == 0
    return written.decode()
