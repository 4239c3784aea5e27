"""Fetches payloads that the capture hook put into Redis, decrypted where a key is set."""

import time
from collections.abc import Callable
from typing import Any

from msgspec import DecodeError
from msgspec.json import Decoder

from z4j_exporter.config import Settings
from z4j_exporter.errors import ConfigError, SourceLostError
from z4j_exporter.events.captured import Payload
from z4j_exporter.journal.model import Body, StoreError
from z4j_exporter.journal.notes import body_bytes
from z4j_exporter.sources.redis_calls import connect_calls, refusal
from z4j_exporter.sources.redis_servers import RedisServers

#: What the hook's keys begin with (capture/store.py KEY_PREFIX). A key comes from the wire: no
#: other may be read.
_KEY_PREFIX = "z4j:payload:"
#: A Fernet token begins with its version byte 0x80, in base64.
_TOKEN = b"gAAAA"

_decode_payload = Decoder(Payload).decode


class PayloadStore:
    """Redis as the hook's ``store_url``. Any thread may ask; each question is a connection.

    Raises BrokerUrlError, ConfigError or FileError for settings that cannot be used.
    """

    def __init__(
        self, url: str, key: str | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._servers = RedisServers([each.strip() for each in url.split(";")], {}, None)
        self._fernet = _fernet(key) if key else None
        self._clock = clock

    def fetch(self, stored_key: str, timeout_seconds: float = 5.0) -> Body | None:
        """Return the body under an envelope's ``stored_key``; None when it is not there any more.

        Raises StoreError where the store does not answer in time, or it cannot be read.
        """
        if not stored_key.startswith(_KEY_PREFIX):
            raise StoreError("the key of the stored payload is none of the capture hook's")
        deadline = self._clock() + timeout_seconds
        try:
            calls = connect_calls(self._servers, deadline, "z4j-exporter", self._clock)
            try:
                (answer,) = calls.run([("GET", stored_key)])
            finally:
                calls.close()
        except SourceLostError as error:
            raise StoreError(
                f"the store of payloads does not answer: {error.message}",
                hint="Check --capture-store-url.",
            ) from None
        if words := refusal(answer):
            raise StoreError(f"the store of payloads refused: {words[:100]}")
        return None if answer is None else self._read(answer)

    def _read(self, value: Any) -> Body:
        if not isinstance(value, bytes):
            raise _unreadable()
        if value.startswith(_TOKEN):
            value = self._decrypted(value)
        try:
            payload = _decode_payload(value)
        except (DecodeError, ValueError):
            raise _unreadable() from None
        data = body_bytes(payload.body, payload.content_encoding)
        if data is None:
            raise _unreadable()
        return Body(data, payload.content_type, payload.content_encoding)

    def _decrypted(self, token: bytes) -> bytes:
        if self._fernet is None:
            raise StoreError(
                "the stored payload is encrypted",
                hint="Set the capture hook's store_key as --capture-store-key.",
            )
        from cryptography.fernet import InvalidToken

        try:
            return bytes(self._fernet.decrypt(token))
        except InvalidToken:
            raise StoreError(
                "the stored payload was encrypted with another key",
                hint="--capture-store-key must be the capture hook's store_key.",
            ) from None


def _unreadable() -> StoreError:
    return StoreError("the stored payload is not as the capture hook stores it")


def _fernet(key: str) -> Any:
    try:
        from cryptography.fernet import Fernet
    except ImportError:
        raise ConfigError(
            "--capture-store-key needs the package cryptography",
            hint="pip install cryptography",
        ) from None
    try:
        return Fernet(key.encode())
    except ValueError:
        raise ConfigError(
            "--capture-store-key is no Fernet key",
            hint="It is 32 bytes as URL-safe base64, the same as the capture hook's store_key.",
        ) from None


def make_payload_store(settings: Settings) -> PayloadStore | None:
    """Return the store of the settings, None where there is none; raises as PayloadStore."""
    if not settings.capture_store_url:
        if settings.capture_store_key:
            raise ConfigError(
                "--capture-store-key needs --capture-store-url",
                hint="It is the capture hook's store_url.",
            )
        return None
    scheme, _, rest = settings.capture_store_url.partition("://")
    if scheme == "unix":  # as redis-py has it, and with it the hook
        rest = rest.replace("?db=", "?virtual_host=")
        return PayloadStore(f"redis+socket://{rest}", settings.capture_store_key)
    if scheme.lower() not in ("redis", "rediss", "redis+socket"):
        raise ConfigError(
            f"--capture-store-url begins with {scheme[:20]!r}, which is no Redis",
            hint="The capture hook stores payloads in Redis: redis:// or rediss://.",
        )
    return PayloadStore(settings.capture_store_url, settings.capture_store_key)
