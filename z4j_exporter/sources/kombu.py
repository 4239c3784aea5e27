"""Reads events through kombu, for the transports that have no source of their own.

Which they are, and why no others: transports.py.
"""

import contextlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import SplitResult, quote, unquote, urlsplit

from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from kombu.messaging import Consumer

from z4j_exporter.errors import BrokerUrlError, SourceLostError
from z4j_exporter.sources.base import CONNECT_TIMEOUT_SECONDS, Framed, Message, Session, Source
from z4j_exporter.sources.transports import check_transport, scheme_of

__all__ = ["KombuSession", "KombuSource", "check_transport"]

#: Messages taken in one read at most: beyond it the reader loop has to see whether to stop.
MAX_MESSAGES_PER_READ: Final = 1000
#: Bytes a message costs beside its body: the tuple and the bytes object of CPython.
MESSAGE_OVERHEAD_BYTES: Final = 112
#: Seconds between two looks at a transport that cannot tell of a message, when looking costs
#: nothing. kombu's own default is 1 s.
LOCAL_POLLING_SECONDS: Final = 0.1

_LOCAL: Final = frozenset({"filesystem", "memory"})
_FANOUT_ONLY: Final = frozenset({"gcpubsub"})

#: ``messaging.system`` where the OpenTelemetry conventions have another name than kombu.
_SYSTEMS: Final[Mapping[str, str]] = {"gcpubsub": "gcp_pubsub"}


class KombuSource(Source):
    """The events of a broker that kombu alone can speak to.

    ``transport_options`` and ``ssl`` are Celery's ``broker_transport_options`` and
    ``broker_use_ssl``. The queue is new for every connection; its TTL and expiry are asked for
    where the transport knows them.

    Raises BrokerUrlError when the transport cannot carry events or its driver is missing.
    """

    def __init__(
        self,
        urls: Sequence[str] | str,
        *,
        transport_options: Mapping[str, Any] | None = None,
        ssl: Mapping[str, Any] | bool | None = None,
        event_exchange: str = "celeryev",
        event_queue_prefix: str = "celeryev",
        queue_ttl_seconds: float | None = 60.0,
        queue_expires_seconds: float | None = 60.0,
    ) -> None:
        self._url = urls if isinstance(urls, str) else ";".join(urls)
        if check_transport(self._url) != "kombu":
            raise BrokerUrlError("this broker is not one to be read through kombu")
        self._scheme = scheme_of(self._url)
        self._options = dict(transport_options or {})
        if self._scheme in _LOCAL:
            self._options.setdefault("polling_interval", LOCAL_POLLING_SECONDS)
        self._ssl = ssl or False
        self._exchange = Exchange(  # type: ignore[no-untyped-call]  # kombu has no types
            event_exchange, type="fanout" if self._scheme in _FANOUT_ONLY else "topic"
        )
        self._queue_prefix = event_queue_prefix
        self._ttl_seconds = queue_ttl_seconds
        self._expires_seconds = queue_expires_seconds
        self.system = _SYSTEMS.get(self._scheme, self._scheme)
        parts, self._secrets = _take_apart(self._url)
        self.location = ", ".join(_location(part) for part in parts)
        if self._scheme == "memory":
            self.location += " (this process only)"
        self._check_driver()

    def connect(self) -> Session:
        """See Source.connect."""
        connection = self._connection()
        try:
            connection.connect()
            channel = connection.channel()
            queue = Queue(  # type: ignore[no-untyped-call]  # kombu has no types
                f"{self._queue_prefix}.{uuid.uuid4()}",
                exchange=self._exchange,
                routing_key="#",
                auto_delete=True,
                durable=False,
                message_ttl=self._ttl_seconds,
                expires=self._expires_seconds,
            )(channel)
            session = KombuSession(connection, channel, queue, self._lost)
            session.subscribe()
        except Exception as error:  # noqa: BLE001 - each driver has errors of its own
            _release(connection)
            raise self._lost(error) from None
        return session

    def __repr__(self) -> str:
        return f"KombuSource({self.location})"

    def _connection(self) -> Any:
        return Connection(  # type: ignore[no-untyped-call]  # kombu has no types
            self._url,
            ssl=self._ssl,
            transport_options=dict(self._options),
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
        )

    def _check_driver(self) -> None:
        try:
            self._connection().transport  # noqa: B018 - loads the driver, connects to nothing
        except Exception as error:  # noqa: BLE001 - qpid raises RuntimeError, others ImportError
            raise BrokerUrlError(
                f"the transport {self._scheme!r} cannot be used: {self._clean(error)}",
                hint=f"Install its driver: pip install 'kombu[{self._scheme}]'.",
            ) from None

    def _lost(self, error: Exception) -> SourceLostError:
        return SourceLostError(f"{self.location}: {self._clean(error)}")

    def _clean(self, error: Exception) -> str:
        text = str(error) or type(error).__name__
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return "".join(c if c.isprintable() else " " for c in text)[:500]


