"""What `events` prints: lines, states, filters, snapshots."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from z4j_exporter.cli.selection import Selection
from z4j_exporter.cli.show import EventLines, Seen, printable, state_name
from z4j_exporter.cli.snapshot import snapshot
from z4j_exporter.cli.watch import json_line, jsonl
from z4j_exporter.events.decode import event_from_object
from z4j_exporter.track.cluster import Cluster

RECORDINGS = Path(__file__).parents[1] / "fixtures" / "recordings"
UUID = "7f4ef5e8-2c43-4b6e-8a8e-9f0a3ea3b0a1"


class Stream:
    """Events applied one after another, as `events` does."""

    def __init__(self) -> None:
        self.cluster = Cluster(lambda _transition: None)
        self.seen: list[Seen] = []

    def event(self, kind: str, at: float = 1000.0, **fields: Any) -> Seen:
        fields = {"type": kind, "timestamp": at, "hostname": "w1@host1", **fields}
        event = event_from_object(fields)
        self.cluster.apply(event, at, at)
        uuid = fields.get("uuid")
        task = self.cluster.task(uuid) if isinstance(uuid, str) else None
        seen = Seen(fields, event, task, self.cluster.worker(event.hostname))
        self.seen.append(seen)
        return seen

    def task(self, kind: str, at: float = 1000.0, **fields: Any) -> Seen:
        return self.event(f"task-{kind}", at, **{"uuid": UUID, **fields})


@pytest.fixture
def stream() -> Stream:
    return Stream()


def rendered(seen: Seen, **options: Any) -> str:
    return EventLines(utc=True, **options).render(seen)


# -- the line --------------------------------------------------------------------------------


def test_a_line_has_time_type_task_state_uuid_and_sender(stream: Stream) -> None:
    seen = stream.task("received", 1604434960.190246, name="web.visit", retries=0)
    assert rendered(seen) == (
        "[2020-11-03 20:22:40.190Z] TASK-RECEIVED    web.visit                     "
        f" (STATE=RECEIVED, UUID={UUID}, WORKER=w1@host1)\n"
    )


def test_a_client_is_not_called_a_worker(stream: Stream) -> None:
    seen = stream.task("sent", name="web.visit", queue="web", hostname="gen1@host1")
    assert "CLIENT=gen1@host1" in rendered(seen)


def test_the_name_is_known_from_the_task_where_the_event_lacks_it(stream: Stream) -> None:
    stream.task("received", name="web.visit")
    assert "TASK-STARTED     web.visit " in rendered(stream.task("started", 1001.0))


def test_a_task_that_nobody_named_is_unknown(stream: Stream) -> None:
    assert "TASK-STARTED     unknown " in rendered(stream.task("started"))


def test_a_worker_event_shows_the_worker(stream: Stream) -> None:
    seen = stream.event("worker-heartbeat", active=2, processed=40)
    line = rendered(seen)
    assert "WORKER-HEARTBEAT w1@host1 " in line
    assert re.search(r"\(STATE=UP, +ACTIVE=2, PROCESSED=40\)", line)
    assert "(STATE=DOWN)" in rendered(stream.event("worker-offline", 1001.0))


def test_a_custom_event_shows_the_task_it_names(stream: Stream) -> None:
    stream.task("received", name="shop.order")
    line = rendered(stream.event("order-shipped", 1001.0, uuid=UUID, order=42))
    assert "ORDER-SHIPPED    shop.order" in line
    assert f"(STATE=RECEIVED, UUID={UUID}, WORKER=w1@host1)" in line


def test_a_custom_event_may_carry_anything(stream: Stream) -> None:
    line = rendered(stream.event("my-event", uuid=["no", "id"], name=7, hostname=None))
    assert line.split("] ")[1].split() == ["MY-EVENT", "()"]


def test_a_failure_shows_the_class_but_never_the_message(stream: Stream) -> None:
    line = rendered(stream.task("failed", exception="ValueError('password=hunter2')"))
    assert "EXCEPTION=ValueError)" in line
    assert "hunter2" not in line


def test_args_and_results_show_only_when_asked_for(stream: Stream) -> None:
    seen = stream.task("received", name="login", args="('hunter2',)", kwargs="{}")
    assert "hunter2" not in rendered(seen)
    assert "hunter2" in rendered(seen, verbose=True)
    done = stream.task("succeeded", 1001.0, result="'hunter2'", runtime=0.25)
    assert "hunter2" not in rendered(done)
    assert "RUNTIME=0.250s" in rendered(done)


def test_local_time_is_the_machines(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        line = EventLines().render(stream.task("started", 1604434960.25))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert line.startswith("[2020-11-04 01:52:40.250] ")


@pytest.mark.parametrize("timestamp", [0.0, 253_402_300_799.9])
def test_the_first_and_the_last_moment_can_be_shown(stream: Stream, timestamp: float) -> None:
    seen = stream.task("started", timestamp)
    assert EventLines().render(seen).startswith("[")
    assert EventLines(utc=True).render(seen).startswith("[")


def test_colours_are_all_that_colour_adds(stream: Stream) -> None:
    seen = stream.task("failed", exception="ValueError()")
    coloured = rendered(seen, colour=True, verbose=True)
    assert "\x1b[31m" in coloured
    assert re.sub(r"\x1b\[\d*m", "", coloured) == rendered(seen, verbose=True)


# -- states ----------------------------------------------------------------------------------


def test_states_have_celerys_names(stream: Stream) -> None:
    steps = [
        ("sent", {"name": "t", "queue": "q", "retries": 0}, "PENDING"),
        ("received", {"name": "t", "retries": 0}, "RECEIVED"),
        ("started", {}, "STARTED"),
        ("retried", {"exception": "E()"}, "RETRY"),
        ("received", {"name": "t", "retries": 1}, "RECEIVED"),
        ("started", {}, "STARTED"),
        ("succeeded", {"runtime": 1.0}, "SUCCESS"),
    ]
    for number, (kind, fields, state) in enumerate(steps):
        seen = stream.task(kind, 1000.0 + number, **fields)
        assert seen.task is not None
        assert state_name(seen.task) == state


@pytest.mark.parametrize(
    ("kind", "state"),
    [("failed", "FAILURE"), ("revoked", "REVOKED"), ("rejected", "REJECTED")],
)
def test_ends_have_celerys_names(stream: Stream, kind: str, state: str) -> None:
    assert f"(STATE={state}," in rendered(stream.task(kind))


# -- verbose ---------------------------------------------------------------------------------


def test_verbose_has_every_field_of_event_and_task(stream: Stream) -> None:
    stream.task("received", name="web.visit", args="(1,)", root_id="r1", parent_id="p1", retries=0)
    seen = stream.task("failed", 1001.0, exception="E('x')", traceback="Traceback:\n  line\nE: x")
    text = rendered(seen, verbose=True)
    lines = text.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [lines[0]]
    for field in seen.fields:
        assert f"\n        {field}: " in text
    assert "        traceback: Traceback:\n              line\n            E: x\n" in text
    for expected in ("queue: None", "root_id: r1", "parent_id: p1", "state: FAILURE"):
        assert f"\n        {expected}\n" in text
    assert re.search(r"attempt 1: retries=0, worker=w1@host1, received=.*, end=failed\n", text)


def test_verbose_has_every_field_of_the_worker(stream: Stream) -> None:
    text = rendered(stream.event("worker-online", sw_ver="5.7.0", pid=77), verbose=True)
    assert "\n    worker:\n" in text
    assert "\n        sw_ver: 5.7.0\n" in text
    assert "\n        up: True\n" in text


def test_a_field_nested_too_deep_is_no_end_of_the_world(stream: Stream) -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert "nested too deep" in rendered(stream.event("my-event", deep=deep), verbose=True)


# -- the terminal ----------------------------------------------------------------------------

HOSTILE = "\x1b]0;owned\x07\x9b31m\r\n\u202e\u2028\udc80\x7f"


@given(st.text(st.characters(codec=None, exclude_categories=())))
def test_printable_text_is_printable_and_otherwise_the_same(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    shown.encode("utf-8")
    if text.isprintable():
        assert shown == text


@pytest.mark.parametrize("verbose", [False, True])
def test_nothing_from_the_wire_reaches_the_terminal_raw(stream: Stream, verbose: bool) -> None:
    seen = stream.task("received", name=HOSTILE, hostname=HOSTILE, args=HOSTILE, uuid=HOSTILE)
    custom = stream.event(HOSTILE, hostname=HOSTILE, **{HOSTILE[:-2]: {"a": HOSTILE}})
    for text in (rendered(seen, verbose=verbose), rendered(custom, verbose=verbose)):
        assert all(line.isprintable() for line in text.split("\n"))
    for text in (jsonl(seen, 1.0), jsonl(custom, 1.0)):
        assert text.endswith("\n")
        assert text[:-1].isprintable()
        assert text.isascii()


def test_jsonl_shows_what_json_cannot_say_as_text(stream: Stream) -> None:
    seen = stream.event("my-event", raw=b"\x00", nan=math.nan, fine=[1])
    event = json.loads(jsonl(seen, 2.0))["event"]
    assert event["raw"] == r"b'\x00'"
    assert event["nan"] == "nan"
    assert event["type"] == "my-event"


# -- filters ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selection", "shown"),
    [
        (Selection(), ["worker-online", "task-received", "task-failed", "order-shipped"]),
        (Selection(types=["task-failed"]), ["task-failed"]),
        (Selection(types=["task-*", "order-*"]), ["task-received", "task-failed", "order-shipped"]),
        (Selection(tasks=["web.*"]), ["task-received", "task-failed"]),
        (Selection(tasks=["shop.*"]), []),
        (Selection(workers=["w1@*"]), ["worker-online", "task-received", "task-failed"]),
        (Selection(workers=["w2@*", "w3@*"]), ["order-shipped"]),
        (Selection(uuids=[UUID[:8]]), ["task-received", "task-failed"]),
        (Selection(uuids=["0000"]), []),
        (
            Selection(types=["task-*"], tasks=["web.visit"], uuids=[UUID, "x"]),
            ["task-received", "task-failed"],
        ),
    ],
)
def test_a_filter_chooses(stream: Stream, selection: Selection, shown: list[str]) -> None:
    stream.event("worker-online")
    stream.task("received", name="web.visit")
    stream.task("failed", 1001.0, exception="E()")
    stream.event("order-shipped", hostname="w2@host2")
    assert [seen.event.type for seen in stream.seen if selection.matches(seen)] == shown


# -- snapshots -------------------------------------------------------------------------------


def test_a_snapshot_counts_and_lists_what_is_in_progress(stream: Stream) -> None:
    stream.event("worker-online", 1000.0, active=1, processed=5, sw_ver="5.7.0")
    stream.task("received", 1001.0, uuid="young", name="b", retries=2)
    stream.task("received", 1000.5, uuid="old", name="a")
    stream.task("started", 1000.6, uuid="old")
    stream.task("received", 1000.0, uuid="done", name="a")
    stream.task("succeeded", 1000.2, uuid="done", runtime=0.1)
    taken = snapshot(stream.cluster, 1002.0)
    assert taken["timestamp"] == 1002.0
    assert taken["events"] == {
        "task-received": 3,
        "task-started": 1,
        "task-succeeded": 1,
        "worker-online": 1,
    }
    assert taken["tasks"]["by_state"] == {"RECEIVED": 1, "STARTED": 1, "SUCCESS": 1}
    assert taken["tasks"]["truncated"] is False
    old, young = taken["tasks"]["in_progress"]
    assert (old["uuid"], old["state"], old["for_seconds"]) == ("old", "STARTED", 1.4)
    assert (young["uuid"], young["retries"], young["worker"]) == ("young", 2, "w1@host1")
    assert (taken["workers"]["up"], taken["workers"]["down"]) == (1, 0)
    (worker,) = taken["workers"]["list"]
    assert (worker["hostname"], worker["processed"], worker["up"]) == ("w1@host1", 5, True)


def test_a_snapshot_is_bounded_and_says_so(stream: Stream) -> None:
    for number in range(5):
        stream.task("received", 1000.0 + number, uuid=f"t{number}", name="a")
        stream.event("worker-online", hostname=f"w{number}@host")
    taken = snapshot(stream.cluster, 1010.0, max_listed=2)
    assert [task["uuid"] for task in taken["tasks"]["in_progress"]] == ["t0", "t1"]
    assert taken["tasks"]["truncated"] is True
    assert taken["tasks"]["by_state"] == {"RECEIVED": 5}
    assert len(taken["workers"]["list"]) == 2
    assert taken["workers"]["truncated"] is True


def test_a_snapshot_is_one_line_of_json_whatever_workers_say(stream: Stream) -> None:
    stream.event("worker-online", hostname=HOSTILE, loadavg=[math.inf, math.nan], freq=math.nan)
    text = json_line(snapshot(stream.cluster, 1.0))
    assert text.endswith("\n")
    assert text[:-1].isprintable()
    (worker,) = json.loads(text, parse_constant=pytest.fail)["workers"]["list"]
    assert (worker["loadavg"], worker["freq"]) == ([None, None], None)
