"""kill -9 at each step of an action, on a real broker: nothing twice, nothing claimed in vain."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.actions_api import Office, office
from tests.support.actions_killed import ACTOR, Whole, request
from tests.support.process import wait_until
from tests.support.redis_servers import Redis
from tests.support.servers import PROJECT
from z4j_exporter.actions.engine_parts import Refusal
from z4j_exporter.actions.model import Action, State, Verb
from z4j_exporter.actions.records_states import ItemState

#: Steps of a retry, in their order, and how many messages are in the broker by then.
RETRY_STEPS = {
    "begun": 0, "checked": 0, "audited": 0, "started": 0, "acted": 1, "recorded": 1, "told": 1,
}  # fmt: skip
#: Steps of the second task of three of a bulk retry.
ITEM_STEPS = {"item-ready:2": 1, "item-taken:2": 1, "item-sent:2": 2, "item-settled:2": 2}
TASKS = ("t1", "t2", "t3")


def killed(directory: Path, url: str, step: str, *task_ids: str) -> None:
    """Run an engine until it is killed at that step."""
    command = [sys.executable, "-m", "tests.support.actions_killed", directory, url, step]
    run = subprocess.run([*command, *task_ids], cwd=PROJECT, timeout=60, check=False)
    assert run.returncode == -signal.SIGKILL


def sent(valkey: Redis) -> list[tuple[str, str]]:
    """(old id, new id) of every message in the queue, the first one first."""
    messages = [json.loads(raw)["headers"] for raw in valkey.client().lrange("celery", 0, -1)]
    return [(headers["z4j-retry-of"], headers["id"]) for headers in reversed(messages)]


def only(made: Office) -> Action:
    actions = made.journal.list()
    assert len(actions) == 1
    return actions[0]


def audited(made: Office) -> list[tuple[str, str]]:
    """(stage, outcome) of the audit log's lines."""
    lines = [json.loads(line) for line in made.lines()]
    return [(line["stage"], line.get("outcome", "")) for line in lines]


@pytest.mark.parametrize("step", RETRY_STEPS)
def test_a_retry_that_is_killed(step: str, tmp_path: Path, valkey: Redis) -> None:
    killed(tmp_path, valkey.url, step, "t1")
    there = sent(valkey)
    assert len(there) == RETRY_STEPS[step]
    with office(tmp_path, performer=Whole(valkey.url)) as made:  # type: ignore[arg-type]  # see Whole
        action = only(made)
        done = step in ("recorded", "told")
        assert action.state is (State.DONE if done else State.UNKNOWN)
        assert made.audited().ok
        told = audited(made)
        # Sent only behind a line that was on the disk; and no success that was not one.
        assert not there or ("requested", "") in told
        assert ("outcome", "done") not in told or there
        if not done:
            assert told[-1] == ("outcome", "unknown: interrupted")
        # The same request again is answered with what is known, and not done again.
        if done:
            again = made.engine.submit(request(Verb.RETRY, "t1"))
            assert again.replayed
            assert again.action.new_task_ids == (there[0][1],)
        else:
            with pytest.raises(Refusal) as refused:
                made.engine.submit(request(Verb.RETRY, "t1"))
            assert (refused.value.kind, refused.value.status) == ("outcome-unknown", 504)
            assert refused.value.unknown
        # What the journal says may have been sent is what was sent.
        assert {new for _, new in there} <= set(action.new_task_ids)
        certain = {one.new_id for one in made.journal.items.retried_as("t1") if one.certain}
        assert certain <= {new for _, new in there}
        # Under another key it is refused too, as long as it may have been sent.
        if step not in ("begun", "checked", "audited"):
            with pytest.raises(Refusal, match="sent again before"):
                made.engine.submit(request(Verb.RETRY, "t1", key="other"))
        time.sleep(0.3)  # nothing goes on by itself
        assert sent(valkey) == there


@pytest.mark.parametrize("step", ["audited", "started", *ITEM_STEPS])
def test_a_bulk_retry_that_is_killed_and_resumed(step: str, tmp_path: Path, valkey: Redis) -> None:
    killed(tmp_path, valkey.url, step, *TASKS)
    there = sent(valkey)
    # After "started" the job's thread runs beside the one that is killed.
    assert step == "started" or len(there) == ITEM_STEPS.get(step, 0)
    with office(tmp_path, performer=Whole(valkey.url)) as made:  # type: ignore[arg-type]  # see Whole
        action = only(made)
        assert action.state is State.UNKNOWN
        assert made.audited().ok
        items = made.journal.items.list(action.id)
        certain = {item.new_id for item in items if item.state is ItemState.SENT}
        possible = certain | {i.new_id for i in items if i.state is ItemState.UNKNOWN}
        assert certain <= {new for _, new in there} <= possible
        time.sleep(0.3)  # nothing goes on by itself
        assert sent(valkey) == there

        made.engine.resume_job(ACTOR, action.id)
        wait_until(lambda: only(made).state is not State.RUNNING)
        lost = [i.task_id for i in items if i.state is ItemState.UNKNOWN]
        expected = sorted({old for old, _ in there} | (set(TASKS) - set(lost)))
        assert sorted(old for old, _ in sent(valkey)) == expected
        ended = only(made)
        assert ended.state is (State.PARTIAL if lost else State.DONE)
        assert ended.result["counts"].get("unknown", 0) == len(lost)
        assert made.audited().ok
