"""The Redis source finds the master through Sentinel, and the next one after a failover."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import servers
from tests.support.redis_events import dispatch, events_from, publisher
from tests.support.redis_reading import Reading
from tests.support.servers import SentinelGroup
from z4j_exporter.errors import ConfigError, SourceLostError
from z4j_exporter.sources.redis import RedisSource

OPTIONS = {"master_name": "events"}


@pytest.fixture(scope="module")
def group() -> Iterator[SentinelGroup]:
    with servers.sentinel() as running:
        yield running


def refusal(url: str, options: dict[str, Any]) -> str:
    with pytest.raises(SourceLostError) as lost:
        RedisSource(url.split(";"), transport_options=options).connect()
    assert "s3cret" not in lost.value.message
    return lost.value.message


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"fanout_patterns": False},
        {"fanout_prefix": False},
        {"fanout_prefix": "x{db}.", "global_keyprefix": "k:"},
        {"sentinel_fanout_compat": True},
        {"sentinel_fanout_compat": True, "fanout_patterns": False},
    ],
    ids=str,
)
def test_events_come_once_whatever_the_channel(group: SentinelGroup, more: dict[str, Any]) -> None:
    options = {**OPTIONS, **more}
    session = RedisSource([group.url], transport_options=options).connect()
    dispatch(publisher(group.url, options), 3)
    assert len(events_from(session, 3)) == 3
    assert session.read(0.1) == ([], 0)
    session.close()


def test_events_of_kombu_before_5_4_come_too(group: SentinelGroup) -> None:
    session = RedisSource([group.url], transport_options=OPTIONS).connect()
    group.master.client().publish("/{db}.celeryev/task.sent", "old")
    items, _ = session.read(5.0)
    assert session.unpack(items) == [b"old"]
    session.close()


def test_one_sentinel_that_answers_is_enough(group: SentinelGroup) -> None:
    gone = f"sentinel://127.0.0.1:{servers.free_port()}"
    source = RedisSource([gone, group.url], transport_options=OPTIONS)
    before = time.monotonic()
    source.connect().close()
    assert time.monotonic() - before < 2
    assert source.location.startswith("sentinel://127.0.0.1:")
    assert "(master events)" in source.location


def test_what_can_be_wrong_is_said(group: SentinelGroup) -> None:
    words = refusal(group.url, {"master_name": "other"})
    assert "knows no master 'other'" in words
    gone = f"sentinel://:s3cret@127.0.0.1:{servers.free_port()}/0"
    words = refusal(f"{gone};{gone}", OPTIONS)
    assert words.count("cannot connect") == 2
    with pytest.raises(ConfigError, match="name of the master"):
        RedisSource([group.url])
    with pytest.raises(ConfigError, match="sentinel_kwargs"):
        RedisSource(
            [group.url], transport_options={**OPTIONS, "sentinel_kwargs": {"pasword": "s3cret"}}
        )
    with pytest.raises(ConfigError, match="sentinel_kwargs"):
        RedisSource([group.url], transport_options={**OPTIONS, "sentinel_kwargs": "password"})


def test_passwords_of_master_and_sentinel() -> None:
    with servers.sentinel(password="s3cret") as group:
        with_password = group.url.replace("sentinel://", "sentinel://:s3cret@")
        session = RedisSource([with_password], transport_options=OPTIONS).connect()
        dispatch(publisher(with_password, OPTIONS), 2)
        events_from(session, 2)
        session.close()
        assert "asks for a password" in refusal(group.url, OPTIONS)
        wrong = with_password.replace("s3cret", "s3cret2")
        assert "refused the user or the password" in refusal(wrong, OPTIONS)

        sentinel = group.client()
        sentinel.execute_command("ACL", "SETUSER", "default", "resetpass", ">s3cret3")  # type: ignore[no-untyped-call]  # redis-py
        sentinel.close()
        # Those who are connected already stay so.
        options = {**OPTIONS, "sentinel_kwargs": {"password": "s3cret3"}}
        session = RedisSource([with_password], transport_options=options).connect()
        dispatch(publisher(with_password, options), 2)
        events_from(session, 2)
        session.close()
        for wrong_kwargs in ({}, {"password": "s3cret4"}):
            words = refusal(with_password, {**OPTIONS, "sentinel_kwargs": wrong_kwargs})
            assert "refused the user or the password" in words
            assert "sentinel_kwargs" in words


def test_a_failover_after_the_master_was_killed() -> None:
    with (
        servers.sentinel() as group,
        Reading(RedisSource([group.url], transport_options=OPTIONS)) as reading,
    ):
        reading.wait_connected()
        dispatch(publisher(group.url, OPTIONS), 2)
        reading.wait_events(2)
        group.master.kill()
        reading.wait_disconnected()
        reading.wait_connected(60)
        assert group._master_port() == group.replica.port
        dispatch(publisher(group.url, OPTIONS), 3)
        reading.wait_events(5)
        assert reading.reader.gaps >= 1
        assert reading.dropped == 0


def test_a_planned_failover() -> None:
    with (
        servers.sentinel() as group,
        Reading(RedisSource([group.url], transport_options=OPTIONS)) as reading,
    ):
        reading.wait_connected()
        group.failover()
        # Until Sentinel ends the old connection the old master passes on what it is sent.
        deadline = time.monotonic() + 30
        while len(reading.events) < 1 and time.monotonic() < deadline:
            dispatch(publisher(group.url, OPTIONS), 1)
            time.sleep(0.2)
        assert reading.events
