"""Sends questions and commands with arguments to workers, all or some, and collects the answers.

The connection is that of fleet/mailbox.py, which never touches unacknowledged messages. Answers
are read as they stand: arguments in them are sent again, so no number or date may be rounded off.
"""

import contextlib
import json
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

from kombu.entity import Exchange
from kombu.messaging import Consumer, Producer

from z4j_exporter.actions.celery_deadline import Call, Gate, TooLateError
from z4j_exporter.actions.celery_errors import unknown, unreachable
from z4j_exporter.config import Settings
from z4j_exporter.errors import BrokerUrlError, SourceLostError
from z4j_exporter.fleet.mailbox import MAX_REPLY_BYTES, Mailbox

#: Seconds between looks at the clock.
_LOOK_SECONDS: Final = 0.1
#: Seconds that other workers are waited for once somebody has said what was wanted.
_LINGER_SECONDS: Final = 0.2
#: Seconds that a round of questions may be late.
_SPARE_SECONDS: Final = 0.5
#: Answers that are taken in one round.
_MAX_ANSWERS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Question:
    """One remote control command (celery/worker/control.py)."""

    command: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    #: Nodenames; None: all workers.
    destination: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What one worker answered; ``value`` is None where it cannot be read."""

    question: Question
    worker: str
    value: Any
    content_type: str


#: Whether these answers are enough, so that nobody else is waited for.
Enough = Callable[[list[Answer]], bool]


class Workers(Mailbox):
    """A connection to ask workers on; for one round of questions."""

    def round(
        self, questions: Collection[Question], *, deadline: float, enough: Enough, gate: Gate
    ) -> list[Answer]:
        """Ask all questions at once; return the answers that came until ``deadline`` (monotonic).

        Sooner, a moment after ``enough`` said so. ``gate`` is passed before anything is sent.
        Raises SourceLostError when the broker does not serve it, and what drivers raise.
        """
        self.bound_waits(max(0.1, deadline - time.monotonic()))
        self.check_fanout()
        with self.replies() as (channel, queue):
            gate.go_through()
            tickets = self._tell(channel, queue, questions, deadline)
            return self._gather(channel, queue, tickets, deadline, enough)

    def _tell(
        self, channel: Any, queue: Any, questions: Collection[Question], deadline: float
    ) -> dict[str, Question]:
        exchange = Exchange(  # type: ignore[no-untyped-call]  # kombu has no types
            f"{self.exchange}.pidbox", type="fanout", durable=False, delivery_mode="transient"
        )
        producer: Any = Producer(channel, auto_declare=False)  # type: ignore[no-untyped-call]  # same
        tickets = {}
        for question in questions:
            ticket = str(uuid4())
            tickets[ticket] = question
            producer.publish(
                {
                    "method": question.command,
                    "arguments": dict(question.arguments),
                    "destination": question.destination and list(question.destination),
                    "pattern": None,
                    "matcher": None,
                    "ticket": ticket,
                    "reply_to": {
                        "exchange": queue.exchange.name,
                        "routing_key": queue.routing_key,
                    },
                },
                exchange=exchange.name,
                declare=[exchange],
                # A worker that is busy must not do it long after we have said "unknown".
                headers={"clock": 1, "expires": time.time() + deadline - time.monotonic()},
                serializer="json",
            )
        return tickets

    def _gather(
        self,
        channel: Any,
        queue: Any,
        tickets: Mapping[str, Question],
        deadline: float,
        enough: Enough,
    ) -> list[Answer]:
        answers: list[Answer] = []

        def on_message(message: Any) -> None:
            headers = message.headers if isinstance(message.headers, dict) else {}
            question = tickets.get(str(headers.get("ticket")))
            if question is not None and len(answers) < _MAX_ANSWERS:
                answers.extend(_answers(question, message))

        consumer: Any = Consumer(  # type: ignore[no-untyped-call]  # kombu has no types
            channel, [queue], no_ack=True, on_message=on_message
        )
        consumer.consume()  # until the connection is closed
        lingering = False
        while (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                self.connection.drain_events(timeout=min(left, _LOOK_SECONDS))
            if not lingering and enough(answers):
                deadline = min(deadline, time.monotonic() + _LINGER_SECONDS)
                lingering = True
        return answers


def ask(
    settings: Settings,
    questions: Collection[Question],
    *,
    deadline: float,
    enough: Enough = lambda _: False,
    control_exchange: str = "celery",
) -> list[Answer]:
    """Ask workers on a connection of its own, until ``deadline`` (monotonic).

    Raises ActionError: 503 (broker-unreachable) when nothing was sent, 504 (broker-timeout) when
    the connection was lost after it.
    """
    gate = Gate()

    opened: list[Workers] = []

    def act() -> list[Answer]:
        opened.append(Workers(settings, control_exchange))
        return opened[0].round(questions, deadline=deadline, enough=enough, gate=gate)

    def close() -> None:
        # On Redis kombu waits up to a second for the end of its last BRPOP.
        for workers in opened:
            workers.close()

    try:
        # The answers' own deadline is over a moment before.
        left = deadline - time.monotonic() + _SPARE_SECONDS
        return Call(act, "z4j-ask-workers", after=close).result(left)
    except (SourceLostError, BrokerUrlError) as error:
        why = error.message
    except (TimeoutError, TooLateError):
        why = "no answer in time"
    except Exception as error:  # noqa: BLE001 - each driver has errors of its own
        why = type(error).__name__
    raise unknown(why) if gate.close() else unreachable(why)


def _answers(question: Question, message: Any) -> list[Answer]:
    """Return what a reply says: ``{nodename: value}``, of one worker."""
    content_type = str(message.content_type)
    body = message.body
    data = body.encode("utf-8", "replace") if isinstance(body, str) else body
    if content_type != "application/json" or not isinstance(data, (bytes, bytearray)):
        return [Answer(question, "", None, content_type)]  # pickle, above all, is never loaded
    if len(data) > MAX_REPLY_BYTES:
        return [Answer(question, "", None, content_type)]
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        return [Answer(question, "", None, content_type)]
    return [Answer(question, str(w), value, content_type) for w, value in values.items()]
