"""`z4j-exporter action`: each verb against the API itself, with a performer that only notes."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.support.actions_api import Office, Remembered, Served, Stub, office, served
from z4j_exporter.actions.engine import EngineLimits
from z4j_exporter.actions.model import ActionError
from z4j_exporter.cli import action_do
from z4j_exporter.cli.action import action
from z4j_exporter.cli.action_errors import (
    ActionCommandError,
    ActionFailedError,
    ActionPartialError,
    ActionRefusedError,
    ActionUnknownError,
    NotConfirmedError,
)
from z4j_exporter.cli.action_target import TOKEN_VARIABLE, URL_VARIABLE


@dataclass
class Desk:
    """An API and who asks it."""

    api: Served
    stub: Stub
    tasks: Remembered
    office: Office

    def run(self, *args: str, role: str = "admin", **more: Any) -> Result:
        """Run a command; errors come as they are."""
        env = {URL_VARIABLE: self.api.listener.url, TOKEN_VARIABLE: self.office.tokens.of[role]}
        result = CliRunner().invoke(action, args, env=env, **more)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def done(self, *args: str, **more: Any) -> str:
        """Run a command that must end well, and return what it printed."""
        result = self.run(*args, **more)
        assert result.exit_code == 0, result.stderr
        return result.stdout

    def document(self, *args: str, **more: Any) -> dict[str, Any]:
        """Run it for a program."""
        found = json.loads(self.done(*args, "--output", "json", **more))
        assert isinstance(found, dict)
        return found

    def fails(self, kind: type[ActionCommandError], *args: str, **more: Any) -> ActionCommandError:
        """Run a command that must end so."""
        with pytest.raises(kind) as caught:
            self.run(*args, **more)
        return caught.value


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    stub, tasks = Stub(), Remembered()
    for number in range(4):
        stub.has(f"t{number}")
        tasks.put(f"t{number}", state="failed", name="math.add", queue="celery", ended_at=1000.0)
    tasks.put("lost", state="failed", name="math.gone", queue="celery", ended_at=2000.0)
    tasks.put("runs", state="running", name="math.add", queue="celery")
    with office(tmp_path, performer=stub, tasks=tasks) as made, served(made) as api:
        yield Desk(api, stub, tasks, made)


def acts_of(stub: Stub) -> list[tuple[str, str]]:
    """What was done, without the looks before it."""
    return [call for call in stub.calls if call[0] in ("send", "revoke", "terminate", "purge")]


# -- one task --------------------------------------------------------------------------------


def test_a_retry_names_the_new_id_and_the_source(desk: Desk) -> None:
    out = desk.done("retry", "t0", "--yes")
    (sent,) = desk.stub.sent
    assert out.startswith(f"task t0 was sent again as {sent[1]}\n")
    assert "  source: capture\n" in out
    assert "  asked by: admin\n" in out
    document = desk.document("retry", "t1", "--yes")
    assert (document["state"], document["new_task_id"]) == ("done", desk.stub.sent[1][1])


def test_a_dry_run_of_each_verb_does_nothing(desk: Desk) -> None:
    assert desk.done("retry", "t0", "--dry-run").startswith("task t0 would be sent again\n")
    assert desk.done("cancel", "runs", "--dry-run").startswith("task runs would be revoked\n")
    out = desk.done("terminate", "runs", "--dry-run")
    assert out.startswith("task runs would be ended with SIGTERM\n  worker: w1@test\n")
    out = desk.done("purge", "celery", "--dry-run")
    assert out.startswith("3 messages would be removed from queue celery\n")
    assert re.search(r"^  confirm: \d+\.[0-9a-f.]+$", out, re.M)
    out = desk.done("bulk-retry", "--task", "math.*", "--dry-run")
    assert out.startswith("5 tasks would be sent again\n")
    assert "    math.add: 4\n" in out
    assert "    - task id lost, refused payload-unavailable\n" in out
    assert acts_of(desk.stub) == []


def test_cancel_and_terminate_are_told_apart(desk: Desk) -> None:
    out = desk.done("cancel", "runs", "--yes", role="operator")
    assert out.startswith("task runs was revoked: it does not start any more")
    out = desk.done("terminate", "runs", "--yes", role="operator")
    assert out.startswith("task runs: its process was sent SIGTERM\n")
    assert acts_of(desk.stub) == [("revoke", "runs"), ("terminate", "runs")]


def test_what_is_given_comes_to_the_api_as_it_was_given(desk: Desk, tmp_path: Path) -> None:
    seen: dict[str, Any] = {}
    find, send = desk.stub.find, desk.stub.send

    def note_find(task_id: str, caller: Any = None, **more: Any) -> Any:
        seen["caller"] = caller
        return find(task_id, caller, **more)

    def note_send(*args: Any, **more: Any) -> Any:
        seen.update(more)
        return send(*args, **more)

    desk.stub.find, desk.stub.send = note_find, note_send  # type: ignore[method-assign]
    kwargs = tmp_path / "kwargs.json"
    kwargs.write_text('{"path": "C:\\\\new\\\\table"}')
    desk.done(
        "retry", "unheard", "--args", '[1, "ü", null, 12345678901234567890123]', "--kwargs",
        f"@{kwargs}", "--name", "math.add", "--to-queue", "slow", "--priority", "3",
        "--time-limit", "7", "--eta", "2999-01-01T01:00:00+01:00", "--from-state", "unknown",
        "--from-state", "running", "--yes",
    )  # fmt: skip
    assert seen["caller"].args == (1, "ü", None, 12345678901234567890123)
    assert seen["caller"].kwargs == {"path": "C:\\new\\table"}
    assert seen["queue"] == "slow"
    assert (seen["options"].priority, seen["options"].time_limit) == (3, 7.0)
    assert seen["options"].eta.isoformat() == "2999-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("retry", "t0", "--args", "[1]"), "go together"),
        (("retry", "t0", "--args", "{}", "--kwargs", "{}"), "write an array"),
        (("retry", "t0", "--args", "[]", "--kwargs", "[]"), "write an object"),
        (("retry", "t0", "--args", "[NaN]", "--kwargs", "{}"), "NaN"),
        (("retry", "t0", "--args", "[]", "--kwargs", '{"a":1,"a":2}'), "a key comes twice"),
        (("retry", "t0", "--args", '["\\ud800"]', "--kwargs", "{}"), "surrogate"),
        (("retry", "t0", "--eta", "2999-01-01"), "with its zone"),
        (("retry", "a/b"), "slashes"),
        (("retry", ".."), "1 to 255"),
        (("retry", "a\nb"), "control characters"),
        (("retry", "\udc80"), "control characters"),
        (("retry", "t0", "--idempotency-key", "a b"), "visible"),
        (("bulk-retry",), "say which tasks"),
        (("bulk-retry", "--task", "a", "--ids-file", "x"), "say which tasks"),
        (("bulk-retry", "--task", "a", "--max", "10001"), "10000"),
        (("bulk-retry", "--since", "yesterday"), "2h"),
        (("purge", "q", "--confirm", "x", "--dry-run"), "second step"),
        (("show", "x", "--ask", "--as", "group"), "--as task"),
        (("show", "x", "--ask", "--follow"), "--as action"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_asked(
    desk: Desk, args: tuple[str, ...], says: str
) -> None:
    result = desk.run(*args, *([] if args[0] == "show" else ["--yes"]))
    assert result.exit_code == 2
    assert says in result.stderr
    assert desk.stub.calls == []


# -- refusals --------------------------------------------------------------------------------


def test_a_refusal_is_a_sentence_with_a_hint_in_options(desk: Desk) -> None:
    desk.done("retry", "t0", "--yes")
    error = desk.fails(ActionRefusedError, "retry", "t0", "--yes")
    assert error.exit_code == 15
    assert error.message == "The task was sent again before. [already-retried]"
    assert error.hint.startswith("--again sends it once more.\n  See: z4j-exporter action show ")
    desk.done("retry", "t0", "--yes", "--again")
    error = desk.fails(ActionRefusedError, "retry", "runs", "--yes")
    assert "--from-state STATE" in error.hint
    error = desk.fails(ActionRefusedError, "retry", "lost", "--yes")
    assert "--args JSON" in error.hint


def test_a_viewer_may_look_and_do_nothing(desk: Desk) -> None:
    for verb in ("retry", "cancel", "terminate", "purge"):
        error = desk.fails(ActionRefusedError, verb, "runs", "--yes", role="viewer")
        assert "[forbidden]" in error.message
    assert desk.stub.calls == []
    assert desk.done("show", "runs", role="viewer").startswith("task runs\n  state: running\n")


def test_a_token_that_is_not_known(desk: Desk) -> None:
    desk.office.tokens.remove("admin")
    error = desk.fails(ActionRefusedError, "retry", "t0", "--yes")
    assert "[unauthenticated]" in error.message
    assert error.hint.startswith("Is the token the one")


def test_what_the_broker_cannot_do_and_what_nobody_knows_are_told_apart(desk: Desk) -> None:
    desk.stub.fails["send"] = ActionError("broker-unreachable", 503, "no broker", hint="Is it up?")
    error = desk.fails(ActionFailedError, "retry", "t0", "--yes")
    assert (error.exit_code, error.message) == (16, "no broker [broker-unreachable]")
    desk.stub.fails["send"] = ActionError("broker-timeout", 504, "not confirmed", unknown=True)
    error = desk.fails(ActionUnknownError, "retry", "t1", "--yes", "--idempotency-key", "k1")
    assert error.exit_code == 18
    assert "The same command with --idempotency-key k1 tells what came of it" in error.hint
    # That is true: it is told, and nothing is sent.
    desk.stub.fails.clear()
    error = desk.fails(ActionUnknownError, "retry", "t1", "--yes", "--idempotency-key", "k1")
    assert "[broker-timeout]" in error.message
    assert desk.stub.sent == []
    # A dry run that nobody answers has done nothing.
    desk.stub.fails["state"] = ActionError("no-worker-answered", 504, "no worker answered")
    desk.fails(ActionFailedError, "terminate", "runs", "--dry-run")


def test_a_program_gets_the_problem_too(desk: Desk) -> None:
    env = {URL_VARIABLE: desk.api.listener.url, TOKEN_VARIABLE: desk.office.tokens.of["admin"]}
    result = CliRunner().invoke(action, ["retry", "runs", "--yes", "--output", "json"], env=env)
    assert isinstance(result.exception, ActionRefusedError)
    problem = json.loads(result.stdout)
    assert (problem["status"], problem["state"]) == (409, "running")


# -- asking the person -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "args",
    [
        ("retry", "t0"),
        ("cancel", "runs"),
        ("terminate", "runs"),
        ("purge", "celery"),
        ("bulk-retry", "--task", "*"),
        ("retry-group", "g"),
        ("resume", "x"),
    ],
)
def test_without_a_terminal_nothing_is_done_that_yes_was_not_said_to(
    desk: Desk, args: tuple[str, ...]
) -> None:
    result = desk.run(*args)
    assert result.exit_code == 2
    assert "there is no terminal to ask at: say --yes" in result.stderr
    assert desk.stub.calls == []


def test_at_a_terminal_the_person_sees_what_would_happen_and_decides(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(action_do, "_at_terminal", lambda: True)
    error = desk.fails(NotConfirmedError, "retry", "t0", input="n\n")
    assert (error.exit_code, error.message) == (20, "nothing was done")
    assert desk.stub.sent == []
    result = desk.run("retry", "t0", "--output", "json", input="y\n")
    assert result.stderr.startswith("task t0 would be sent again\n")
    assert "Send task t0 again? [y/N]" in result.stderr
    assert json.loads(result.stdout)["new_task_id"] == desk.stub.sent[0][1]


def test_a_question_that_would_be_refused_is_not_put(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(action_do, "_at_terminal", lambda: True)
    desk.fails(ActionRefusedError, "retry", "runs", input="y\n")


# -- purge -----------------------------------------------------------------------------------


def test_a_purge_counts_first_then_removes(desk: Desk) -> None:
    result = desk.run("purge", "celery", "--yes")
    assert result.stderr.startswith("3 messages would be removed from queue celery\n")
    assert "confirm" not in result.stderr
    assert re.search(r"^z4j-exporter: idempotency key: [0-9a-f-]{36}$", result.stderr, re.M)
    assert result.stdout.startswith("removed from queue celery: 3 messages\n")
    assert desk.stub.calls == [("purge_count", "celery"), ("purge", "celery")]


def test_the_two_steps_of_a_purge_by_hand(desk: Desk) -> None:
    token = desk.document("purge", "celery", "--dry-run")["result"]["confirm"]
    confirmed = ("purge", "celery", "--yes", "--confirm", token, "--idempotency-key", "k1")
    desk.done(*confirmed)
    again = desk.run(*confirmed)
    assert "nothing was done now" in again.stderr
    error = desk.fails(ActionRefusedError, "purge", "celery", "--yes", "--confirm", token)
    assert "[confirmation-needed]" in error.message
    assert "--dry-run gives a token" in error.hint
    assert acts_of(desk.stub) == [("purge", "celery")]


# -- jobs ------------------------------------------------------------------------------------


def test_a_job_is_followed_and_each_task_told(desk: Desk) -> None:
    with pytest.raises(ActionPartialError) as caught:
        desk.run("bulk-retry", "--task", "math.*", "--yes")
    assert caught.value.exit_code == 17
    assert caught.value.message == "not all of it was done: 1 refused, 4 sent"
    action_id = caught.value.hint.split()[-1]
    out = desk.done("show", action_id)
    assert out.startswith("of 5 tasks: 1 refused, 4 sent\n")
    assert f"\nsent     t0 as {desk.stub.sent[0][1]}\n" in out
    assert "\nrefused  lost: nobody knows it [payload-unavailable]\n" in out
    desk.fails(ActionPartialError, "show", action_id, "--follow")


def test_a_job_by_ids_from_a_file_or_from_standard_input(desk: Desk, tmp_path: Path) -> None:
    ids = tmp_path / "ids"
    ids.write_bytes(b"t0\r\n\n  t1  \nt0\n")
    document = desk.document("bulk-retry", "--ids-file", str(ids), "--yes")
    assert [item["task_id"] for item in document["items"]] == ["t0", "t1"]
    document = desk.document("bulk-retry", "--ids-file", "-", "--yes", input="t2\n")
    assert (document["state"], document["counts"]) == ("done", {"sent": 1})


def test_a_job_of_more_tasks_than_one_answer_brings(desk: Desk, tmp_path: Path) -> None:
    names = [f"n{number}" for number in range(1500)]
    for name in names:
        desk.stub.has(name)
        desk.tasks.put(name, state="failed", name="math.add", queue="celery")
    ids = tmp_path / "ids"
    ids.write_text("\n".join(names))
    document = desk.document(
        "bulk-retry", "--ids-file", str(ids), "--max", "1200", "--no-wait", "--yes"
    )
    assert (document["total"], document["truncated"]) == (1200, True)
    desk.office.engine.jobs.cancel(document["id"], "test")
    shown = desk.document("show", document["id"])
    assert [item["task_id"] for item in shown["items"]] == names[:1200]
    assert shown["next_offset"] is None


def test_a_filter_comes_to_the_api(desk: Desk) -> None:
    chosen = ("--task", "math.*", "--queue", "celery", "--state", "failed")
    out = desk.done(
        "bulk-retry", *chosen, "--since", "1970-01-01T00:20:00Z", "--until", "1s", "--dry-run"
    )
    assert out.startswith("1 task would be sent again\n")
    error = desk.fails(ActionRefusedError, "bulk-retry", "--since", "1h", "--yes")
    assert "[nothing-matches]" in error.message


def test_a_job_that_all_of_is_refused(desk: Desk) -> None:
    error = desk.fails(ActionRefusedError, "bulk-retry", "--task", "math.gone", "--yes")
    assert error.message == "all of it was refused: 1 refused"


def test_a_job_is_stopped(desk: Desk) -> None:
    desk.stub.held_up.clear()
    taken = desk.run("bulk-retry", "--task", "math.add", "--no-wait", "--yes")
    action_id = re.search(r"action: (\S+) \(running\)", taken.stdout)
    assert action_id is not None, taken.stdout
    assert desk.done("stop", action_id[1]).startswith("of 4 tasks: ")
    desk.stub.held_up.set()
    error = desk.fails(ActionPartialError, "show", action_id[1], "--follow")
    assert "1 sent" in error.message
    assert "cancelled by admin" in desk.done("show", action_id[1])


def test_a_job_that_stood_still_is_resumed(tmp_path: Path) -> None:
    stub, tasks = Stub(), Remembered()
    for number in range(7):
        tasks.put(f"t{number}", state="failed", name="math.add", queue="celery")
    stub.fails["find"] = ActionError("broker-unreachable", 503, "no broker")
    with office(tmp_path, performer=stub, tasks=tasks) as made, served(made) as api:
        desk = Desk(api, stub, tasks, made)
        error = desk.fails(ActionUnknownError, "bulk-retry", "--task", "*", "--yes")
        assert "5 failed" in error.message
        command = error.hint.partition("z4j-exporter action ")[2].split()
        assert command[0] == "resume"
        stub.fails.clear()
        for number in range(7):
            stub.has(f"t{number}")
        desk.fails(ActionPartialError, *command, "--yes")
        assert [old for old, _ in stub.sent] == ["t5", "t6"]


def test_too_many_ids_for_one_request(desk: Desk, tmp_path: Path) -> None:
    ids = tmp_path / "ids"
    ids.write_text("\n".join(f"{number:036}" for number in range(2000)))
    with pytest.raises(Exception, match="the API takes 65536"):
        desk.run("bulk-retry", "--ids-file", str(ids), "--yes")
    assert desk.stub.calls == []


@dataclass(frozen=True)
class Member:
    uuid: str
    index: int | None = 0
    name: str | None = "math.add"
    published: bool = True


@dataclass(frozen=True)
class Chord:
    members: tuple[Member, ...]
    group_id: str = "g"
    is_chord: bool = True
    chord_body: None = None
    truncated: bool = False


class Known:
    """What capture hooks told."""

    def group(self, group_id: str, limit: int = 10) -> Chord | None:
        members = (Member("t0"), Member("t1"))
        return Chord(members[:limit]) if group_id == "g" else None


def test_the_failed_members_of_a_group_are_sent_again(tmp_path: Path) -> None:
    stub, tasks = Stub(), Remembered()
    stub.has("t0")
    tasks.put("t0", state="failed", name="math.add", queue="celery")
    tasks.put("t1", state="succeeded", name="math.add", queue="celery")
    with (
        office(tmp_path, performer=stub, tasks=tasks, groups=Known()) as made,
        served(made) as api,
    ):
        desk = Desk(api, stub, tasks, made)
        shown = desk.done("show", "g")
        assert shown.startswith("group g\n  is chord: yes\n")
        assert "    failed: 1\n" in shown
        out = desk.done("retry-group", "g", "--dry-run")
        assert out.startswith("1 task of group g would be sent again\n")
        result = desk.run("retry-group", "g", "--yes")
        assert result.stdout.startswith("of 1 task of group g: 1 sent\n")
        assert "membership: dropped: group and chord" in result.stdout
        assert [old for old, _ in stub.sent] == ["t0"]
        desk.fails(ActionRefusedError, "retry-group", "other", "--yes")


# -- show ------------------------------------------------------------------------------------


def test_show_finds_out_what_an_id_is_of(desk: Desk) -> None:
    made = desk.document("retry", "t0", "--yes")
    assert desk.document("show", made["id"])["verb"] == "retry"
    assert desk.document("show", "t0")["retried_as"][0]["task_id"] == made["new_task_id"]
    assert desk.document("show", made["new_task_id"])["retry_of"] == "t0"
    error = desk.fails(ActionRefusedError, "show", "nothing")
    assert "nothing is known of an action, a task or a group of this id" in error.message
    error = desk.fails(ActionRefusedError, "show", "nothing", "--as", "action")
    assert "[action-not-found]" in error.message
    assert "held by:\n      - worker w1@test, phase active" in desk.done("show", "runs", "--ask")


def test_the_limit_of_a_chain_is_told(tmp_path: Path) -> None:
    stub, tasks = Stub(), Remembered()
    stub.has("t0")
    with (
        office(tmp_path, performer=stub, tasks=tasks, limits=EngineLimits(retries_chain=1)) as made,
        served(made) as api,
    ):
        desk = Desk(api, stub, tasks, made)
        new = desk.document("retry", "t0", "--yes")["new_task_id"]
        stub.has(new)
        error = desk.fails(ActionRefusedError, "retry", new, "--yes")
        assert "[retry-chain-cap]" in error.message
