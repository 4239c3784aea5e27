"""Whatever order, repetition and loss notes and events arrive in, groups are told sensibly."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.grouping import GroupStage, envelope, life, run, signature
from z4j_exporter.events.model import Event

LATER = 15
OUTCOMES = st.sampled_from(["succeeded", "failed", "revoked"])


def _told_sensibly(stage: GroupStage) -> None:
    for group_id in {t.group_id for t in stage.groups_told}:
        for kind in ("group", "chord"):
            told = [t for t in stage.groups_told if (t.group_id, t.group_kind) == (group_id, kind)]
            kinds = [t.kind for t in told]
            assert kinds.count("started") <= 1
            assert kinds.count("finished") <= kinds.count("started")
            assert not kinds or kinds[0] == "started"
            assert len({t.task for t in told}) <= 1
            failed = Counter(t.uuid for t in told if t.kind == "member_failed")
            assert all(count == 1 for count in failed.values())
    for each in stage.finished:
        assert each.duration is not None
        assert each.duration >= 0.0
        assert 0 <= each.failed_members <= each.members
    for group in [*stage.groups.table.active.values(), *stage.groups.table.finished.values()]:
        states = [role.outcome for role in group.roles.values()]
        assert group.open == states.count(None)
        assert group.failed == sum(s not in (None, "succeeded", "unseen") for s in states)
    counts = stage.groups.in_progress()
    assert all(count > 0 for count in counts.values())
    started = sum(t.kind == "started" for t in stage.groups_told)
    assert started - len(stage.finished) == sum(counts.values())


def _group(data: st.DataObject, name: str, chord: bool) -> tuple[list[Event], list[str]]:
    """Draw a group with its notes and the lives of its members; return the outcomes as well."""
    history: list[Event] = []
    outcomes = data.draw(st.lists(OUTCOMES, min_size=1, max_size=4))
    body = signature(f"{name}-body", "total", group_id=name)
    for index, outcome in enumerate(outcomes):
        uuid = f"{name}-{index}"
        place = {"group_id": name, "group_index": index}
        extra = {"chord_id": name} if chord else {}
        if data.draw(st.booleans()):
            more = {"chord_body": body} if chord else {}
            history.append(envelope(uuid, index * 0.1, **place, **extra, **more))
            if data.draw(st.booleans()):
                history.append(run(uuid, index * 0.1 + 0.2, **place, **extra))
        else:
            history.append(run(uuid, index * 0.1 + 0.2, **place, **extra))
        history += life(uuid, index * 0.1, outcome)
    if chord and set(outcomes) == {"succeeded"}:
        last = f"{name}-{len(outcomes) - 1}"
        parents = {"root_id": last, "parent_id": last, "group_id": name}
        history.append(envelope(f"{name}-body", 2.0, name="total", **parents))
        history += life(f"{name}-body", 2.0, name="total")
    return history, outcomes


@settings(max_examples=150, deadline=None)
@given(st.data(), st.booleans())
def test_any_order_and_repetition_tells_the_same(data: st.DataObject, chord: bool) -> None:
    history, outcomes = _group(data, "G", chord)
    again = data.draw(st.lists(st.sampled_from(history), max_size=8))
    stage = GroupStage().play(data.draw(st.permutations(history + again))).wait(LATER)
    _told_sensibly(stage)
    (told,) = stage.finished
    assert told.outcome == ("succeeded" if set(outcomes) == {"succeeded"} else "failed")
    assert (told.members, told.failed_members) == (
        len(outcomes),
        len(outcomes) - outcomes.count("succeeded"),
    )
    assert told.duration is not None
    assert abs(told.duration - (len(outcomes) - 1) * 0.1 - 0.5) < 1e-6


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_loss_time_and_nesting_never_tell_nonsense(data: st.DataObject) -> None:
    outer, _ = _group(data, "OUT", chord=False)
    inner, _ = _group(data, "C", chord=True)
    body = signature("OUT-0", "total", group_id="OUT", group_index=0)
    nested = [
        envelope(f"C-{n}", 0.0, group_id="C", group_index=n, chord_id="C", chord_body=body)
        for n in range(2)
    ]
    chained = [envelope("y", chain=[signature("OUT-1", group_id="OUT", group_index=1)])]
    history = [*outer, *inner, *nested, *chained, *life("y", outcome=data.draw(OUTCOMES))]
    kept = [each for each in history if data.draw(st.integers(0, 4))]
    stage = GroupStage()
    for each in data.draw(st.permutations(kept)):
        stage.play([each])
        if not data.draw(st.integers(0, 7)):
            stage.wait(data.draw(st.sampled_from([1, 3, 8])))
    stage.wait(LATER)
    _told_sensibly(stage)


def _hostile(rng: Random) -> list[Event]:
    """Return notes that name each other's groups, chains and bodies at random, and lives."""
    uuid, group = f"u{rng.randrange(60)}", f"g{rng.randrange(30)}"
    chain = [signature(f"u{rng.randrange(60)}", group_id=group, group_index=0)]
    body = signature(f"u{rng.randrange(60)}", group_id=group, group_index=1)
    more = rng.choice([{}, {"chain": chain}, {"chord_body": body}])
    note = envelope(uuid, group_id=group, group_index=0, parent_id=f"u{rng.randrange(60)}", **more)
    return [note, *life(uuid, outcome=rng.choice(["succeeded", "failed"]))][: rng.choice([1, 1, 5])]


# Seeds, since what hypothesis would find it could not make shorter within minutes.
@pytest.mark.parametrize("seed", range(25))
def test_bounds_hold_whatever_comes(seed: int) -> None:
    rng = Random(seed)
    stage = GroupStage(max_groups=8, max_members=60, give_up_seconds=100.0)
    for _ in range(200):
        stage.play(_hostile(rng)).wait(rng.choice([0, 0, 0, 3]))
        table = stage.groups.table
        assert len(table) <= 8 + 16  # one note names several
        assert len(table.roles) <= 60
    for group in [*table.active.values(), *table.finished.values()]:
        states = [role.outcome for role in group.roles.values()]
        assert group.open == states.count(None)
        assert all(table.roles[uuid] is role for uuid, role in group.roles.items())
    stage.wait(300)
    assert len(table) == 0
    assert table.roles == {}
