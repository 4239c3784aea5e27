"""Groups and chords are followed as Celery really publishes them (see group_membership.py)."""

from typing import Any

import pytest

from tests.support.grouping import GroupStage, end, envelope, life, run, signature, task
from z4j_exporter.events.model import Event
from z4j_exporter.track.group_model import MIXED

#: Seconds after which everything has settled.
LATER = 15


def member(uuid: str, index: int, group: str = "G", at: float = 0.0, **fields: Any) -> Event:
    return envelope(uuid, at, group_id=group, group_index=index, **fields)


def header(
    uuid: str, index: int, chord: str = "C", body: dict[str, Any] | None = None, **fields: Any
) -> Event:
    body = body or signature("body", "total", group_id=chord)
    return member(uuid, index, chord, chord_id=chord, chord_body=body, **fields)


def test_a_group_starts_and_finishes() -> None:
    stage = GroupStage().play([member("a", 0), member("b", 1, at=0.1)])
    stage.play(life("a")).play(life("b", 1.0))
    assert stage.groups_told == []  # more could come
    stage.wait(LATER)
    assert stage.told_of("G") == ["started", "succeeded"]
    (told,) = stage.finished
    assert (told.task, told.group_kind, told.members, told.failed_members) == ("add", "group", 2, 0)
    assert told.duration == pytest.approx(1.5)


def test_one_failure_makes_it_fail() -> None:
    stage = GroupStage().play([member("a", 0), member("b", 1)])
    stage.play(life("a", outcome="failed")).play(life("b")).wait(LATER)
    assert stage.told_of("G") == ["started", "member_failed", "failed"]
    assert stage.finished[0].failed_members == 1


@pytest.mark.parametrize("outcome", ["failed", "revoked", "rejected"])
def test_what_counts_as_a_failure(outcome: str) -> None:
    stage = GroupStage().play([member("a", 0)]).play(life("a", outcome=outcome)).wait(LATER)
    assert stage.finished[0].outcome == "failed"


def test_a_group_with_a_gap_is_not_finished() -> None:
    stage = GroupStage().play([member("a", 0), member("c", 2)])
    stage.play([*life("a"), *life("c")]).wait(LATER)
    assert stage.finished == []
    stage.play([member("b", 1), *life("b")]).wait(LATER)
    assert [t.members for t in stage.finished] == [3]


def test_a_slow_publisher_is_waited_for() -> None:
    stage = GroupStage()
    for number in range(4):
        uuid = f"u{number}"
        stage.play([member(uuid, number), *life(uuid)]).wait(4)
    assert stage.finished == []
    stage.wait(LATER)
    assert [t.members for t in stage.finished] == [4]


def test_a_known_size_needs_no_waiting() -> None:
    stage = GroupStage().play([header("a", 0, chord_size=2), header("b", 1, chord_size=2)])
    stage.play(life("a")).play(life("b"))
    assert stage.told_of("C") == ["started", "succeeded"]


def test_members_of_several_tasks_are_mixed() -> None:
    stage = GroupStage().play([member("a", 0), member("b", 1, name="mul")])
    stage.play([*life("a"), *life("b")]).wait(LATER)
    assert {t.task for t in stage.groups_told} == {MIXED}


def test_a_failure_waits_for_the_names_of_the_others() -> None:
    stage = GroupStage().play([member("b", 1, name="broken")])
    stage.play(life("b", outcome="failed", name="broken"))
    assert stage.groups_told == []  # the note of the first member is still under way
    stage.play([member("a", 0), *life("a")]).wait(LATER)
    assert stage.told_of("G") == ["started", "member_failed", "failed"]
    assert {t.task for t in stage.groups_told} == {MIXED}


def test_the_label_stays_what_it_was() -> None:
    stage = GroupStage().play([member("a", 0)]).wait(3)
    stage.play([member("b", 1, name="mul"), *life("a"), *life("b")]).wait(LATER)
    assert {t.task for t in stage.groups_told} == {"add"}


def test_a_retry_is_no_end() -> None:
    first = [*life("a")[:3], task("retried", "a", 0.5)]
    stage = GroupStage().play([member("a", 0), *first, member("a", 0, retries=1)]).wait(LATER)
    assert stage.finished == []
    again = [
        task("received", "a", 20, name="add", retries=1),
        task("started", "a", 20.1),
        task("succeeded", "a", 20.2),
    ]
    stage.play(again).wait(LATER)
    assert [(t.members, t.outcome) for t in stage.finished] == [(1, "succeeded")]


