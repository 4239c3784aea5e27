"""The depth of queues on real Redis and Valkey, against what Celery put there."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from kombu import Exchange, Queue

from tests.support import servers
from tests.support.certs import certificates
from tests.support.process import wait_until
from tests.support.queue_reading import read, reader, ready, sender
from tests.support.redis_events import events_from
from tests.support.tracking import Stage
from z4j_exporter.config import Settings
from z4j_exporter.events.decode import event_from_object
from z4j_exporter.metrics.queues import oldest_age
from z4j_exporter.queues.base import QueuePollError
from z4j_exporter.queues.poller import QueuePoller
from z4j_exporter.queues.redis_scripts import UNACKED_EACH
from z4j_exporter.queues.select import KnownNames
from z4j_exporter.sources.redis import RedisSource


@pytest.fixture(scope="module", params=["redis", "valkey"])
def running(request: pytest.FixtureRequest) -> Iterator[servers.Redis]:
    start = servers.redis_server if request.param == "redis" else servers.valkey
    with start() as made:
        yield made


@pytest.fixture
def server(running: servers.Redis) -> servers.Redis:
    running.client().flushall()
    return running


@pytest.fixture
def valkey_url(valkey: servers.Redis) -> str:
    return valkey.url


def send(app: Any, count: int, queue: str = "celery", **options: Any) -> list[str]:
    return [app.send_task("work.sleep", (0,), queue=queue, **options).id for _ in range(count)]


# -- depth ---------------------------------------------------------------------------------


def test_every_priority_is_counted(server: servers.Redis) -> None:
    app = sender(server.url)
    for priority in range(10):
        send(app, priority + 1, priority=priority)
    found = read(reader(server.url), ["celery", "idle"])
    # kombu puts 0-2, 3-5, 6-8 and 9 together.
    assert found["celery"].ready == ready(p0=6, p3=15, p6=24, p9=10)
    assert found["celery"].unacked == 0
    assert found["idle"].ready == ready()
    assert found["idle"].consumers is None


@pytest.mark.parametrize(
    "options",
    [
        {"global_keyprefix": "shop:{x}*"},
        {"priority_steps": [0, 5]},
        {"priority_steps": [2, 7], "sep": ":"},
        {"unacked_key": "held", "global_keyprefix": "k"},
    ],
    ids=str,
)
def test_the_transport_options_count(valkey_url: str, options: dict[str, Any]) -> None:
    app = sender(valkey_url, options)
    for priority in (0, 1, 5, 9):
        send(app, 1, priority=priority)
    steps = options.get("priority_steps", [0, 3, 6, 9])
    expected = {str(step): 0 for step in steps}
    with app.connection_for_read() as connection:
        channel = connection.default_channel
        for priority in (0, 1, 5, 9):
            expected[str(channel.priority(priority))] += 1
        taken = app.amqp.queues["celery"].bind(channel).get()
        assert taken is not None
        first = next(step for step, count in expected.items() if count)
        expected[first] -= 1
        found = read(reader(valkey_url, broker_transport_options=options))
        assert found["celery"].ready == expected
        assert found["celery"].unacked == 1
        taken.ack()
    assert read(reader(valkey_url, broker_transport_options=options))["celery"].unacked == 0


def test_what_a_stopped_worker_holds_is_unacked(server: servers.Redis) -> None:
    app = sender(server.url)
    with servers.worker("tests.support.celeryapp", server.url, "-Q", "work,later") as worker:
        for _ in range(3):
            app.send_task("math.add", (1, 1), queue="later", countdown=3600)
        wait_until(lambda: worker.output().count(" received") == 3, 20, worker.output)
        for _ in range(10):
            app.send_task("work.sleep_late", (60,), queue="work")
        wait_until(lambda: worker.output().count(" received") == 7, 20, worker.output)
        worker.pause()
        send(app, 2, "later")
        queues = reader(server.url)
        # A pool of one takes four messages (worker_prefetch_multiplier), and each with an ETA
        # lets it take one more.
        for _ in range(2):
            found = read(queues)
            held = (found["work"].unacked, found["later"].unacked)
            assert held == (4, 3)
            assert found["work"].ready == ready(p0=6)
            assert found["later"].ready == ready(p0=2)
        assert not [name for name in found if "pidbox" in name or "celeryev" in name]
        worker.kill()


def test_a_queue_deleted_and_made_again(valkey_url: str) -> None:
    app = sender(valkey_url)
    queues = reader(valkey_url)
    send(app, 3, "orders", priority=9)
    assert read(queues)["orders"].ready == ready(p9=3)
    with app.connection_for_write() as connection:
        orders = app.amqp.queues["orders"].bind(connection.default_channel)
        orders.declare()  # kombu deletes by the bindings that it made itself
        orders.delete()
        assert read(queues, ["orders"])["orders"].ready == ready()
        assert "orders" not in read(queues)
        orders.declare()
        assert read(queues)["orders"].ready == ready()
    send(app, 1, "orders")
    assert read(queues)["orders"].ready == ready(p0=1)


def test_a_thousand_queues_in_a_few_round_trips(server: servers.Redis) -> None:
    app = sender(server.url)
    pipe = server.client().pipeline()
    for number in range(1000):
        name = f"q{number:04}"
        pipe.sadd(f"_kombu.binding.{name}", f"{name}\x06\x16\x06\x16{name}")
        pipe.lpush(name, b'{"properties": {"correlation_id": "id-%d"}}' % number)
    pipe.execute()
    send(app, 1)
    queues = reader(server.url)
    admin = server.client()
    admin.config_resetstat()
    began = time.monotonic()
    found = read(queues)
    assert time.monotonic() - began < 5
    assert len(found) == 1001
    assert all(sum(r.ready.values()) == 1 and r.unacked == 0 for r in found.values() if r.ready)
    assert found["q0042"].oldest_task_ids == ("id-42",)
    assert queues.round_trips <= 6
    # What the server itself counted: no command but these, and none that writes.
    calls = {
        name.removeprefix("cmdstat_"): stats["calls"]
        for name, stats in admin.info("commandstats").items()
        if not name.startswith(("cmdstat_config", "cmdstat_info", "cmdstat_client"))
    }
    assert calls.pop("llen") == 4004
    assert calls.pop("lindex") == 1001
    assert calls.pop("sscan") == 1001
    assert calls.pop("eval_ro") == 11
    assert calls.pop("hlen") == 1
    assert set(calls) <= {"scan", "select", "auth", "hello", "ping"}, calls


# -- unacknowledged ------------------------------------------------------------------------


def take(app: Any, queue: Queue, count: int) -> Any:
    """Take messages and keep them, as a consumer does; return the connection."""
    connection = app.connection_for_read()
    bound = queue.bind(connection.default_channel)
    for _ in range(count):
        assert bound.get() is not None
    return connection


def test_many_unacked_are_counted_once_each(valkey_url: str) -> None:
    app = sender(valkey_url)
    count = 3 * UNACKED_EACH + 7
    send(app, count, "work")
    with take(app, app.amqp.queues["work"], count):
        queues = reader(valkey_url)
        assert read(queues)["work"].unacked == count
        assert queues.notes == ()


def test_more_unacked_than_the_limit_are_unknown(valkey_url: str) -> None:
    app = sender(valkey_url)
    send(app, 6, "work")
    with take(app, app.amqp.queues["work"], 5):
        assert read(reader(valkey_url, unacked_scan_limit=5))["work"].unacked == 5
        queues = reader(valkey_url, unacked_scan_limit=4)
        found = read(queues)
        assert found["work"].unacked is None
        assert found["work"].ready == ready(p0=1)
        assert "there are 5, and --unacked-scan-limit is 4" in queues.notes[0]
        queues = reader(valkey_url, unacked_scan_limit=0)
        assert read(queues)["work"].unacked is None
        assert queues.notes == ()


def test_topic_exchanges_lead_to_their_queues(valkey_url: str) -> None:
    app = sender(valkey_url)
    topic = Exchange("orders", type="topic")
    paid = Queue("paid", topic, routing_key="order.*.paid")
    every = Queue("every", topic, routing_key="order.#")
    lone = Queue("lone", topic, routing_key="invoice.*")
    with app.connection_for_write() as connection:
        for queue in (paid, every, lone):
            queue.bind(connection.default_channel).declare()
        producer = app.amqp.Producer(connection)
        for key in ("order.1.paid", "invoice.1", "invoice.2"):
            producer.publish({}, exchange=topic, routing_key=key)
    queues = reader(valkey_url)
    with take(app, lone, 2):
        found = read(queues)
        assert (found["lone"].unacked, found["paid"].unacked, found["every"].unacked) == (2, 0, 0)
        with take(app, paid, 1):
            # Its copy cannot be told from the one in the other queue.
            found = read(queues)
            assert found["lone"].unacked == 2
            assert found["paid"].unacked is found["every"].unacked is None
            assert "sent to several queues" in queues.notes[0]


@pytest.mark.parametrize(
    "value", [b"\xff\x00", b"{}", b'[{}, "", "celery", "x"]', b'[{}, {"a": 1}, 3]', b"[" * 5000]
)
def test_unacked_entries_of_others_make_the_count_unknown(valkey_url: str, value: bytes) -> None:
    send(sender(valkey_url), 1)
    redis.Redis.from_url(valkey_url).hset("unacked", "tag", value)
    queues = reader(valkey_url)
    assert read(queues)["celery"].unacked is None
    assert "that kombu did not write" in queues.notes[0]


# -- the oldest message --------------------------------------------------------------------


def test_the_oldest_message_of_each_priority_is_named(server: servers.Redis) -> None:
    app = sender(server.url)
    first = send(app, 3, priority=0)
    urgent = send(app, 2, priority=9)
    found = read(reader(server.url))["celery"]
    assert found.oldest_task_ids == (first[0], urgent[0])
    assert found.oldest_age_seconds is None


def test_a_timestamp_in_the_message_is_its_age(valkey_url: str) -> None:
    app = sender(valkey_url)
    send(app, 1, properties={"timestamp": int(time.time()) - 100})
    with app.connection_for_write() as connection:
        app.amqp.Producer(connection).publish(
            {}, exchange="", routing_key="stamped", timestamp=int(time.time()) - 100
        )
    found = read(reader(valkey_url), ["stamped"])["stamped"]
    assert found.oldest_task_ids == ()
    assert found.oldest_age_seconds == pytest.approx(100, abs=5)


def test_what_a_lost_consumer_held_is_the_oldest(valkey_url: str) -> None:
    app = sender(valkey_url)
    ids = send(app, 3, "work")
    take(app, app.amqp.queues["work"], 1).close()
    assert read(reader(valkey_url))["work"].oldest_task_ids == (ids[0],)


def test_large_messages_are_not_fetched(server: servers.Redis) -> None:
    app = sender(server.url)
    result = app.send_task("math.add", (1,), {"y": "ü" * 2_000_000}, queue="large")
    admin = server.client()
    before = admin.info("stats")["total_net_output_bytes"]
    found = read(reader(server.url))["large"]
    after = admin.info("stats")["total_net_output_bytes"]
    assert found.ready == ready(p0=1)
    assert found.oldest_task_ids == (result.id,)
    assert after - before < 50_000


# -- what is hostile -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a\nb", "\x00", 'x"}', "ü\u2028", "{}*?[", "odd\x06\x163"])
def test_odd_names_do_no_harm(server: servers.Redis, name: str) -> None:
    send(sender(server.url), 1)
    admin = server.client()
    admin.lpush(name, b"\xff not a message")
    admin.sadd("_kombu.binding.odd", b"\xff\x06\x16\x06\x16\xffq", b"a", b"\x06\x16" * 9)
    found = read(reader(server.url), [name])
    assert found["celery"].ready == ready(p0=1)
    assert "\udcffq" in found  # bytes that are no UTF-8
    if "\x06\x16" in name:
        assert name not in found  # a priority list is no queue
    else:
        assert found[name].ready == ready(p0=1)
        assert found[name].oldest_task_ids == ()


def test_a_key_of_another_type_costs_its_own_queue_only(server: servers.Redis) -> None:
    send(sender(server.url), 2)
    server.client().set("results", "x")
    queues = reader(server.url)
    found = read(queues, ["results", "celery"])
    assert found["results"].ready is None
    assert found["celery"].ready == ready(p0=2)
    assert queues.notes == ("queue 'results' cannot be read: the key of this name is no list",)


# -- the way there -------------------------------------------------------------------------


def failure(url: str, seconds: float = 3.0, **settings: Any) -> str:
    began = time.monotonic()
    with pytest.raises(QueuePollError) as caught:
        read(reader(url, **settings), ["celery"], seconds)
    assert time.monotonic() - began < seconds + 2.0  # a busy machine
    assert "s3cret" not in caught.value.message
    return caught.value.message


def test_tls_and_unix_socket() -> None:
    certs = certificates()
    with servers.redis_server(tls=True, password="s3cret") as server:
        server.client().lpush("celery", "x")
        options = {"ssl_ca_certs": str(certs.ca)}
        found = read(reader(server.url, broker_ssl_options=options), ["celery"])
        assert found["celery"].ready == ready(p0=1)
        words = failure(server.url, broker_ssl_options={"ssl_ca_certs": str(certs.other_ca)})
        assert "TLS failed" in words
    with servers.valkey(unix_socket=True) as server:
        server.client().lpush("celery", "x")
        assert read(reader(server.unix_url), ["celery"])["celery"].ready == ready(p0=1)


def test_the_database_of_the_url_is_read(valkey: servers.Redis) -> None:
    url = valkey.url_at(valkey.port, db=5)
    send(sender(url), 2)
    assert read(reader(url))["celery"].ready == ready(p0=2)
    assert "celery" not in read(reader(valkey.url))


def test_a_failover_is_followed() -> None:
    with servers.sentinel() as group:
        queues = reader(group.url, broker_transport_options={"master_name": "events"})
        group.master.client().lpush("celery", "x")
        assert read(queues, ["celery"])["celery"].ready == ready(p0=1)
        wait_until(lambda: group.replica.client().llen("celery") == 1, 10)
        group.failover()
        group.replica.client().lpush("celery", "y")
        assert read(queues, ["celery"])["celery"].ready == ready(p0=2)
        group.replica.pause()
        words = failure(group.url, 2.0, broker_transport_options={"master_name": "events"})
        assert "no answer" in words


def test_a_server_that_is_away_or_hangs_is_left_in_time(
    server: servers.Redis, proxied: Any
) -> None:
    assert "cannot connect" in failure(f"redis://:s3cret@127.0.0.1:{servers.free_port()}/0")
    proxy = proxied(server.port)
    url = server.url_at(proxy.port)
    assert read(reader(url), ["celery"])["celery"].ready == ready()
    server.pause()
    try:
        for seconds in (0.3, 1.0):
            assert "no answer" in failure(url, seconds)
    finally:
        server.resume()
    assert read(reader(url), ["celery"])["celery"].ready == ready()
    # Each answer comes, but late.
    proxy.delay(0.2)
    assert "no answer in time" in failure(url, 0.9)
    proxy.delay(0)
    proxy.refuse()
    assert failure(url)


def test_what_a_user_lacks_is_said(server: servers.Redis) -> None:
    assert "refused the user" in failure(f"redis://x:s3cret@127.0.0.1:{server.port}/0")
    admin = server.client()
    try:
        enough = "+llen +scan +sscan +hlen +hscan +lindex +eval +select"
        admin.execute_command(*f"ACL SETUSER watcher on >s3cret ~* -@all {enough}".split())
        send(sender(server.url), 1)
        url = f"redis://watcher:s3cret@127.0.0.1:{server.port}/0"
        queues = reader(url)
        found = read(queues)["celery"]
        assert found.ready == ready(p0=1)
        assert found.unacked == 0
        assert len(found.oldest_task_ids) == 1
        assert queues.notes == ()
        for lacking, said in [
            ("lindex", "oldest message is not looked at"),
            ("eval_ro", "oldest message is not looked at"),
            ("hlen", "unacked messages are not counted"),
            ("scan", "bindings are not looked for"),
        ]:
            admin.execute_command("ACL", "SETUSER", "watcher", f"-{lacking}")
            queues = reader(url)
            assert read(queues, ["celery"])["celery"].ready == ready(p0=1)
            assert any(said in note for note in queues.notes), (lacking, queues.notes)
        # A server before Redis 7 has no EVAL_RO.
        admin.execute_command("ACL", "SETUSER", "watcher", "allkeys", "+eval", "+hlen", "+lindex")
        queues = reader(url)
        assert len(read(queues, ["celery"])["celery"].oldest_task_ids) == 1
        assert all("SCAN" in note for note in queues.notes)
        admin.execute_command("ACL", "SETUSER", "watcher", "-llen")
        assert "it needs +llen" in failure(url)
    finally:
        admin.execute_command("ACL", "DELUSER", "watcher")


def test_a_password_that_is_wrong_or_missing() -> None:
    with servers.redis_server(password="s3cret!") as server:
        assert "password" in failure(f"redis://:s3cret@127.0.0.1:{server.port}/0")
        assert "asks for a password" in failure(f"redis://127.0.0.1:{server.port}/0")


# -- all together --------------------------------------------------------------------------


def test_the_poller_lives_through_a_hung_and_an_absent_server() -> None:
    with servers.redis_server() as server:
        send(sender(server.url), 3)
        settings = Settings(broker_url=server.url, queue_poll_interval=0.1, queue_poll_timeout=0.5)
        poller = QueuePoller(reader(server.url), settings, KnownNames)

        def looked(success: bool) -> Any:
            def condition() -> Any:
                poll = poller.latest
                return poll if poll is not None and poll.success == success else None

            return wait_until(condition, 10)

        poller.start()
        assert looked(True).readings[0].ready == ready(p0=3)
        server.pause()
        failed = looked(False)
        assert failed.readings == ()
        assert failed.duration_seconds < 2.0
        assert "no answer" in failed.error
        server.resume()
        assert looked(True).readings[0].ready == ready(p0=3)
        server.stop()
        assert "cannot connect" in looked(False).error
        began = time.monotonic()
        poller.stop(2.0)
        assert time.monotonic() - began < 1.5
        assert not poller.is_alive()


def test_the_tracker_dates_what_waits(valkey: servers.Redis) -> None:
    app = sender(valkey.url)
    stage = Stage()
    session = RedisSource([valkey.url]).connect()
    sent_at = time.time()
    send(app, 3, "work")
    for fields in events_from(session, 3):
        stage.play([event_from_object(fields)])
    session.close()
    reading = read(reader(valkey.url))["work"]
    age = oldest_age(reading, stage.cluster, sent_at + 100.0)
    assert age == pytest.approx(100.0, abs=2.0)
