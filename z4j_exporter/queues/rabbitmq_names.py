"""Tells the queues that Celery and RabbitMQ make for themselves from those of tasks."""

import re
from typing import Final

# kombu/pidbox.py: "{node}.celery.pidbox" and "{oid}.reply.celery.pidbox".
_PIDBOX: Final = ".celery.pidbox"
# celery/backends/rpc.py names the queue of a client's results by its oid, a UUID.
_UUID: Final = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\Z")


def is_internal(name: str, event_queue_prefix: str, *, auto_delete: bool) -> bool:
    """Return whether a queue is for events, remote control or replies, or RabbitMQ's own.

    ``auto_delete`` is what the broker says of the queue: a task queue that is named by a UUID is
    told by it from a queue of results.
    """
    return (
        name.startswith((f"{event_queue_prefix}.", "celeryev.", "amq."))
        or name.endswith(_PIDBOX)
        or (auto_delete and _UUID.match(name) is not None)
    )