def test_a_task_that_is_replaced_keeps_its_place() -> None:
    stage = GroupStage().play([member("a", 0, name="rep"), member("b", 1, name="rep"), *life("b")])
    stage.play([task("received", "a", 0.1, name="rep"), task("started", "a", 0.2)])
    stage.play([member("a", 0, replaced_task_nesting=1, parent_id="a", name="add")])
    stage.play([task("sent", "a", 0.3, name="add", queue="q")]).wait(LATER)
    assert stage.finished == []
    stage.play([task("received", "a", 20, name="add"), task("started", "a", 21)])
    stage.play([task("succeeded", "a", 22)]).wait(LATER)
    assert [(t.members, t.task) for t in stage.finished] == [(2, "rep")]


def test_a_task_replaced_by_a_group_is_around_it() -> None:
    body = signature("a", "celery.accumulate", group_id="G", group_index=0, chord=None)
    stage = GroupStage().play([member("a", 0, name="rep"), member("b", 1, name="rep")])
    for number in range(2):
        inner = header(f"i{number}", number, "I", body, root_id="a", parent_id="a")
        stage.play([inner])
    stage.play([*life("i0", outcome="failed"), *life("i1"), *life("b", name="rep")]).wait(LATER)
    assert stage.told_of("I") == ["started", "failed"]
    # Told of the outermost group, once; and the place in it will not be filled.
    assert stage.told_of("G").count("member_failed") == 1
    assert stage.told_of("G")[-1] == "failed"
    assert stage.groups.root_group("i0") == "G"


def test_the_last_of_a_chain_is_a_member_before_it_is_sent() -> None:
    chain = [signature("z", "mul", group_id="G", group_index=1)]
    stage = GroupStage().play([member("a", 0, name="mul"), envelope("y", chain=chain)])
    stage.play([*life("a"), *life("y")]).wait(LATER)
    assert stage.finished == []
    assert stage.groups.root_group("y") == "G"
    stage.play([member("z", 1, root_id="y", parent_id="y", name="mul"), *life("z")]).wait(LATER)
    assert [(t.members, t.outcome, t.task) for t in stage.finished] == [(2, "succeeded", "mul")]


@pytest.mark.parametrize("early", [False, True])
def test_a_chain_that_breaks_fails_its_member(early: bool) -> None:
    announced = envelope("y", chain=[signature("z", group_id="G", group_index=1)])
    broken = life("y", outcome="failed")
    stage = GroupStage().play([member("a", 0), *life("a")])
    stage.play([*broken, announced] if early else [announced, *broken]).wait(LATER)
    assert stage.told_of("G")[-1] == "failed"
    assert [t.uuid for t in stage.groups_told if t.kind == "member_failed"] == ["y"]


def test_a_chain_that_ends_in_a_chord_announces_its_body() -> None:
    body = signature("z", "total", group_id="G", group_index=1)
    chord = {"task": "celery.chord", "subtask_type": "chord", "kwargs": {"body": body}}
    stage = GroupStage().play([member("a", 0), *life("a"), envelope("y", chain=[chord])])
    stage.play(life("y")).wait(LATER)
    assert stage.finished == []
    assert stage.groups.root_group("y") == "G"


def test_nested_groups_are_one_whose_indexes_repeat() -> None:
    stage = GroupStage().play([member("a", 0), member("b", 0), member("c", 1)])
    stage.play([*life("a"), *life("b"), *life("c")]).wait(LATER)
    assert [t.members for t in stage.finished] == [3]


def test_a_chord_finishes_when_its_body_begins() -> None:
    stage = GroupStage().play([header("a", 0), header("b", 1), *life("a")])
    # The worker publishes the body before it tells that the last member succeeded.
    stage.play([envelope("body", 0.6, name="total", group_id="C", root_id="b", parent_id="b")])
    stage.play(life("b")).play(life("body", 0.6)).wait(LATER)
    assert stage.told_of("C") == ["started", "succeeded"]
    (told,) = stage.finished
    assert (told.group_kind, told.task, told.members) == ("chord", "add", 2)
    assert stage.groups.root_group("body") == "C"


