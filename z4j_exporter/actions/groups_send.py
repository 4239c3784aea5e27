"""Puts chords into broker and result backend: the size first, then the members' messages."""

import contextlib
import time
from collections.abc import Sequence
from typing import Final, Protocol

from celery import Celery
from celery.app.backends import by_url
from celery.backends.redis import RedisBackend

from z4j_exporter.actions.celery_backend import BackendOptions
from z4j_exporter.actions.celery_broker import Broker
from z4j_exporter.actions.celery_deadline import Call
from z4j_exporter.actions.messages import Outgoing
from z4j_exporter.actions.model import ActionError, Payload
from z4j_exporter.config import Settings
from z4j_exporter.journal.model import JournalError, StoredPayload

_SECONDS: Final = 10.0


class ChordSender:
    """Sends chords of an application whose results are in Redis, the one backend that is known.

    The others count in other ways. Raises as Broker does.
    """

    def __init__(self, settings: Settings, backend: BackendOptions | None) -> None:
        self._broker = Broker(settings)
        self._backend = backend

    def announce(self, group_id: str, size: int) -> None:
        """Write the chord's size where workers count it down (``set_chord_size``).

        Raises ActionError: 422 (backend-unsupported), 503 (backend-unreachable).
        """
        call = Call(lambda: self._announce(group_id, size), "z4j-chord-size")
        try:
            call.result(_SECONDS)
        except ActionError:
            raise
        except Exception as error:  # noqa: BLE001 - each driver has errors of its own
            raise ActionError(
                "backend-unreachable",
                503,
                # Only its kind: its text may hold the password.
                f"The result backend cannot be written, nothing was sent: {type(error).__name__}.",
            ) from None

    def send(
        self, payload: Payload, message: Outgoing, *, queue: str | None, new_queue: bool
    ) -> str | None:
        """Send a member's message; see groups_whole.SendsChords."""
        exchange, key = self._broker.deliver(
            payload, message, time.monotonic() + _SECONDS, queue=queue, new_queue=new_queue
        )
        return None if exchange else key

    def _announce(self, group_id: str, size: int) -> None:
        if self._backend is None:
            raise _unsupported()
        app = Celery("z4j-exporter", set_as_current=False, fixups=[], loader="app")
        app.conf.update(
            broker_url="memory://",
            result_backend_transport_options=dict(self._backend.transport_options),
            redis_backend_use_ssl=dict(self._backend.tls) if self._backend.tls else None,
            redis_socket_timeout=_SECONDS / 2,
            redis_socket_connect_timeout=_SECONDS / 2,
        )
        # Not app.backend: the environment's CELERY_RESULT_BACKEND comes before its settings.
        kind, url = by_url(self._backend.url, app.loader)
        if not issubclass(kind, RedisBackend):
            raise _unsupported()
        backend = kind(app=app, url=url)
        try:
            backend.set_chord_size(group_id, size)
        finally:
            with contextlib.suppress(Exception):  # it is being thrown away
                backend.client.close()


class ReadsPayloads(Protocol):
    """The capture journal; see journal.reader.JournalReader."""

    def payload(self, uuid: str) -> StoredPayload | None:
        """Return what a task was last published with. Raises JournalError."""


def captured_size(reader: ReadsPayloads, task_ids: Sequence[str]) -> int | None:
    """Return how many members Celery counted when it published a chord; None where nobody heard.

    Only the note of the member that was published last has it. Raises ActionError (503).
    """
    try:
        # The last index first: that is the one.
        for task_id in reversed(task_ids):
            stored = reader.payload(task_id)
            if stored is not None and stored.envelope.chord_size is not None:
                return stored.envelope.chord_size
    except JournalError as error:
        raise ActionError(
            "capture-journal-unavailable", 503, "The capture journal cannot be read.",
            hint=error.message,
        ) from None  # fmt: skip
    return None


def _unsupported() -> ActionError:
    return ActionError(
        "backend-unsupported",
        422,
        "A whole chord can be sent again only where the results are in Redis.",
        hint="Its failed members can be: leave whole out. The body does not run then.",
    )