class KombuSession(Session):
    """One subscription through kombu; used by one thread."""

    def __init__(self, connection: Any, channel: Any, queue: Any, lost: Any) -> None:
        self._connection = connection
        self._queue = queue
        self._lost = lost
        self._taken: list[Framed] = []
        # With on_message kombu hands over the message undecoded (kombu/messaging.py).
        self._consumer: Any = Consumer(  # type: ignore[no-untyped-call]  # kombu has no types
            channel,
            queues=[queue],
            no_ack=True,
            on_message=self._take,
            on_decode_error=self._take_broken,
        )

    def subscribe(self) -> None:
        """Declare queue and binding, start to consume."""
        self._consumer.consume(no_ack=True)

    def read(self, timeout_seconds: float) -> tuple[list[Message], int]:
        """See Session.read."""
        with contextlib.suppress(TimeoutError):
            self._drain(timeout_seconds)
            while len(self._taken) < MAX_MESSAGES_PER_READ:
                self._drain(0)
        taken, self._taken = self._taken, []
        size = sum(len(message.body) + MESSAGE_OVERHEAD_BYTES for message in taken)
        return list(taken), size

    def close(self) -> None:
        """Delete the queue, which not every transport does by itself, and disconnect."""
        for step in (self._consumer.cancel, self._queue.purge, self._queue.delete):
            with contextlib.suppress(Exception):
                step()
        _release(self._connection)

    def _drain(self, timeout_seconds: float) -> None:
        try:
            self._connection.drain_events(timeout=timeout_seconds)
        except TimeoutError:
            raise
        except (ValueError, KeyError):
            # Not the JSON object kombu writes; the transport has removed it from the queue.
            self._taken.append(Framed(b"", None, None))
        except Exception as error:  # noqa: BLE001 - each driver has errors of its own
            if self._taken:
                raise TimeoutError from None  # these count first; the next read fails again
            raise self._lost(error) from None

    def _take(self, message: Any) -> None:
        body = message.body
        if not isinstance(body, bytes):
            # A transport without base64 leaves the text as it was published.
            body = str(body).encode("utf-8", "surrogatepass")
        self._taken.append(
            Framed(body, _text(message.content_type), _text(message.content_encoding))
        )

    def _take_broken(self, message: Any, _error: Exception) -> None:
        # kombu could not undo its base64 or compression: an empty body is refused and counted.
        self._taken.append(Framed(b"", _text(message.content_type), None))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _release(connection: Any) -> None:
    with contextlib.suppress(Exception):
        connection.release()


def _take_apart(url: str) -> tuple[list[SplitResult], list[str]]:
    """Return the parts of each URL of a list, and every password in them as it may be written."""
    try:
        parts = [urlsplit(single) for single in url.split(";") if single]
        passwords = [part.password for part in parts if part.password]
        [part.port for part in parts]
    except ValueError:
        raise BrokerUrlError("the broker URL has no valid host and port") from None
    written = {form for word in passwords for form in (word, unquote(word), quote(word, safe=""))}
    return parts, sorted(written, key=len, reverse=True)


def _location(parts: SplitResult) -> str:
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"
