"""Whatever happens in whatever order: no id is given out twice, no final state changes."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from z4j_exporter.actions.model import Action, ActionError, Actor, State, Target, Verb
from z4j_exporter.actions.records import ActionJournal, TransitionError
from z4j_exporter.actions.records_items import Settled
from z4j_exporter.actions.records_states import FOLLOWING, ITEM_FOLLOWING, ItemState, state_of

FINAL = {State.DONE, State.PARTIAL, State.REFUSED, State.FAILED}
FINAL_ITEMS = {ItemState.SENT, ItemState.REFUSED, ItemState.FAILED}


class Journals(RuleBasedStateMachine):
    """Does to a journal what callers may and may not do, and crashes in between."""

    actions = Bundle("actions")

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.journal = self.open()
        self.states: dict[str, State] = {}
        self.items: dict[str, list[ItemState]] = {}
        self.given_out: set[str] = set()

    def open(self) -> ActionJournal:
        return ActionJournal(self.directory / "actions.db", clock=lambda: 1.0)

    def teardown(self) -> None:
        self.journal.close()
        shutil.rmtree(self.directory)

    @rule(target=actions, size=st.integers(0, 4), dry_run=st.booleans())
    def begin(self, size: int, dry_run: bool) -> str:
        name = f"action-{len(self.states)}"
        old = tuple(f"{name}-old-{n}" for n in range(size))
        new = tuple(f"{name}-new-{n}" for n in range(size))
        actor = Actor("bot", "operator", "token")
        action = Action(name, Verb.BULK_RETRY, Target(task_ids=old), actor, 1.0, dry_run)
        action.new_task_ids = new
        assert self.journal.begin(action).fresh
        self.states[name] = State.PENDING
        self.items[name] = [ItemState.WAITING] * size
        return name

    @rule(name=actions, take=st.integers(0, 3))
    def start(self, name: str, take: int) -> None:
        if self.states[name] is not State.PENDING:
            with pytest.raises(TransitionError):
                self.journal.start(name, take=take)
            return
        self.took(name, self.journal.start(name, take=take), take)
        self.states[name] = State.RUNNING

    @rule(name=actions, limit=st.integers(1, 3))
    def take(self, name: str, limit: int) -> None:
        if self.states[name] is not State.RUNNING:
            with pytest.raises(TransitionError):
                self.journal.items.take(name, limit)
            return
        self.took(name, self.journal.items.take(name, limit), limit)

    def took(self, name: str, items: list[Any], limit: int) -> None:
        waiting = [n for n, state in enumerate(self.items[name]) if state is ItemState.WAITING]
        assert [item.position for item in items] == waiting[:limit]
        for item in items:
            assert item.new_id not in self.given_out
            self.given_out.add(item.new_id)
            self.items[name][item.position] = ItemState.SENDING

    @rule(name=actions, position=st.integers(0, 3), state=st.sampled_from(ItemState))
    def settle(self, name: str, position: int, state: ItemState) -> None:
        settled = [Settled(position, state, {})]
        items = self.items[name]
        if position >= len(items) or state not in ITEM_FOLLOWING[items[position]]:
            with pytest.raises(TransitionError):
                self.journal.items.settle(name, settled)
            return
        if state is ItemState.SENDING:
            return  # only ``take`` does that
        self.journal.items.settle(name, settled)
        items[position] = state

    @rule(name=actions, state=st.sampled_from(State))
    def finish(self, name: str, state: State) -> None:
        unfinished = state in (State.PENDING, State.RUNNING)
        if unfinished or state not in FOLLOWING[self.states[name]]:
            with pytest.raises(TransitionError):
                self.journal.finish(name, state, {})
            return
        self.journal.finish(name, state, {})
        self.states[name] = state
        rest = ItemState.WAITING if state is State.UNKNOWN else ItemState.REFUSED
        self.rest(name, rest)

    @rule(name=actions, stopped=st.sampled_from(["", "asked"]))
    def finish_job(self, name: str, stopped: str) -> None:
        before = list(self.items[name])
        self.rest(name, ItemState.REFUSED if stopped else ItemState.WAITING)
        becomes = state_of(dict.fromkeys(self.items[name], 1))
        if becomes is State.RUNNING or becomes not in FOLLOWING[self.states[name]]:
            self.items[name] = before
            with pytest.raises(TransitionError):
                self.journal.finish_job(name, {}, stopped=stopped)
            return
        self.journal.finish_job(name, {}, stopped=stopped)
        self.states[name] = becomes

    def rest(self, name: str, waiting: ItemState) -> None:
        becomes = {ItemState.SENDING: ItemState.UNKNOWN, ItemState.WAITING: waiting}
        self.items[name] = [becomes.get(state, state) for state in self.items[name]]

    @rule(name=actions)
    def resume(self, name: str) -> None:
        if self.states[name] is State.UNKNOWN and ItemState.WAITING in self.items[name]:
            self.journal.resume(name)
            self.states[name] = State.RUNNING
            return
        with pytest.raises(ActionError, match="interrupted"):
            self.journal.resume(name)

    @precondition(lambda self: self.states)
    @rule()
    def crash(self) -> None:
        dry = {action.id for action in self.journal.list() if action.dry_run}
        self.journal.close()  # nothing is written at closing that a crash would not leave
        self.journal = self.open()
        unfinished = {n for n, s in self.states.items() if s in (State.PENDING, State.RUNNING)}
        assert set(self.journal.interrupted) == unfinished
        for name in unfinished:
            self.states[name] = State.FAILED if name in dry else State.UNKNOWN
            self.rest(name, ItemState.WAITING)

    @invariant()
    def the_journal_says_what_happened(self) -> None:
        assert {action.id: action.state for action in self.journal.list()} == self.states
        for name, items in self.items.items():
            assert [item.state for item in self.journal.items.list(name)] == items


TestJournals = Journals.TestCase
TestJournals.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def test_final_states_are_final() -> None:
    assert {state for state in State if not FOLLOWING[state]} == FINAL
    assert {state for state in ItemState if not ITEM_FOLLOWING[state]} == FINAL_ITEMS


def test_nothing_becomes_what_could_be_done_again() -> None:
    assert not any(State.PENDING in following for following in FOLLOWING.values())
    assert not any(ItemState.WAITING in following for following in ITEM_FOLLOWING.values())
    assert [state for state in ItemState if ItemState.SENDING in ITEM_FOLLOWING[state]] == [
        ItemState.WAITING
    ]


@given(st.dictionaries(st.sampled_from(ItemState), st.integers(0, 3)))
def test_a_job_is_done_only_when_all_of_it_is(counts: dict[ItemState, int]) -> None:
    state = state_of(counts)
    present = {item for item, number in counts.items() if number}
    assert (state is State.DONE) == (not present - {ItemState.SENT})
    assert (state is State.RUNNING) == bool(present & {ItemState.WAITING, ItemState.SENDING})
    if ItemState.UNKNOWN in present:
        assert state in (State.RUNNING, State.PARTIAL, State.UNKNOWN)
