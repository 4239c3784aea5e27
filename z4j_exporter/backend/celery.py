"""Reads metadata of results through Celery's own backends, where those are stores of keys.

Only their ``get`` is used, which returns bytes: Celery's decoding could unpickle.
"""

from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any

from celery import Celery
from celery.app.backends import by_url
from celery.backends.base import BaseKeyValueStoreBackend

from z4j_exporter.backend.base import MAX_METADATA_BYTES
from z4j_exporter.backend.metadata import key_prefixes
from z4j_exporter.errors import SourceLostError


class CeleryResults:
    """A ResultReader on one of Celery's backends. Its calls may take longer than the deadline."""

    def __init__(
        self, backend: BaseKeyValueStoreBackend, location: str, prefixes: list[str]
    ) -> None:
        self.location = location
        self._backend = backend
        self._prefixes = prefixes

    def read(self, uuids: Sequence[str], deadline: float) -> dict[str, bytes | None]:
        """See ResultReader.read."""
        found: dict[str, bytes | None] = {}
        for uuid in uuids:
            for prefix in self._prefixes:
                if monotonic() >= deadline:
                    raise SourceLostError("the result backend does not answer in time")
                value = self._get(prefix + uuid)
                if value:
                    found[uuid] = value if len(value) <= MAX_METADATA_BYTES else None
                    break
        return found

    def close(self) -> None:
        """See ResultReader.close; Celery's backends keep no connection that must be closed."""

    def _get(self, key: str) -> bytes | None:
        try:
            value = self._backend.get(self._backend.key_t(key))
        except Exception as error:  # noqa: BLE001  # any driver's
            # The class only: the text may hold the URL.
            raise SourceLostError(
                f"the result backend does not answer: {type(error).__name__}"
            ) from None
        if isinstance(value, str):
            return value.encode(errors="replace")
        return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else None


def open_celery_results(url: str, options: Mapping[str, Any]) -> CeleryResults | None:
    """Return a reader for a URL as of Celery's ``result_backend``; None if it cannot be read so.

    Databases, mongodb and rpc cannot: they keep pickles, or no group, or messages.
    """
    app = Celery("z4j-exporter", set_as_current=False, fixups=[])
    app.conf.update(result_backend_transport_options=dict(options), result_serializer="json")
    try:
        kind, rest = by_url(url, app.loader)
        if not issubclass(kind, BaseKeyValueStoreBackend):
            return None
        backend = kind(app=app, url=rest)
    except Exception:  # noqa: BLE001  # a driver that is not installed, a URL that it refuses
        return None
    prefixes = key_prefixes(str(options.get("global_keyprefix") or ""))
    return CeleryResults(backend, url.partition("://")[0], prefixes)
