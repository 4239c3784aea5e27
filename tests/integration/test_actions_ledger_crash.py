"""Journal and audit log under kill -9 and full disks: nothing sent twice, nothing claimed."""

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.process import wait_until
from z4j_exporter.actions.audit import AuditLog, AuditUnavailable, Entry
from z4j_exporter.actions.audit_verify import verify
from z4j_exporter.actions.model import Action, ActionError, Actor, State, Target, Verb
from z4j_exporter.actions.records import ActionJournal, JournalUnavailable
from z4j_exporter.actions.records_items import Settled
from z4j_exporter.actions.records_states import ItemState

KEY = b"0123456789abcdef0123456789abcdef"
ACTOR = Actor("bot", "operator", "token")

#: The steps of one retry, in their order, each followed by a place to die.
STEPS = [
    "opened",
    "begun",
    "requested",
    "started",
    "sent",
    "finished",
    "outcome",
]


class Ledger:
    """A journal, an audit log, and a "broker": a file that gets a line for each message."""

    def __init__(self, directory: Path) -> None:
        self.journal = ActionJournal(directory / "actions.db")
        self.audit = AuditLog(directory / "audit.jsonl", KEY, max_file_bytes=20_000)
        self._wire = os.open(directory / "wire", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def send(self, new_id: str) -> None:
        os.write(self._wire, f"{new_id}\n".encode())

    def close(self) -> None:
        self.journal.close()
        self.audit.close()
        os.close(self._wire)


def wire(directory: Path) -> list[str]:
    path = directory / "wire"
    return path.read_text().split() if path.exists() else []


def retry(name: str) -> Action:
    action = Action(name, Verb.RETRY, Target(task_id=f"t-{name}"), ACTOR, time.time())
    action.new_task_ids = (f"new-{name}",)
    return action


def one_retry(directory: Path, die_after: str) -> None:
    """What the child does: one retry, killed after a step."""

    def step(name: str) -> None:
        if name == die_after:
            os.kill(os.getpid(), signal.SIGKILL)

    ledger = Ledger(directory)
    step("opened")
    action = retry("a")
    ledger.journal.begin(action)
    step("begun")
    ledger.audit.append(Entry.of(action, "requested"))
    step("requested")
    (item,) = ledger.journal.start("a", take=1)
    step("started")
    ledger.send(item.new_id)
    step("sent")
    ledger.journal.finish("a", State.DONE, {}, settled=[Settled(0, ItemState.SENT, {})])
    step("finished")
    ledger.audit.append(Entry.of(action, "outcome", "done"))
    step("outcome")


def endless_jobs(directory: Path) -> None:
    """What the child does until it is killed: go on with what can go on, then ever new jobs."""
    ledger = Ledger(directory)
    for name in ledger.journal.interrupted:
        ledger.audit.append(Entry.of(ledger.journal.get(name), "outcome", "unknown"))
    for action in ledger.journal.list(state=State.UNKNOWN):
        if ItemState.WAITING in ledger.journal.items.progress(action.id):
            ledger.journal.resume(action.id)
            work_off(ledger, action)
    for number in range(1_000_000):
        name = f"{os.getpid()}-{number}"
        old = tuple(f"old-{name}-{n}" for n in range(5))
        action = Action(name, Verb.BULK_RETRY, Target(task_ids=old), ACTOR, time.time())
        action.new_task_ids = tuple(f"new-{name}-{n}" for n in range(5))
        ledger.journal.begin(action)
        ledger.audit.append(Entry.of(action, "requested"))
        ledger.journal.start(name)
        work_off(ledger, action)


def work_off(ledger: Ledger, action: Action) -> None:
    while items := ledger.journal.items.take(action.id, 2):
        for item in items:
            ledger.send(item.new_id)
        sent = [Settled(item.position, ItemState.SENT, {}) for item in items]
        ledger.journal.items.settle(action.id, sent)
    done = ledger.journal.finish_job(action.id, {})
    ledger.audit.append(Entry.of(action, "outcome", done.state))


def child(what: str, directory: Path, *more: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, __file__, what, str(directory), *more])


