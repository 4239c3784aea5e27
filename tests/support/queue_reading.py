"""Reads the queues of a server in a test, and sends what stands in them."""

import time
from collections.abc import Iterable
from typing import Any

from celery import Celery
from kombu import pools

from tests.support.celeryapp import client
from z4j_exporter.config import Settings
from z4j_exporter.queues.model import QueueReading
from z4j_exporter.queues.redis import RedisQueues


def reader(url: str, **settings: Any) -> RedisQueues:
    """Return a reader of the queues at this URL."""
    return RedisQueues(Settings.model_validate({"broker_url": url, **settings}))


def read(
    queues: RedisQueues, names: Iterable[str] = (), seconds: float = 10.0
) -> dict[str, QueueReading]:
    """Read once; the readings by the queue's name."""
    found = queues.read(list(names), time.monotonic() + seconds)
    readings = {reading.name: reading for reading in found}
    assert len(readings) == len(found)
    return readings


def sender(url: str, options: dict[str, Any] | None = None) -> Celery:
    """Return an application that sends to this broker with these transport options."""
    pools.reset()  # kombu's producers remember what they declared before the server was flushed
    return client(url, settings={"broker_transport_options": options or {}})


def ready(**steps: int) -> dict[str, int]:
    """Return what a reading says of the default priority steps: ``ready(p0=1, p9=2)``."""
    return {step: steps.get(f"p{step}", 0) for step in ("0", "3", "6", "9")}