def test_a_body_ends_a_header_of_which_ends_were_lost() -> None:
    stage = GroupStage().play([header("a", 0), header("b", 1)])
    stage.play(life("body", 3.0, name="total")).wait(LATER)  # no note of it: its events do
    assert stage.told_of("C") == ["started", "succeeded"]
    assert stage.finished[0].duration == pytest.approx(3.0)


def test_a_body_that_came_first_is_found_later() -> None:
    stage = GroupStage().play(life("body", 3.0, name="total"))
    stage.play([header("a", 0), header("b", 1)]).wait(LATER)
    assert stage.told_of("C") == ["started", "succeeded"]


def test_a_failed_chord_has_no_body() -> None:
    stage = GroupStage().play([header("a", 0), header("b", 1)])
    stage.play([*life("a", outcome="failed"), *life("b")]).wait(LATER)
    assert stage.told_of("C") == ["started", "member_failed", "failed"]


def test_a_chord_within_a_group() -> None:
    body = signature("body", "total", group_id="G", group_index=1)
    stage = GroupStage().play(
        [member("x", 0), header("a", 0, body=body), header("b", 1, body=body)]
    )
    stage.play([*life("x"), *life("a"), *life("b")]).wait(LATER)
    assert stage.told_of("G") == ["started"]
    stage.play([member("body", 1, root_id="b", parent_id="b", name="total")])
    stage.play(life("body", 20)).wait(LATER)
    assert stage.told_of("C") == ["started", "succeeded"]
    assert stage.told_of("G") == ["started", "succeeded"]
    assert stage.groups.root_group("a") == stage.groups.root_group("body") == "G"


def test_a_body_that_is_a_group_is_another_group_of_the_same_id() -> None:
    body = {"task": "celery.group", "subtask_type": "group", "options": {"task_id": "B"}}
    stage = GroupStage().play([header("a", 0, body=body), header("b", 1, body=body)])
    stage.play([*life("a"), *life("b")])
    for number, uuid in enumerate(("c", "d")):
        stage.play([member(uuid, number, "C", root_id="b", parent_id="b"), *life(uuid)])
    stage.wait(LATER)
    assert sorted((t.group_kind, t.members) for t in stage.finished) == [("chord", 2), ("group", 2)]


def test_a_body_that_is_a_chain_begins_with_its_first_task() -> None:
    body = {"task": "celery.chain", "subtask_type": "chain", "options": {"task_id": "last"}}
    stage = GroupStage().play([header("a", 0, body=body), header("b", 1, body=body)])
    stage.play([envelope("first", 1.0, chain=[signature("last", group_id="C")])]).wait(LATER)
    assert stage.told_of("C") == ["started", "succeeded"]
    assert stage.groups.progress("C").members[0].state == "announced"  # type: ignore[union-attr]


def test_a_group_started_in_a_member_belongs_to_its_group() -> None:
    stage = GroupStage().play([member("a", 0, "OUT", name="outer"), *life("a")])
    stage.play([member("b", 0, "IN", root_id="a", parent_id="a"), *life("b", outcome="failed")])
    stage.wait(LATER)
    assert stage.groups.root_group("b") == "OUT"
    assert stage.told_of("OUT") == ["started", "member_failed", "succeeded"]
    assert stage.told_of("IN") == ["started", "failed"]


def test_workers_alone_tell_members() -> None:
    stage = GroupStage()
    for number, uuid in enumerate(("a", "b")):
        stage.play([run(uuid, 0.2, group_id="G", group_index=number), *life(uuid)])
    stage.wait(LATER)
    assert [(t.members, t.duration) for t in stage.finished] == [(2, pytest.approx(0.5))]


def test_ends_that_only_the_hook_tells() -> None:
    stage = GroupStage().play([member("a", 0), member("b", 1)])
    stage.play([end("a", "RETRY", 1), end("a", "SUCCESS", 2), end("b", "FAILURE", 3)]).wait(LATER)
    assert [(t.outcome, t.duration) for t in stage.finished] == [("failed", pytest.approx(3.0))]
    assert [m.state for m in stage.groups.progress("G").members] == ["succeeded", "failed"]  # type: ignore[union-attr]


