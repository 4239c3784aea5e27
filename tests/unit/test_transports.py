"""Which broker URLs can carry events, and which source reads them."""

import pytest

from z4j_exporter.errors import BrokerUrlError
from z4j_exporter.sources.transports import check_transport


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("redis://h", "redis"),
        ("rediss://h", "redis"),
        ("redis+socket:///run/redis.sock", "redis"),
        ("sentinel://a;sentinel://b", "redis"),
        ("amqp://a;amqps://b", "amqp"),
        ("pyamqp://h", "amqp"),
        ("librabbitmq://h", "amqp"),
        ("filesystem://", "kombu"),
        ("FILESYSTEM://", "kombu"),
        ("memory://", "kombu"),
        ("mongodb://h/db", "kombu"),
        ("gcpubsub://projects/p", "kombu"),
    ],
)
def test_kinds_of_transport(url: str, kind: str) -> None:
    assert check_transport(url) == kind


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("sqla+postgresql://me:s3cret@h/db", "sends no events over SQL"),
        ("sqlalchemy+sqlite:///x.db", "sends no events over SQL"),
        ("sqs://key:s3cret@", "in the memory of each process"),
        ("SQS://key:s3cret@", "in the memory of each process"),
        ("zookeeper://h", "in the memory of each process"),
        ("confluentkafka://h", "in the memory of each process"),
        ("rabbit://me:s3cret@h", "unknown scheme"),
        ("http://me:s3cret@h", "unknown scheme"),
        ("me:s3cret@h", "no scheme"),
        ("me:s3cret://h", "no valid scheme"),
        ("", "is empty"),
        (";", "is empty"),
        ("redis://a;amqp://b", "different kinds"),
    ],
)
def test_transports_that_carry_no_events_are_refused(url: str, why: str) -> None:
    with pytest.raises(BrokerUrlError, match=why) as refused:
        check_transport(url)
    assert "s3cret" not in refused.value.message + refused.value.hint


def test_a_close_name_is_suggested() -> None:
    with pytest.raises(BrokerUrlError) as refused:
        check_transport("ampq://h")
    assert refused.value.hint == "Did you mean amqp://?"