@pytest.mark.parametrize("step", STEPS)
def test_killed_after_a_step_the_next_start_says_what_is_certain(tmp_path: Path, step: str) -> None:
    assert child("one_retry", tmp_path, step).wait(60) == -signal.SIGKILL
    reached = STEPS.index(step)
    ledger = Ledger(tmp_path)
    try:
        begun = reached >= STEPS.index("begun")
        finished = reached >= STEPS.index("finished")
        assert ledger.journal.interrupted == (("a",) if begun and not finished else ())
        if begun:
            (item,) = ledger.journal.items.list("a")
            action = ledger.journal.get("a")
            links = ledger.journal.items.retried_as("t-a")
            if finished:
                assert (action.state, item.state) == (State.DONE, ItemState.SENT)
                assert [link.certain for link in links] == [True]
            elif reached >= STEPS.index("started"):
                assert (action.state, item.state) == (State.UNKNOWN, ItemState.UNKNOWN)
                assert [link.certain for link in links] == [False]
            else:
                assert (action.state, item.state) == (State.UNKNOWN, ItemState.WAITING)
                assert action.result == {"interrupted": "pending"}
                assert links == []
        else:
            assert ledger.journal.list() == []
        assert len(wire(tmp_path)) == (reached >= STEPS.index("sent"))
        assert ledger.audit.head.seq == (reached >= STEPS.index("requested")) + (step == "outcome")
        assert verify(tmp_path / "audit.jsonl", KEY, expected=ledger.audit.head).ok
    finally:
        ledger.close()


def test_killed_at_any_moment_again_and_again_nothing_is_sent_twice(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    heads = 0
    for _ in range(15):
        process = child("endless_jobs", tmp_path)
        wait_until((tmp_path / "audit.jsonl").exists, 60)
        time.sleep(0.25 + moments.random() / 4)  # not a wait for anything: the moment to die
        process.kill()
        assert process.wait(60) == -signal.SIGKILL, f"seed {seed}"
        report = verify(tmp_path / "audit.jsonl", KEY)
        # A line that is being written when the process dies is the only thing that may be amiss.
        assert report.ok or "cut short" in str(report.fault), (seed, report.fault)
        assert report.head.seq >= heads, f"seed {seed}"
        heads = report.head.seq
    ledger = Ledger(tmp_path)
    try:
        sent = Counter(wire(tmp_path))
        assert sent
        assert max(sent.values()) == 1, f"seed {seed}"
        seen = set()
        for action in ledger.journal.list(limit=100_000):
            items = ledger.journal.items.list(action.id)
            seen |= {item.new_id for item in items}
            for item in items:
                if item.state is ItemState.SENT:
                    assert item.new_id in sent, f"seed {seed}"
                elif item.state is not ItemState.UNKNOWN:
                    assert item.new_id not in sent, f"seed {seed}"
            if action.state is State.DONE:
                assert {item.state for item in items} == {ItemState.SENT}
        assert set(sent) <= seen  # nothing was sent that the journal had not written
        assert verify(tmp_path / "audit.jsonl", KEY, expected=ledger.audit.head).ok
    finally:
        ledger.close()


def full_disk(directory: Path) -> None:
    """What the child does: act on while files may not grow, then when they may again.

    A limit of the file size is a disk that is full: writes are cut short, then refused.
    """
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    ledger = Ledger(directory)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    refused: Counter[str] = Counter()
    for room in (1_000, 3_001, 11_003, 50_001, 90_007, resource.RLIM_INFINITY):
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
        for number in range(50):
            action = retry(f"{room}-{number}")
            try:
                ledger.audit.append(Entry.of(action, "requested"))
            except AuditUnavailable:
                refused["audit"] += 1
            try:
                ledger.journal.begin(action)
            except JournalUnavailable:
                refused["journal"] += 1
    assert len(refused) == 2, "a limit was never reached"
    assert ledger.audit.failures == refused["audit"]
    ledger.audit.append(Entry.of(retry("last"), "requested"))
    ledger.journal.begin(retry("last"))
    ledger.close()


def test_a_full_disk_refuses_and_when_there_is_room_again_it_goes_on(tmp_path: Path) -> None:
    assert child("full_disk", tmp_path).wait(120) == 0
    ledger = Ledger(tmp_path)
    try:
        assert ledger.journal.get("last").state is State.UNKNOWN
        report = verify(tmp_path / "audit.jsonl", KEY, expected=ledger.audit.head)
        assert report.ok, report.fault
    finally:
        ledger.close()


def test_a_second_process_is_refused_in_one_sentence_and_the_first_lives_on(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    try:
        for code in (
            "from z4j_exporter.actions.records import ActionJournal as A; A(Path('actions.db'))",
            "from z4j_exporter.actions.audit import AuditLog as A; A(Path('audit.jsonl'), b'k'*32)",
        ):
            result = subprocess.run(
                [sys.executable, "-c", f"from pathlib import Path; {code}"],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert "is in use by another process" in result.stderr
            assert f"process {os.getpid()}" in result.stderr
        ledger.journal.begin(retry("a"))
        ledger.audit.append(Entry.of(retry("a"), "requested"))
    finally:
        ledger.close()


def test_an_action_that_is_at_work_is_interrupted_by_nothing_but_a_death(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.journal.begin(retry("a"))
    with pytest.raises(ActionError, match="interrupted"):
        ledger.journal.resume("a")
    ledger.close()


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
