"""One trace holds what one call started: a group, a chord with its body, groups in groups."""

from typing import Any

import pytest

from tests.support.grouping import GroupStage, envelope, run, signature
from tests.support.tracking import recorded
from z4j_exporter.events.model import Event
from z4j_exporter.track.trace_roots import TraceRoots, parse_traceparent

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"


def roots(*events: Event) -> TraceRoots:
    return GroupStage().play(events).roots


def header(uuid: str, body: dict[str, Any], group: str = "C", **fields: Any) -> Event:
    place = {"group_id": group, "group_index": 0, "chord_id": group}
    return envelope(uuid, chord_body=body, **place, **fields)


def test_without_a_group_and_a_traceparent_nothing_changes() -> None:
    known = roots(envelope("a"), run("a"), envelope("b", root_id="a", parent_id="a"))
    assert known.override("a", "a") is None
    assert known.override("b", "a") is None
    assert known.override("other", None) is None
    assert len(known) == 0


def test_members_of_a_top_level_group_share_its_trace() -> None:
    known = roots(*(envelope(u, group_id="G", group_index=n) for n, u in enumerate("ab")))
    for uuid in "ab":
        found = known.override(uuid, uuid)
        assert found is not None
        assert (found.root, found.parent, found.adopt) == ("G", None, False)
    child = known.override("c", "b")
    assert child is not None
    assert child.root == "G"


def test_a_recorded_chord_lands_in_one_trace() -> None:
    sent = [e for _, e in recorded("chord_redis") if e.type == "task-sent"]
    members = [e for e in sent if e.root_id == e.uuid]
    (body,) = [e for e in sent if e.root_id != e.uuid]
    follows = signature(body.uuid or "", body.name or "", group_id="C")
    known = roots(*(header(e.uuid or "", follows) for e in members))
    assert len(members) == 3
    found = [known.override(e.uuid or "", e.root_id) for e in [*members, body]]
    assert [each and each.root for each in found] == ["C"] * 4


def test_a_group_inside_a_task_stays_in_that_tasks_trace() -> None:
    known = roots(envelope("b", group_id="G", group_index=0, root_id="a", parent_id="a"))
    assert known.override("b", "a") is None


def test_a_chord_in_a_group_is_in_the_groups_trace() -> None:
    body = signature("body", group_id="G", group_index=1)
    known = roots(envelope("x", group_id="G", group_index=0), header("a", body))
    assert [known.override(u, u).root for u in "xa"] == ["G", "G"]  # type: ignore[union-attr]


def test_the_first_of_a_chain_in_a_group_is_in_the_groups_trace() -> None:
    chain = [signature("z", group_id="G", group_index=0)]
    found = roots(envelope("y", chain=chain)).override("z", "y")
    assert found is not None
    assert found.root == "G"


def test_a_chain_in_a_group_that_ends_in_a_group_is_in_its_trace() -> None:
    last = {"task": "celery.group", "subtask_type": "group"}
    options = {"task_id": "inner", "group_id": "G", "group_index": 1}
    found = roots(envelope("y", chain=[{**last, "options": options}])).override("z", "y")
    assert found is not None
    assert found.root == "G"


def test_the_applications_trace_is_continued() -> None:
    known = roots(envelope("a", traceparent=TRACEPARENT), run("a", traceparent=None))
    found = known.override("a", "a")
    assert found is not None
    assert found.parent is not None
    assert (found.parent.trace_id.hex(), found.parent.span_id.hex()) == (TRACE, SPAN)
    assert (found.adopt, found.parent.sampled) == (True, True)
    child = known.override("b", "a")
    assert child is not None
    assert child.parent == found.parent
    assert not child.adopt


def test_a_worker_tells_the_trace_of_a_publisher_without_the_hook() -> None:
    found = roots(run("a", traceparent=TRACEPARENT)).override("a", "a")
    assert found is not None
    assert found.adopt


def test_a_retry_does_not_change_the_trace() -> None:
    other = TRACEPARENT.replace("b7ad", "0000")
    retry = envelope("a", parent_id="a", retries=1, traceparent=other)
    for events in ([envelope("a", traceparent=TRACEPARENT), retry], [retry]):
        found = roots(*events).override("a", "a")
        assert (found.parent.span_id.hex() if found and found.parent else SPAN) == SPAN


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        TRACEPARENT.upper(),
        TRACEPARENT + "-more",
        TRACEPARENT + "\n",
        "ff" + TRACEPARENT[2:],
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}",
    ],
)
def test_a_traceparent_that_is_not_valid_is_none(text: str) -> None:
    assert parse_traceparent(text) is None
    assert roots(envelope("a", traceparent=text)).override("a", "a") is None


def test_a_later_version_may_say_more() -> None:
    parsed = parse_traceparent(f"01-{TRACE}-{SPAN}-00-more")
    assert parsed is not None
    assert not parsed.sampled


def test_roots_are_bounded_and_the_newest_stay() -> None:
    known = TraceRoots(max_roots=100)
    stage = GroupStage()
    stage.roots = known
    for number in range(1_000):
        stage.play([envelope(f"u{number}", group_id="G", group_index=number)])
    assert len(known) <= 100
    assert known.override("u999", "u999") is not None
    assert known.override("u0", "u0") is None


def test_groups_around_each_other_end_the_search() -> None:
    pair = [("C", "D"), ("D", "C")]
    events = [
        header(f"u{a}", signature(f"b{a}", group_id=b, group_index=0, chord={}), a) for a, b in pair
    ]
    found = roots(*events).override("uC", "uC")
    assert found is not None
    assert found.root in ("C", "D")