def test_metadata_of_the_backend_tell_members() -> None:
    stage = GroupStage().play([*life("a"), *life("b"), *life("body")])
    stage.groups.learn("a", "G", stage.now)
    stage.groups.learn("b", "G", stage.now)
    stage.groups.learn("body", "G", stage.now, parent_id="b")  # has its header's group id
    stage.groups.learn("never", "G", stage.now)
    stage.wait(LATER)
    assert [t.members for t in stage.finished] == [2]


def test_a_lost_member_that_comes_back_is_no_failure() -> None:
    stage = GroupStage().play([member("a", 0), member("b", 1), *life("b"), *life("a")[:3]])
    stage.cluster.tasks.conclusions.lose_worker("w1@host", 1_790_000_100.0, stage.now)
    stage.play([task("received", "a", 200, name="add", retries=0), task("started", "a", 200.1)])
    stage.wait(LATER)
    assert stage.finished == []
    stage.play([task("succeeded", "a", 201)]).wait(LATER)
    assert [(t.outcome, t.failed_members) for t in stage.finished] == [("succeeded", 0)]


def test_progress_is_in_the_order_of_the_indexes() -> None:
    stage = GroupStage().play([member("c", 2), member("a", 0), member("b", 1)])
    stage.play([*life("a"), *life("b", outcome="failed"), *life("c")[:3]])
    progress = stage.groups.progress("G")
    assert progress is not None
    assert [(m.uuid, m.state) for m in progress.members] == [
        ("a", "succeeded"),
        ("b", "failed"),
        ("c", "running"),
    ]
    assert progress.outcome is None
    assert stage.groups.progress("other") is None
    assert stage.groups.root_group("other") is None


def test_a_group_that_never_finishes_ages_out() -> None:
    stage = GroupStage(give_up_seconds=300.0).play([member("a", 0)]).wait(250)
    assert stage.groups.in_progress() == {("add", "group"): 1}
    stage.wait(120)
    assert stage.groups.evictions["unfinished"] == 1
    assert stage.groups.in_progress() == {}
    assert stage.groups.table.roles == {}


def test_many_small_groups_are_bounded() -> None:
    stage = GroupStage(max_groups=100, max_members=1_000)
    for number in range(1_000):
        stage.play([member(f"u{number}", 0, f"G{number}")])
    table = stage.groups.table
    assert len(table) <= 100
    assert len(table.roles) <= 1_000
    assert len(table) + table.evictions["unfinished"] == 1_000


def test_one_large_group_is_bounded_and_counted() -> None:
    stage = GroupStage(max_members=400)
    for number in range(1_000):
        stage.play([member(f"u{number}", number)])
    progress = stage.groups.progress("G")
    assert progress is not None
    assert len(progress.members) == 100
    assert progress.beyond == 900
    for number in range(100):
        stage.play(life(f"u{number}"))
    stage.wait(LATER)
    assert stage.finished == []  # the others' ends were not followed
    for number in range(100):
        stage.play([member(f"v{number}", 0, f"H{number}", chain=[], parent_id="p")] * 2)
    assert len(stage.groups.table.roles) <= 400


def test_members_that_claim_two_groups_stay_in_the_first() -> None:
    stage = GroupStage().play([member("a", 0), member("a", 0, "H"), *life("a")]).wait(LATER)
    assert [t.group_id for t in stage.finished] == ["G"]


def test_groups_around_each_other_end_the_search() -> None:
    stage = GroupStage()
    for one, other in (("C", "D"), ("D", "C")):
        body = signature(f"b{one}", group_id=other, group_index=1, chord={"task": "x"})
        stage.play([header(f"u{one}", 0, one, body)])
    assert stage.groups.root_group("uC") in ("C", "D")


def test_chains_that_announce_themselves_do_no_harm() -> None:
    loop = [signature("a", group_id="G", group_index=0)]
    other = [signature("b", group_id="G", group_index=1)]
    stage = GroupStage().play([member("a", 0, chain=loop + other), member("b", 1, chain=loop)])
    stage.play(life("a", outcome="failed")).play(life("b")).wait(LATER)
    assert stage.told_of("G")[-1] == "failed"


def test_tasks_without_groups_cost_no_memory() -> None:
    stage = GroupStage().play([envelope("a"), run("a"), end("a", "SUCCESS"), *life("a")]).wait(3)
    assert stage.groups.table.roles == {}
    assert len(stage.groups.table) == 0
    assert len(stage.roots) == 0
