"""The shapes in which a message reaches the decoder."""

from typing import NamedTuple


class Framed(NamedTuple):
    """A message whose transport tells the content type apart from the body."""

    body: bytes
    content_type: str | None
    content_encoding: str | None


#: The content type of an empty message that stands for one its source found too large to keep.
OVERSIZED_CONTENT_TYPE = "application/x-oversized"

#: One message as it came from the broker: ``bytes`` is a kombu JSON envelope (Redis pub/sub:
#: kombu/transport/redis.py ``_put_fanout``), ``Framed`` a bare body (AMQP, recordings).
Message = bytes | Framed
