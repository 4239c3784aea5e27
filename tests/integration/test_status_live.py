"""The status of an exporter beside a real Redis and a real worker: what is slow, stuck, failed."""

import gc
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import servers
from tests.support.celeryapp import client
from tests.support.process import free_port, wait_until
from tests.support.servers import Redis, Worker
from tests.support.tracking import RECORDINGS
from z4j_exporter.app import Exporter
from z4j_exporter.config import build_settings
from z4j_exporter.status import rates, tasks
from z4j_exporter.web.status import Status

Start = Callable[..., Exporter]


@pytest.fixture
def start() -> Iterator[Start]:
    """``start(…)`` starts an exporter in this process; what it changed here ends with the test."""
    running: list[Exporter] = []
    before = (gc.get_threshold(), sys.getswitchinterval())

    def make(**settings: Any) -> Exporter:
        address = f"127.0.0.1:{free_port()}"
        exporter = Exporter(build_settings({"listen_address": address, **settings}))
        running.append(exporter)
        exporter.start()
        return exporter

    yield make
    for each in running:
        each.stop()
    gc.unfreeze()
    gc.set_threshold(*before[0])
    sys.setswitchinterval(before[1])


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a second for long, and for an interval."""
    monkeypatch.setattr(rates, "INTERVAL_SECONDS", 1.0)
    for state in ("running", "reserved", "waiting"):
        monkeypatch.setitem(tasks.STUCK_AFTER_SECONDS, state, 1.0)


def until(exporter: Exporter, seen: Callable[[Status], Any], timeout: float = 30.0) -> Status:
    """Ask for the status until it shows something; return that status."""
    last: list[Status] = []

    def look() -> bool:
        last[:] = [exporter._status.status()]
        return bool(seen(last[0]))

    wait_until(look, timeout=timeout, message=lambda: f"{last}", every=0.2)
    return last[0]


def connected(exporter: Exporter) -> None:
    wait_until(lambda: exporter.ready().ready, timeout=10)


def test_what_a_worker_does_is_seen(valkey: Redis, start: Start) -> None:
    exporter = start(
        broker_url=valkey.url,
        trace_memory_spans=1000,
        queue_poll_interval=0.5,
        inspect_interval=1.0,
        worker_timeout=4.0,
    )
    connected(exporter)
    until(exporter, lambda s: s.rates)  # what came before the first look is in no interval
    app = client(valkey.url)
    worker: Worker = servers.worker(
        "tests.support.celeryapp", valkey.url, "--prefetch-multiplier", "1", concurrency=2
    )
    try:
        app.send_task("work.sleep", args=(1.5,), task_id="slow")
        app.send_task("math.add", args=(1, "x"), task_id="bad")
        for number in range(5):
            app.send_task("math.add", args=(number, 1))
        ended = until(
            exporter,
            lambda s: (
                s.totals.get("succeeded") == 6
                and s.failures
                and s.failures[0].trace_id
                and s.slowest[0].trace_id
                and s.workers[0].pool_size
            ),
        )
        (failure,) = ended.failures
        assert (failure.task_id, failure.name, failure.exception) == (
            "bad",
            "math.add",
            "TypeError",
        )
        assert (failure.worker, failure.queue, failure.attempt) == ("w1@test", "celery", 1)
        slow = ended.slowest[0]
        assert (slow.task_id, slow.name, slow.state) == ("slow", "work.sleep", "succeeded")
        assert 1.5 <= slow.seconds < 5
        assert len(ended.slowest) == 7
        traces = exporter._telemetry.traces
        assert traces is not None
        assert traces.find("bad") == [failure.trace_id]
        assert traces.otlp_json(slow.trace_id) is not None
        assert ended.totals["sent"] == ended.totals["received"] == ended.totals["started"] == 7
        assert ended.totals["failed"] == 1
        assert ended.losses == []
        assert ended.lag_median_seconds is not None
        assert ended.lag_p99_seconds is not None
        assert ended.lag_median_seconds <= ended.lag_p99_seconds

        for number in range(9):
            app.send_task("work.sleep", args=(120,), task_id=f"hangs-{number}")
        full = until(
            exporter,
            lambda s: (
                s.in_progress == {"running": 2, "reserved": 2, "waiting": 5}
                and len(s.stuck) == 9
                and s.queues
                and s.queues[0].oldest_age_seconds
                and (s.queues[0].ready, s.queues[0].unacked) == (5, 2)
                # A worker tells it with its next heartbeat.
                and s.workers[0].active == 2
            ),
        )
        assert full.in_progress_total == 9
        running = [row for row in full.stuck if row.state == "running"]
        assert {row.task_id for row in running} == {"hangs-0", "hangs-1"}
        assert {(row.worker, row.queue) for row in running} == {("w1@test", "celery")}
        (queue,) = full.queues
        assert (queue.name, queue.ready, queue.unacked) == ("celery", 5, 2)
        assert (queue.workers, queue.pool_size) == (1, 2)
        assert full.queues_ok is True
        (row,) = full.workers
        assert (row.name, row.up, row.active, row.pool_size) == ("w1@test", True, 2, 2)
        assert (row.pool, row.missing_events) == ("prefork", 0)
        told = {c.what: c.ok for c in full.connections}
        assert told == {"Events (Redis)": True, "Queues": True, "Workers (inspect)": True}
        until(exporter, lambda s: sum(rate.started or 0 for rate in s.rates) == 9)

        worker.popen.send_signal(signal.SIGKILL)
        lost = until(exporter, lambda s: s.totals.get("lost") == 2)
        assert (lost.workers_total, lost.workers_up) == (1, 0)
        assert [(f.name, f.exception) for f in lost.failures] == [
            ("work.sleep", "lost"),
            ("work.sleep", "lost"),
            ("math.add", "TypeError"),
        ]
        assert {f.attempt for f in lost.failures} == {1}
    finally:
        worker.kill()


def test_many_who_ask_at_once_get_one_picture(valkey: Redis, start: Start) -> None:
    exporter = start(broker_url=valkey.url)
    connected(exporter)
    exporter._status.status()
    exporter._status._fresh_until = 0.0
    found: list[Status] = []
    barrier = threading.Barrier(16)

    def ask() -> None:
        barrier.wait(10)
        found.append(exporter._status.status())

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 16
    assert len({id(each) for each in found}) == 1


def test_a_broker_that_goes_is_told_and_leaves_a_gap(start: Start) -> None:
    broker = servers.valkey()
    exporter = start(broker_url=broker.url, queue_poll_interval=0.5)
    try:
        connected(exporter)
        until(exporter, lambda s: s.queues_ok and s.rates and s.rates[-1].started == 0)
    finally:
        broker.kill()
    status = until(
        exporter,
        lambda s: s.losses and s.queues_ok is False and s.rates[-1].started is None,
    )
    assert not status.ready
    assert status.losses[0].family == "celery_exporter_source_gaps_total"
    events, queues = status.connections[:2]
    assert (events.ok, queues.ok) == (False, False)
    assert events.detail
    assert queues.detail
    assert status.notes == ()


@pytest.mark.parametrize("profile", ["native", "celery-exporter", "flower"])
def test_a_recording_has_a_status_under_every_profile(start: Start, profile: str) -> None:
    exporter = start(recording=RECORDINGS / "retry_and_fail.jsonl", metrics_profile=profile)
    status = until(
        exporter,
        lambda s: s.totals.get("failed") and s.connections[0].detail == "read to its end",
    )
    assert [(c.what, c.ok, c.detail) for c in status.connections] == [
        ("Events (recording)", True, "read to its end")
    ]
    assert {f.exception for f in status.failures}
    assert status.notes == ()
    assert status.queues_ok is None
