"""Whole chords: what is refused, and what the messages of a new one have."""

import json
from dataclasses import replace
from typing import Any

import pytest

from z4j_exporter.actions.engine_tasks import TaskFacts
from z4j_exporter.actions.groups import KnownGroup
from z4j_exporter.actions.groups_chord import (
    MOST_MEMBERS,
    Header,
    NewChord,
    as_member,
    check_header,
    check_members,
)
from z4j_exporter.actions.messages import compose
from z4j_exporter.actions.model import ActionError, Payload
from z4j_exporter.journal.model import StoredGroup, StoredMember

BODY = {
    "task": "total",
    "args": [],
    "kwargs": {"more": 1},
    "options": {"task_id": "b1", "group_id": "g1", "reply_to": "r1", "queue": "vip"},
    "subtask_type": None,
    "immutable": False,
}
NEW = NewChord("g2", "b2", 2)


def payload(index: int, **more: Any) -> Payload:
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": BODY}
    known: dict[str, Any] = {
        "name": "need", "body": json.dumps([[index], {}, embed]).encode(), "args": (index,),
        "content_type": "application/json", "content_encoding": "utf-8", "kwargs": {},
        "source": "capture", "queue": "celery", "group_id": "g1", "chord": BODY,
        "headers": {"task": "need", "id": f"t{index}", "group": "g1", "group_index": index},
    }  # fmt: skip
    return Payload(**{**known, **more})


def group(states: tuple[str, ...] = ("failed", "succeeded"), **more: Any) -> KnownGroup:
    members = tuple(StoredMember(f"t{n}", n, "need", True) for n in range(len(states)))
    known = {"group_id": "g1", "is_chord": True, "members": members, "chord_body": BODY}
    facts = tuple(
        TaskFacts(f"t{n}", state)  # type: ignore[arg-type]  # one of its states
        for n, state in enumerate(states)
    )
    return KnownGroup(StoredGroup(**{**known, **more}), facts)


def kind_of(error: "pytest.ExceptionInfo[ActionError]") -> str:
    assert error.value.status == 422
    assert error.value.hint
    return error.value.kind


@pytest.mark.parametrize(
    ("known", "kind"),
    [
        (group(is_chord=False), "no-chord"),
        (group(truncated=True), "chord-too-large"),
        (group(("failed",) * (MOST_MEMBERS + 1)), "chord-too-large"),
        (group(("failed", "running")), "chord-member-active"),
        (group(("failed", "lost")), "chord-member-active"),
        (group(("failed", "unknown")), "chord-member-active"),
        (group(chord_body=None), "chord-not-captured"),
        (
            group(members=(StoredMember("t0", 0, None, False), StoredMember("t1", 1, None, True))),
            "chord-not-captured",
        ),
    ],
)
def test_members_that_keep_a_chord_back(known: KnownGroup, kind: str) -> None:
    with pytest.raises(ActionError) as error:
        check_members(known)
    assert kind_of(error) == kind


def without(body: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {**body, "options": {**body["options"], **options}}


CHAIN = {**BODY, "task": "celery.chain", "subtask_type": "chain"}


@pytest.mark.parametrize(
    ("changes", "size", "kind"),
    [
        ({}, None, "chord-incomplete"),
        ({}, 3, "chord-incomplete"),
        ({"source": "backend"}, 2, "chord-not-captured"),
        ({"chord": None}, 2, "chord-not-readable"),
        ({"args": None}, 2, "chord-not-readable"),
        ({"headers": {"group": "other", "group_index": 1}}, 2, "chord-complex"),
        ({"headers": {"group": "g1", "group_index": 0}}, 2, "chord-complex"),
        ({"headers": {"group": "g1"}}, 2, "chord-complex"),
    ],
)
def test_messages_that_keep_a_chord_back(
    changes: dict[str, Any], size: int | None, kind: str
) -> None:
    with pytest.raises(ActionError) as error:
        check_header(Header(group(), [payload(0), payload(1, **changes)], size))
    assert kind_of(error) == kind


@pytest.mark.parametrize(
    "body",
    [CHAIN, {**BODY, "task": None}, without(BODY, group_id="outer"), without(BODY, chord={"a": 1})],
)
def test_bodies_that_keep_a_chord_back(body: dict[str, Any]) -> None:
    with pytest.raises(ActionError) as error:
        check_header(Header(group(), [payload(0, chord=body), payload(1, chord=body)], 2))
    assert kind_of(error) == "chord-complex"


def test_a_whole_chord_is_let_through() -> None:
    check_members(group())
    check_header(Header(group(), [payload(0), payload(1)], 2))
    assert NewChord.of(NEW.told()) == NEW


def test_a_member_has_the_new_ids_and_nothing_of_the_old() -> None:
    old = payload(1)
    message = compose(
        replace(old, body=None, chord=None), "n1", retry_of="t1", retry_count=1, origin="x"
    )
    member = as_member(message, old, NEW)
    assert (member.headers["group"], member.headers["group_index"]) == ("g2", 1)
    assert (member.headers["id"], member.headers["z4j-retry-of"]) == ("n1", "t1")
    args, kwargs, embed = json.loads(member.body)
    assert (args, kwargs) == ([1], {})
    assert embed["chord"] == {
        **BODY, "options": {"task_id": "b2", "group_id": "g2", "queue": "vip"},
    }  # fmt: skip
    assert member.dropped == ()
    # The captured signature is not changed.
    assert BODY["options"]["task_id"] == "b1"  # type: ignore[index]  # a dict
