"""What hooks tell goes to all who use it; the result backend is asked for the rest alone."""

import pytest

from tests.support.grouping import envelope, run
from z4j_exporter import capturing
from z4j_exporter.capturing import Capturing
from z4j_exporter.config import Settings
from z4j_exporter.events.captured import captured
from z4j_exporter.events.model import Event
from z4j_exporter.metrics.store import Store
from z4j_exporter.track.transitions import TaskTransition


class Asked:
    """A lookup that only remembers what it was asked for."""

    def __init__(self) -> None:
        self.uuids: list[str] = []

    def look_up(self, uuid: str) -> None:
        self.uuids.append(uuid)


def succeeded(uuid: str, attempts: int = 1) -> TaskTransition:
    return TaskTransition(
        kind="succeeded", uuid=uuid, name="add", timestamp=1.0, final=True, attempts=attempts
    )


@pytest.mark.parametrize(
    ("notes", "end"),
    [
        ([envelope("a", retries=0, routing_key="celery")], succeeded("a")),
        ([run("a", retries=0, routing_key="celery")], succeeded("a")),
        ([envelope("a", retries=2, routing_key="celery")], succeeded("a", attempts=3)),
        ([envelope("a", group_id="G", group_index=0)], succeeded("a")),
    ],
    ids=["published", "run", "retried", "in a group"],
)
def test_the_backend_is_not_asked_for_what_a_hook_told(
    notes: list[Event], end: TaskTransition, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked()
    monkeypatch.setattr(capturing, "make_backend_lookup", lambda *_: asked)
    made = Capturing(Settings(), Store(), lambda order: order())
    emit = made.following(lambda _: None)
    for event in notes:
        made.captured(captured(event), event, 0.0)
    emit(end)
    assert asked.uuids == []
    emit(succeeded("stranger"))
    assert asked.uuids == ["stranger"]
