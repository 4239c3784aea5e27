"""Follows the actions of alerts to their ends, and what they retried to its end."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from z4j_exporter.actions.engine_tasks import TaskFacts
from z4j_exporter.actions.model import Action, ActionError, State, Verb
from z4j_exporter.actions.records_rows import Item
from z4j_exporter.actions.records_states import ItemState

logger = logging.getLogger(__name__)

#: Seconds after an action's end for which its tasks are followed.
WATCHED_SECONDS: Final = 3600.0
#: Tasks that one look asks the tracker for, and actions that are followed at a time.
_MOST_ASKED: Final = 1000
_MOST_ACTIONS: Final = 200

_FAILED: Final = frozenset({"failed", "rejected", "lost"})
#: Ends that say whether the cause is still there; and all ends.
_TOLD: Final = _FAILED | {"succeeded"}
_ENDS: Final = _TOLD | {"revoked", "unseen"}
_UNFINISHED: Final = (State.PENDING, State.RUNNING)


class Items(Protocol):
    """The tasks of actions; see records_items.Items."""

    def list(
        self, action_id: str, *, state: ItemState | None = None, after: int = -1, limit: int = 1000
    ) -> list[Item]:
        """Return items from behind a position."""


class Facts(Protocol):
    """What is remembered of tasks; see engine_tasks.Tasks."""

    def get_all(self, task_ids: Sequence[str]) -> dict[str, TaskFacts]:
        """Return those that are remembered. Raises ActionError (503)."""


@dataclass(slots=True)
class _Watched:
    rule: str
    action_id: str
    #: Epoch seconds.
    until: float
    finished: bool = False
    at_once: bool = False
    #: New ids whose end is not known yet.
    open: set[str] = field(default_factory=set)
    #: The last item of those that were seen to be sent.
    seen: int = -1


@dataclass(frozen=True, slots=True)
class Ended:
    """An end that was seen: of a retried task (``task_failed``), or of the action (``state``)."""

    rule: str
    action_id: str
    task_failed: bool | None = None
    state: State | None = None
    #: It had ended already when it was first followed.
    at_once: bool = False


class Watch:
    """What is followed; for one thread at a time. ``clock`` is epoch seconds."""

    def __init__(
        self,
        get: Callable[[str], Action],
        items: Items,
        tasks: Facts,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._get = get
        self._items = items
        self._tasks = tasks
        self._clock = clock
        self._watched: dict[str, _Watched] = {}

    def add(self, rule: str, action: Action) -> None:
        """Follow an action; the oldest is let go when there are too many."""
        if action.dry_run or action.verb is Verb.CANCEL:
            return
        while len(self._watched) >= _MOST_ACTIONS:
            self._watched.pop(next(iter(self._watched)))
        self._watched[action.id] = _Watched(
            rule,
            action.id,
            self._clock() + WATCHED_SECONDS,
            at_once=action.state not in _UNFINISHED,
        )

    def waits_for(self, rule: str) -> bool:
        """Return whether something that a rule retried has not ended yet."""
        return any(one.rule == rule for one in self._watched.values())

    def running(self, rule: str) -> list[str]:
        """Return the ids of a rule's actions that are at work."""
        return [
            one.action_id for one in self._watched.values() if one.rule == rule and not one.finished
        ]

    def look(self) -> list[Ended]:
        """Return the ends since the last look; what cannot be told now is told by a later one."""
        ends: list[Ended] = []
        for one in list(self._watched.values()):
            try:
                ends += self._look_at(one)
            except ActionError as error:
                logger.warning("action %s cannot be followed now: %s", one.action_id, error.kind)
            if (one.finished and not one.open) or self._clock() > one.until:
                del self._watched[one.action_id]
        return ends

    def _look_at(self, one: _Watched) -> list[Ended]:
        state = None if one.finished else self._get(one.action_id).state
        self._take_sent(one)
        known = [facts for facts in self._known(sorted(one.open)) if facts.state in _ENDS]
        # In the order of their ends: the breaker counts failures one after the other.
        known.sort(key=lambda facts: facts.ended_at or 0.0)
        one.open -= {facts.task_id for facts in known}
        told = [facts for facts in known if facts.state in _TOLD]
        ends = [Ended(one.rule, one.action_id, task_failed=f.state in _FAILED) for f in told]
        if not one.finished:
            one.until = self._clock() + WATCHED_SECONDS
        if state is not None and state not in _UNFINISHED:
            one.finished = True
            ends.append(Ended(one.rule, one.action_id, state=state, at_once=one.at_once))
        return ends

    def _known(self, ids: list[str]) -> Iterator[TaskFacts]:
        for start in range(0, len(ids), _MOST_ASKED):
            yield from self._tasks.get_all(ids[start : start + _MOST_ASKED]).values()

    def _take_sent(self, one: _Watched) -> None:
        """Follow what was sent since; items are settled in their order."""
        while items := self._items.list(one.action_id, after=one.seen):
            for item in items:
                if item.state in (ItemState.WAITING, ItemState.SENDING):
                    return
                if item.state in (ItemState.SENT, ItemState.UNKNOWN):
                    one.open.add(item.new_id)
                one.seen = item.position
