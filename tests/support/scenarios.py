"""Scenarios played by real Celery workers, and recorded as the events they send.

``python -m tests.support.scenarios --record DIR [--broker-url URL] [NAME ...]`` plays each scenario
on its own worker and writes ``DIR/NAME.jsonl``; without a URL it starts a Valkey of its own.
A test plays them with `stage.play`.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from celery import chain, chord, group

from tests.support import servers
from tests.support.process import remove_scratch
from tests.support.stage import Scenario, Stage, counts, play
from tests.support.traced import IMPORTED

SCENARIOS: dict[str, Scenario] = {}


def scenario(
    *, backend: bool = False, settings: Mapping[str, Any] | None = None, **events: int
) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
    """Register a scenario with the events it sends.

    ``sent=1`` stands for one ``task-sent``, ``order_shipped=1`` for one ``order-shipped``.
    """

    def register(act: Callable[[Stage], None]) -> Callable[[Stage], None]:
        expected = {
            kind.replace("_", "-") if "_" in kind else f"task-{kind}": n
            for kind, n in events.items()
        }
        SCENARIOS[act.__name__] = Scenario(act.__name__, expected, act, settings or {}, backend)
        return act

    return register


#: The four of "Handling Celery events": recorded on every broker.
GOLDEN = ("visit_nested", "retry_and_fail", "rejected", "revoked_by_expiry")


@scenario(sent=3, received=3, started=3, succeeded=3)
def visit_nested(stage: Stage) -> None:
    stage.worker()
    stage.task("web.visit", "http://shop/").apply_async()


@scenario(sent=4, received=4, started=4, retried=3, failed=1)
def retry_and_fail(stage: Stage) -> None:
    stage.worker()
    stage.task("web.visit", "http://shop/missing").apply_async()


@scenario(sent=1, received=1, started=1, failed=1, rejected=1)
def rejected(stage: Stage) -> None:
    stage.worker()
    stage.task("web.visit", "http://nowhere").apply_async()


@scenario(sent=3, received=3, started=2, retried=2, revoked=1)
def revoked_by_expiry(stage: Stage) -> None:
    stage.worker()
    stage.task("web.visit", "http://shop/missing", delays=(0.1, 2, 2)).apply_async(expires=1)


@scenario(sent=1, received=1, started=1, succeeded=1)
def simple(stage: Stage) -> None:
    stage.worker()
    stage.task("math.add", 1, 2).apply_async()


@scenario(settings=IMPORTED, sent=4, received=4, started=4, retried=3, succeeded=1)
def retry_and_succeed(stage: Stage) -> None:
    stage.worker()
    stage.task("trace.flaky").apply_async()


@scenario(settings=IMPORTED, sent=4, received=4, started=4, retried=1, succeeded=3)
def child_of_each_attempt(stage: Stage) -> None:
    stage.worker()
    stage.task("trace.parent").apply_async()


@scenario(sent=1, received=1, started=1, failed=2)
def hard_time_limit(stage: Stage) -> None:
    stage.worker()
    stage.task("end.hard_limit").apply_async()


@scenario(sent=1, received=1, started=1, failed=1)
def soft_time_limit(stage: Stage) -> None:
    stage.worker()
    stage.task("end.soft_limit").apply_async()


@scenario(sent=1, received=1, started=1)
def ignored(stage: Stage) -> None:
    stage.worker()
    stage.task("end.ignored").apply_async()


@scenario(sent=1, received=1, started=1)
def ignored_and_idle(stage: Stage) -> None:
    # Long enough for the heartbeats to say that nothing runs any more.
    stage.worker()
    stage.task("end.ignored").apply_async()
    time.sleep(15)


@scenario(sent=1, received=2, started=2, rejected=1, succeeded=1)
def requeued_once(stage: Stage) -> None:
    stage.worker()
    stage.task("end.requeued").apply_async()


@scenario(sent=2, received=2, started=2, succeeded=1)
def replaced(stage: Stage) -> None:
    stage.worker()
    stage.task("work.replaced").apply_async()


@scenario(sent=1, received=1, started=1, failed=1)
def child_killed(stage: Stage) -> None:
    stage.worker()
    stage.task("end.child_killed").apply_async()


@scenario(sent=1, received=2, started=2, rejected=1, succeeded=1)
def child_killed_late(stage: Stage) -> None:
    stage.worker()
    stage.task("end.child_killed_late").apply_async()


@scenario(backend=True, sent=1, received=1, started=1, succeeded=1)
def killed_after_success(stage: Stage) -> None:
    stage.worker()
    stage.task("end.killed_after_success").apply_async()


@scenario(sent=1, received=1, started=1)
def worker_killed(stage: Stage) -> None:
    stage.worker()
    stage.task("work.sleep", 60).apply_async()
    stage.until("task-started")
    stage.until("worker-heartbeat", active=1)
    stage.kill("w1@host1")


@scenario(sent=1, received=1, started=1, succeeded=1)
def worker_paused(stage: Stage) -> None:
    # As a machine that is suspended: silent for longer than a heartbeat takes, then back.
    stage.worker()
    stage.task("work.sleep", 4).apply_async()
    stage.until("task-started")
    stage.until("worker-heartbeat", active=1)
    stage.workers["w1@host1"].pause()
    time.sleep(6)
    stage.workers["w1@host1"].resume()


@scenario(
    settings={"broker_transport_options": {"visibility_timeout": 1}},
    sent=1, received=2, started=2, succeeded=1,
)  # fmt: skip
def worker_killed_redelivered(stage: Stage) -> None:
    stage.worker()
    stage.task("work.sleep_late", 2).apply_async()
    stage.until("task-started")
    time.sleep(1.2)  # past the visibility timeout: the next worker's start gives the message back
    stage.kill("w1@host1")
    stage.worker("w2@host2")


@scenario(
    settings={"broker_transport_options": {"visibility_timeout": 1}},
    sent=1, received=2, revoked=2,
)  # fmt: skip
def revoked_by_two(stage: Stage) -> None:
    stage.worker()
    # Long enough for the other worker to start on a busy machine.
    result = stage.task("math.add", 1, 2).apply_async(countdown=15)
    stage.until("task-received")
    stage.app.control.cancel_consumer("celery", destination=["w1@host1"])
    time.sleep(1.2)  # past the visibility timeout: the next worker's start gives the message back
    stage.worker("w2@host2")
    stage.until("task-received", 2)
    result.revoke()


@scenario(sent=1, received=1, started=1, revoked=1)
def terminated(stage: Stage) -> None:
    stage.worker()
    result = stage.task("work.sleep", 60).apply_async()
    stage.until("task-started", uuid=result.id)
    result.revoke(terminate=True)


@scenario(sent=1, received=1, revoked=1)
def revoked_before_start(stage: Stage) -> None:
    stage.worker()
    result = stage.task("math.add", 1, 2).apply_async(countdown=1)
    stage.until("task-received", uuid=result.id)
    result.revoke()


@scenario(sent=2, received=2, started=2, succeeded=2)
def eta(stage: Stage) -> None:
    stage.worker()
    stage.task("math.add", 1, 2).apply_async(countdown=1.5)
    stage.task("math.add", 1, 2).apply_async(countdown=0.5, expires=60)


@scenario(sent=3, received=3, started=3, succeeded=3)
def chained(stage: Stage) -> None:
    stage.worker()
    add = stage.task("math.add", 1)
    chain(stage.task("math.add", 1, 2), add, add, app=stage.app).apply_async()


@scenario(sent=4, received=4, started=4, succeeded=4)
def group_inside(stage: Stage) -> None:
    stage.worker()
    stage.task("work.fan_out", 3).apply_async()


@scenario(sent=3, received=3, started=3, succeeded=3)
def group_on_top(stage: Stage) -> None:
    stage.worker()
    group([stage.task("math.add", i, i) for i in range(3)], app=stage.app).apply_async()


@scenario(sent=3, received=3, started=3, succeeded=3)
def group_joined(stage: Stage) -> None:
    # As an application with a trace of its own sends it: its trace id as the root, its span id
    # as the parent (docs/tracing.md).
    stage.worker()
    group([stage.task("math.add", i, i) for i in range(3)], app=stage.app).apply_async(
        root_id="0af76519-16cd-43dd-8448-eb211c80319c",
        parent_id="00000000-0000-0000-b7ad-6b7169203331",
    )


@scenario(sent=3, received=3, started=3, succeeded=3)
def parent_loops(stage: Stage) -> None:
    # Ids that no Celery application gives by itself: two tasks that are each other's parent, and
    # one that is its own.
    stage.worker()
    one, two, own = (f"{n}0000000-0000-4000-8000-000000000000" for n in (1, 2, 3))
    add = stage.task("math.add", 1, 2)
    add.apply_async(task_id=one, root_id=one, parent_id=two)
    add.apply_async(task_id=two, root_id=one, parent_id=one)
    add.apply_async(task_id=own, root_id=own, parent_id=own)


@scenario(backend=True, sent=4, received=4, started=4, succeeded=4)
def chord_redis(stage: Stage) -> None:
    stage.worker()
    header = [stage.task("math.add", i, i) for i in range(3)]
    chord(header, stage.task("math.total"), app=stage.app).apply_async()


@scenario(backend=True, sent=2, received=2, started=2, succeeded=1, failed=1)
def chord_failed(stage: Stage) -> None:
    stage.worker()
    header = [stage.task("math.add", 1, 1), stage.task("errors.raise", "in a header")]
    chord(header, stage.task("math.total"), app=stage.app).apply_async()


@scenario(sent=1, received=1, started=1, progress=1, succeeded=1, order_shipped=1)
def custom_events(stage: Stage) -> None:
    stage.worker()
    stage.task("work.report").apply_async()


@scenario(sent=3, received=3, started=3, succeeded=3)
def custom_ids(stage: Stage) -> None:
    stage.worker()
    for task_id in ("order-42", "заказ/7 ✓", "x" * 300):
        stage.task("math.add", 1, 2).apply_async(task_id=task_id)


KINDS = (
    "odd_repr",
    "broken_repr",
    "nested",
    "dotted",
    "multi_line",
    "group",
    "unpicklable",
    "cause",
)


@scenario(sent=8, received=8, started=8, failed=8)
def odd_exceptions(stage: Stage) -> None:
    stage.worker()
    for kind in KINDS:
        stage.task("errors.raise", kind).apply_async()


@scenario(sent=1, received=1, started=1, failed=1)
def system_exit(stage: Stage) -> None:
    stage.worker()
    stage.task("errors.raise", "exit").apply_async()


@scenario(settings={"task_send_sent_event": False}, received=4, started=4, retried=3, failed=1)
def without_sent(stage: Stage) -> None:
    stage.worker()
    stage.task("web.visit", "http://shop/missing").apply_async()


@scenario(sent=1, received=1, started=1, succeeded=1)
def outside_ascii(stage: Stage) -> None:
    stage.worker()
    stage.task("почта.отправить", "Jürgen", subject="Привет 👋").apply_async()


@scenario(sent=1)
def opted_out(stage: Stage) -> None:
    stage.worker()
    stage.task("work.quiet").apply_async()
    time.sleep(1)


@scenario(
    settings={"worker_cancel_long_running_tasks_on_connection_loss": True},
    sent=1, received=2, started=2, succeeded=1,
)  # fmt: skip
def connection_lost(stage: Stage) -> None:
    # The worker cancels the task, and loses its own task-cancelled together with the connection.
    stage.worker()
    stage.task("work.sleep_late", 1).apply_async()
    stage.until("task-started")
    with stage.app.connection() as connection:
        redis = connection.default_channel.client
        own = redis.client_id()
        # Only this database's: other scenarios may use the server at the same time.
        for one in redis.client_list(_type="normal"):
            if one["db"] == connection.virtual_host and int(one["id"]) != own:
                redis.client_kill_filter(_id=one["id"])


@scenario(sent=1, received=2, started=2, cancelled=1, succeeded=1)
def cancelled_at_shutdown(stage: Stage) -> None:
    stage.worker()
    stage.task("work.sleep_late", 1).apply_async()
    stage.until("task-started")
    stage.quit("w1@host1")
    stage.worker("w2@host2")


def main() -> None:
    """Record the named scenarios, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", type=Path, required=True, metavar="DIR")
    parser.add_argument("--broker-url")
    parser.add_argument("--suffix", default="", help="ends the file names, such as .rabbitmq")
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        stack.callback(remove_scratch)
        url = options.broker_url or stack.enter_context(servers.valkey()).url
        for name in options.names or SCENARIOS:
            started = time.monotonic()
            try:
                received = play(url, SCENARIOS[name])
            except TimeoutError as error:
                print(f"{name}: {error}", file=sys.stderr)  # noqa: T201 - the command's output
                continue
            path = options.record / f"{name}{options.suffix}.jsonl"
            path.write_text("".join(r.line() + "\n" for r in received), encoding="utf-8")
            took = time.monotonic() - started
            print(f"{name} ({took:.1f} s): {counts(received)}")  # noqa: T201 - the command's output


if __name__ == "__main__":
    main()
