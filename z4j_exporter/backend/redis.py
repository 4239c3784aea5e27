"""Reads metadata of results from Redis: their sizes first, then those that are small enough."""

from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any

from z4j_exporter.backend.base import MAX_METADATA_BYTES
from z4j_exporter.backend.metadata import key_prefixes
from z4j_exporter.errors import SourceLostError
from z4j_exporter.sources.redis_calls import Command, RedisCalls, items_in, refusal
from z4j_exporter.sources.redis_servers import RedisServers, close_connection, open_connection

#: Bytes of metadata that one round trip asks for.
_ROUND_BYTES = 8 * 1024 * 1024


class RedisResults:
    """A ResultReader on one connection that it keeps.

    ``options`` are Celery's result_backend_transport_options. Raises as RedisServers.
    """

    def __init__(
        self,
        urls: Sequence[str],
        options: Mapping[str, Any],
        ssl_options: Mapping[str, Any] | None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._servers = RedisServers(urls, options, ssl_options or None)
        self.location = self._servers.location
        self._prefixes = key_prefixes(str(options.get("global_keyprefix") or ""))
        self._clock = clock
        self._connection: Any = None

    def read(self, uuids: Sequence[str], deadline: float) -> dict[str, bytes | None]:
        """See ResultReader.read."""
        try:
            return self._read(self._calls(deadline), uuids)
        except BaseException:
            self.close()  # an answer may be under way
            raise

    def close(self) -> None:
        """See ResultReader.close."""
        connection, self._connection = self._connection, None
        if connection is not None:
            close_connection(connection)

    def _calls(self, deadline: float) -> RedisCalls:
        name = ""
        if self._connection is None:
            name = "z4j-exporter"
            self._connection = self._servers.first(
                open_connection, within_seconds=deadline - self._clock(), clock=self._clock
            )
        return RedisCalls(self._connection, deadline, client_name=name, clock=self._clock)

    def _read(self, calls: RedisCalls, uuids: Sequence[str]) -> dict[str, bytes | None]:
        found: dict[str, bytes | None] = {}
        keys = [(uuid, prefix + uuid) for uuid in uuids for prefix in self._prefixes]
        sizes: list[Command] = [("STRLEN", key) for _, key in keys]
        small: list[tuple[str, str]] = []
        waiting = 0
        for (uuid, key), size in zip(keys, calls.run(sizes), strict=True):
            if (words := refusal(size)) and not words.startswith("WRONGTYPE"):
                raise SourceLostError(f"the result backend refused: {words[:100]}")
            if not isinstance(size, int) or size <= 0:
                continue  # none, or no text
            if size > MAX_METADATA_BYTES:
                found[uuid] = None
                continue
            if waiting + size > _ROUND_BYTES:
                self._fetch(calls, small, found)
                small, waiting = [], 0
            small.append((uuid, key))
            waiting += size
        self._fetch(calls, small, found)
        return found

    def _fetch(
        self, calls: RedisCalls, keys: list[tuple[str, str]], found: dict[str, bytes | None]
    ) -> None:
        if not keys:
            return
        (answer,) = calls.run([("MGET", *(key for _, key in keys))])
        if words := refusal(answer):
            raise SourceLostError(f"the result backend refused: {words[:100]}")
        for (uuid, _), value in zip(keys, items_in(answer, len(keys)), strict=True):
            if isinstance(value, bytes):
                found[uuid] = value
