"""The Redis source hears what Celery publishes, whichever channel kombu chooses for it."""

from typing import Any

import pytest

from tests.support import servers
from tests.support.redis_events import dispatch, events_from, publisher
from tests.support.servers import Redis
from z4j_exporter.errors import ConfigError
from z4j_exporter.sources.redis import RedisSource


@pytest.fixture(params=["redis", "valkey"])
def server(request: pytest.FixtureRequest) -> Any:
    start = servers.redis_server if request.param == "redis" else servers.valkey
    with start(unix_socket=True) as running:
        yield running


OPTIONS: list[dict[str, Any]] = [
    {},
    {"fanout_prefix": True},
    {"fanout_prefix": False},
    {"fanout_prefix": "events."},
    {"fanout_prefix": "{db}/[a]*?\\"},
    {"fanout_patterns": True},
    {"fanout_patterns": False},
    {"fanout_prefix": False, "fanout_patterns": False},
    {"fanout_prefix": "x{db}x", "fanout_patterns": False, "global_keyprefix": "app1:"},
    {"global_keyprefix": "app1:"},
    {"global_keyprefix": "[app*]{1}?\\:", "fanout_prefix": False},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_way_kombu_names_the_channel(valkey: Redis, options: dict[str, Any]) -> None:
    url = valkey.url_at(valkey.port, db=3)
    session = RedisSource([url], transport_options=options).connect()
    dispatch(publisher(url, options), 3)
    events = events_from(session, 3)
    assert [event["type"] for event in events] == ["task-sent", "task-multi", "worker-heartbeat"]
    session.close()


def test_redis_and_valkey_over_every_kind_of_url(server: Redis) -> None:
    for url in (server.url, server.url.removesuffix("/0"), server.unix_url):
        session = RedisSource([url]).connect()
        dispatch(publisher(url), 2)
        assert len(events_from(session, 2)) == 2, url
        session.close()


def test_a_database_behind_a_unix_socket(server: Redis) -> None:
    url = server.unix_url + "?virtual_host=5"
    session = RedisSource([url]).connect()
    dispatch(publisher(url), 1)
    assert len(events_from(session, 1)) == 1
    assert session.read(0.01) == ([], 0)
    session.close()


def test_other_databases_exchanges_and_prefixes_are_not_heard(valkey: Redis) -> None:
    session = RedisSource([valkey.url]).connect()
    dispatch(publisher(valkey.url_at(valkey.port, db=1)), 1)
    dispatch(publisher(valkey.url, {"global_keyprefix": "other:"}), 1)
    dispatch(publisher(valkey.url, event_exchange="celeryev2"), 1)
    dispatch(publisher(valkey.url), 1)
    events_from(session, 1)
    assert session.read(0.1) == ([], 0)
    session.close()


def test_the_exchange_can_have_another_name(valkey: Redis) -> None:
    session = RedisSource([valkey.url], event_exchange="ev.b").connect()
    dispatch(publisher(valkey.url, event_exchange="ev.b"), 2)
    assert len(events_from(session, 2)) == 2
    session.close()


def test_the_subscription_stands_when_connect_returns(valkey: Redis) -> None:
    for _ in range(20):
        session = RedisSource([valkey.url]).connect()
        assert valkey.client().publish("/0.celeryev/task.sent", "x") == 1
        assert session.unpack(session.read(5.0)[0]) == [b"x"]
        session.close()


def test_the_connection_has_a_name(valkey: Redis) -> None:
    session = RedisSource([valkey.url], transport_options={"client_name": "mine"}).connect()
    assert "mine" in [client["name"] for client in valkey.client().client_list()]
    session.close()
    # Redis refuses a name with a space in it; that must not cost the events.
    session = RedisSource([valkey.url], transport_options={"client_name": "not mine"}).connect()
    assert "z4j-exporter" in [client["name"] for client in valkey.client().client_list()]
    session.close()


def test_a_prefix_that_kombu_could_not_use_either() -> None:
    with pytest.raises(ConfigError, match="fanout_prefix"):
        RedisSource(["redis://h"], transport_options={"fanout_prefix": "{host}"})
