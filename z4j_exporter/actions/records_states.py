"""The states of actions and of the items of a job, and which may follow which. Pure."""

from collections.abc import Mapping
from enum import StrEnum

from z4j_exporter.actions.model import State

#: What may follow. REFUSED, FAILED, DONE and PARTIAL are final. UNKNOWN is left when it is found
#: out what happened, or (to RUNNING) when somebody asks for what was not begun.
FOLLOWING: dict[State, frozenset[State]] = {
    State.PENDING: frozenset(State) - {State.PENDING},
    State.RUNNING: frozenset(State) - {State.PENDING, State.RUNNING},
    State.UNKNOWN: frozenset({State.RUNNING, State.DONE, State.PARTIAL, State.FAILED}),
    State.DONE: frozenset(),
    State.PARTIAL: frozenset(),
    State.REFUSED: frozenset(),
    State.FAILED: frozenset(),
}

#: The states of an action that some thread of this process is at work on.
UNFINISHED = (State.PENDING, State.RUNNING)


class ItemState(StrEnum):
    """Where one task of an action is."""

    #: Nothing was done yet, for certain.
    WAITING = "waiting"
    #: Written before the message is sent.
    SENDING = "sending"
    #: The broker has taken the message.
    SENT = "sent"
    #: Nothing was sent, for certain: it may not, or need not be retried.
    REFUSED = "refused"
    #: Nothing was sent, for certain: it could not.
    FAILED = "failed"
    #: It may have been sent: the process died, or the broker did not answer.
    UNKNOWN = "unknown"


ITEM_FOLLOWING: dict[ItemState, frozenset[ItemState]] = {
    ItemState.WAITING: frozenset({ItemState.SENDING, ItemState.REFUSED, ItemState.FAILED}),
    ItemState.SENDING: frozenset(
        {ItemState.SENT, ItemState.REFUSED, ItemState.FAILED, ItemState.UNKNOWN}
    ),
    ItemState.UNKNOWN: frozenset({ItemState.SENT, ItemState.FAILED}),
    ItemState.SENT: frozenset(),
    ItemState.REFUSED: frozenset(),
    ItemState.FAILED: frozenset(),
}


class TransitionError(ValueError):
    """A state was to follow one that it may not follow: a mistake in this program."""


def state_of(counts: Mapping[ItemState, int]) -> State:
    """Return what a job has become when its items have; "done" is said of no part of it less.

    Items that wait or are being sent make it RUNNING.
    """
    present = {state for state, count in counts.items() if count}
    if present & {ItemState.WAITING, ItemState.SENDING}:
        return State.RUNNING
    if present <= {ItemState.SENT}:
        return State.DONE
    if ItemState.SENT in present:
        return State.PARTIAL
    if ItemState.UNKNOWN in present:
        return State.UNKNOWN
    return State.REFUSED if present == {ItemState.REFUSED} else State.FAILED
