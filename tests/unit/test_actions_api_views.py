"""What the API's answers show, and what they never do."""

from z4j_exporter.actions.api_views import action_view, task_view
from z4j_exporter.actions.engine_tasks import TaskFacts
from z4j_exporter.actions.locate import Held
from z4j_exporter.actions.model import Action, Actor, Target, Verb
from z4j_exporter.actions.perform_receipts import TaskKnown


def action(**options: object) -> Action:
    actor = Actor("retry-failed", "alert", "alert")
    return Action("a", Verb.RETRY, Target("t1"), actor, 1.0, options=dict(options))


def test_an_action_of_an_alert_names_it() -> None:
    kept = {
        "rule": "retry-failed",
        "fingerprint": "0123456789abcdef",
        "starts_at": "1795168800.500000000",
        "request": {"filter": None},
    }
    shown = action_view(action(alert=kept)).alert
    assert shown is not None
    assert shown.model_dump() == {
        "rule": "retry-failed",
        "fingerprint": "0123456789abcdef",
        "starts_at": 1795168800.5,
    }
    assert action_view(action()).alert is None


def test_arguments_are_in_no_answer() -> None:
    info = {"args": ["hunter2"], "kwargs": {"password": "hunter2"}, "hostname": "w"}
    held = Held("w", "active", info, "prefork", "('hunter2',)", "{'password': 'hunter2'}")
    known = TaskKnown("FAILURE", {"result": "hunter2", "args": ["hunter2"]}, (held,), 1, ("note",))
    shown = task_view(TaskFacts("t1"), [], None, known)
    assert shown.asked is not None
    assert shown.asked.held_by[0].worker == "w"
    assert "hunter2" not in shown.model_dump_json()
