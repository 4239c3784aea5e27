"""Chooses the source that the settings ask for."""

from collections.abc import Callable

from z4j_exporter.config import Settings
from z4j_exporter.errors import ConfigError
from z4j_exporter.sources.amqp import AmqpSource
from z4j_exporter.sources.base import Source
from z4j_exporter.sources.kombu import KombuSource, check_transport
from z4j_exporter.sources.recording import RecordingSource
from z4j_exporter.sources.redis import RedisSource


def open_source(settings: Settings) -> Source:
    """Return the source for the settings; it is not connected yet.

    Raises ConfigError, BrokerUrlError or FileError when there is none.
    """
    if settings.recording is not None:
        recording = RecordingSource(settings.recording)
        recording.connect().close()  # a file that is not there is told now, not by the reader
        return recording
    if not settings.broker_url:
        raise ConfigError(
            "no broker is configured",
            hint="Give --broker-url URL, -A module:app or Z4J_EXPORTER_BROKER_URL.",
        )
    return _BY_KIND[check_transport(settings.broker_url)](settings, settings.broker_url)


def _redis(settings: Settings, url: str) -> Source:
    return RedisSource(
        [single for single in url.split(";") if single],
        event_exchange=settings.event_exchange,
        transport_options=settings.broker_transport_options,
        ssl_options=settings.broker_tls,
    )


def _amqp(settings: Settings, url: str) -> Source:
    return AmqpSource(
        url,
        event_exchange=settings.event_exchange,
        event_queue_prefix=settings.event_queue_prefix,
        queue_ttl_seconds=settings.event_queue_ttl,
        queue_expires_seconds=settings.event_queue_expires,
        exclusive=settings.event_queue_exclusive,
        durable=settings.event_queue_durable,
        ssl=settings.broker_tls,
        max_message_bytes=settings.max_message_bytes,
    )


def _kombu(settings: Settings, url: str) -> Source:
    return KombuSource(
        url,
        transport_options=settings.broker_transport_options,
        ssl=settings.broker_tls,
        event_exchange=settings.event_exchange,
        event_queue_prefix=settings.event_queue_prefix,
        queue_ttl_seconds=settings.event_queue_ttl,
        queue_expires_seconds=settings.event_queue_expires,
    )


_BY_KIND: dict[str, Callable[[Settings, str], Source]] = {
    "redis": _redis,
    "amqp": _amqp,
    "kombu": _kombu,
}
