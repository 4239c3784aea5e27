"""Keeps payloads that must not travel as events in Redis, for a time, encrypted under a key."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from z4j_exporter.capture.settings import Settings

logger = logging.getLogger("z4j_exporter.capture")

#: What the keys in Redis begin with.
KEY_PREFIX = "z4j:payload:"
#: Seconds without an attempt after the store did not answer.
_PAUSE_SECONDS = 5.0


class PayloadStore:
    """Redis with one key for each payload.

    A value is JSON as in an envelope's `payload`; with a key set it is a Fernet token of that JSON.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._not_before = 0.0
        self._client = _client(settings)
        self._fernet = _fernet(settings.store_key)

    @property
    def encrypts(self) -> bool:
        """Whether what is stored is encrypted: only then may it be a redacted payload."""
        return self._fernet is not None

    def save(self, payload: dict[str, Any]) -> str:
        """Store a payload and return its key; "" when it could not be stored."""
        now = self._clock()
        if now < self._not_before:
            return ""
        value = json.dumps(payload, separators=(",", ":")).encode()
        if self._fernet is not None:
            value = self._fernet.encrypt(value)
        key = KEY_PREFIX + uuid.uuid4().hex
        try:
            # At least a second: Redis refuses less.
            lifetime = max(1, round(self._settings.store_ttl_seconds))
            self._client.set(key, value, ex=lifetime)
        except Exception as error:  # noqa: BLE001  # redis is the application's, of any version
            # The class only: the text may tell the URL with its password.
            logger.warning("a payload could not be stored: %s", type(error).__name__)
            self._not_before = self._clock() + _PAUSE_SECONDS
            return ""
        return key


def _client(settings: Settings) -> Any:
    try:
        import redis
    except ImportError:
        raise ImportError('payload="store" needs the redis package: pip install redis') from None
    timeout = settings.timeout_seconds
    return redis.Redis.from_url(
        settings.store_url, socket_timeout=timeout, socket_connect_timeout=timeout
    )


def _fernet(key: str) -> Any:
    if not key:
        return None
    try:
        from cryptography.fernet import Fernet
    except ImportError:
        logger.error("store_key needs the cryptography package: redacted payloads are not kept")
        return None
    try:
        return Fernet(key)
    except ValueError:
        logger.error("store_key is no Fernet key (32 bytes, URL-safe base64): it is not used")
        return None
