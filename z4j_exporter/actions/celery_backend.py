"""Reads what a result backend keeps of a task, raw, through Celery's own backend classes."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from celery import Celery
from celery.app.backends import by_url
from celery.backends.base import BaseKeyValueStoreBackend

from z4j_exporter.actions.celery_deadline import Call
from z4j_exporter.actions.messages_body import expand
from z4j_exporter.actions.model import ActionError
from z4j_exporter.actions.payload_backend import Metadata, read_metadata

#: Seconds of one attempt to reach the backend, at most.
_MOST_SECONDS: Final = 5.0
#: Bytes of a task's id; Celery's have 36.
_MAX_ID_BYTES: Final = 255
#: What compressed results begin with (celery/backends/base.py, since 5.7).
_COMPRESSED: Final = b"\0celery-compressed\0"


@dataclass(frozen=True, slots=True)
class BackendOptions:
    """Where the application keeps results; names as in Celery's settings."""

    #: result_backend: redis://, rediss://, memcached …; a secret.
    url: str = field(repr=False)
    #: result_backend_transport_options: global_keyprefix, master_name, …
    transport_options: Mapping[str, Any] = field(default_factory=dict)
    #: redis_backend_use_ssl.
    tls: Mapping[str, Any] | None = field(default=None, repr=False)


class ResultBackend:
    """The result backend of the application. Reads only.

    No application code is needed: a bare application with the same backend has the same keys.
    """

    def __init__(self, options: BackendOptions) -> None:
        self._options = options

    def metadata(self, task_id: str, timeout_seconds: float) -> Metadata | None:
        """Return the metadata of a task; None when the backend has none.

        Raises ActionError: 503 (backend-unreachable), 422 (backend-unsupported or -unreadable).
        """
        if not _may_be_an_id(task_id):
            return None
        call = Call(lambda: self._raw(task_id, timeout_seconds), "z4j-result-backend")
        try:
            raw = call.result(timeout_seconds)
        except ActionError:
            raise
        except TimeoutError:
            raise _unreachable("no answer in time") from None
        except Exception as error:  # noqa: BLE001 - each driver has errors of its own
            # Only its kind: its text may hold the password.
            raise _unreachable(type(error).__name__) from None
        return read_metadata(raw, task_id)

    def _raw(self, task_id: str, timeout_seconds: float) -> bytes | str | None:
        app = self._application(min(_MOST_SECONDS, timeout_seconds))
        # Not app.backend: the environment's CELERY_RESULT_BACKEND comes before its settings.
        kind, url = by_url(self._options.url, app.loader)
        backend = kind(app=app, url=url)
        if not isinstance(backend, BaseKeyValueStoreBackend):
            raise ActionError(
                "backend-unsupported",
                422,
                "what the result backend holds can be read from key-value stores only, such as "
                "Redis and Memcached",
            )
        try:
            raw = backend.get(backend.get_key_for_task(task_id))
        finally:
            with contextlib.suppress(Exception):  # it is being thrown away
                backend.client.close()
        if isinstance(raw, bytes) and raw.startswith(_COMPRESSED):
            kind, _, body = raw.removeprefix(_COMPRESSED).partition(b"\0")
            raw = expand(body, kind.decode("ascii", "replace"))
        return raw if isinstance(raw, bytes | str) else None

    def _application(self, timeout_seconds: float) -> Celery:
        app = Celery("z4j-exporter", set_as_current=False, fixups=[], loader="app")
        app.conf.update(
            broker_url="memory://",
            result_backend_transport_options=dict(self._options.transport_options),
            redis_socket_timeout=timeout_seconds,
            redis_socket_connect_timeout=timeout_seconds,
            redis_retry_on_timeout=False,
        )
        if self._options.tls is not None:
            app.conf.redis_backend_use_ssl = dict(self._options.tls)
        return app


def _may_be_an_id(task_id: str) -> bool:
    try:
        return 0 < len(task_id.encode()) <= _MAX_ID_BYTES
    except UnicodeEncodeError:
        return False  # half a surrogate pair: no key can have it


def _unreachable(why: str) -> ActionError:
    return ActionError(
        "backend-unreachable",
        503,
        f"the result backend cannot be read: {why}",
        hint="Is it running, and is its URL right?",
    )
