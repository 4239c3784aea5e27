"""An engine in a process of its own that ends by SIGKILL at a step: python -m … DIR URL STEP ID…"""

import os
import signal
import sys
from pathlib import Path

from tests.support.actions_api import office
from z4j_exporter.actions.engine_request import Request, Sending
from z4j_exporter.actions.model import Actor, Verb
from z4j_exporter.actions.perform import Performer
from z4j_exporter.config import Settings

#: Whoever asks in these tests; it has a token in ``Tokens``.
ACTOR = Actor("operator", "operator", "token")


class Whole:
    """A performer that knows every task's payload, and really sends."""

    def __init__(self, url: str) -> None:
        self.real = Performer(Settings(broker_url=url))
        self.send = self.real.send
        self.purge_count = self.real.purge_count

    def find(self, task_id: str, *_: object, **__: object) -> object:
        from tests.support.actions_api import Stub

        stub = Stub()
        stub.has(task_id)
        return stub.payloads[task_id]


def request(verb: Verb, *task_ids: str, key: str = "k") -> Request:
    """The same request each time: it has the same hash."""
    one = task_ids[0] if verb is Verb.RETRY else None
    many = () if verb is Verb.RETRY else task_ids
    return Request(
        verb, ACTOR, task_id=one, task_ids=many, idempotency_key=key,
        sending=Sending(new_queue=True),
    )  # fmt: skip


def main(directory: str, url: str, step: str, *task_ids: str) -> None:
    """Ask for one retry, or for a bulk retry of several; end at the step's first coming.

    ``step:2`` ends at its second coming.
    """
    name, _, nth = step.partition(":")
    seen = 0

    def on_step(reached: str) -> None:
        nonlocal seen
        seen += reached == name
        if seen == int(nth or 1):
            os.kill(os.getpid(), signal.SIGKILL)

    verb = Verb.RETRY if len(task_ids) == 1 else Verb.BULK_RETRY
    with office(Path(directory), performer=Whole(url), on_step=on_step) as made:  # type: ignore[arg-type]  # as much as retries need
        made.engine.submit(request(verb, *task_ids))
        signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
