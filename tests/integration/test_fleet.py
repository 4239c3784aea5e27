"""What real workers answer: every pool, busy ones, deaf ones, hostile ones, and no broker."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery
from kombu.entity import Exchange

from tests.support import servers
from tests.support.celeryapp import client
from tests.support.process import wait_until
from tests.support.proxy import Proxy
from tests.support.rabbitmq import Rabbit, Vhost
from tests.support.servers import PROJECT, Redis, Worker
from tests.support.tracking import Stage, event
from z4j_exporter.config import build_settings
from z4j_exporter.fleet import inspect
from z4j_exporter.fleet.inspect import FleetInspector, ask_once
from z4j_exporter.fleet.model import FleetReading, HeldTask, WorkerFacts

APP = "tests.support.celeryapp"
Start = Callable[..., Worker]


@pytest.fixture
def start() -> Iterator[Start]:
    """``start(url, …)`` starts a worker; it ends with the test."""
    made: list[Worker] = []

    def make(url: str, *args: str, **options: Any) -> Worker:
        settings = options.pop("settings", None)
        if settings:
            options["env"] = {"CELERYAPP_SETTINGS": json.dumps(settings)}
        made.append(servers.worker(APP, url, *args, **options))
        return made[-1]

    yield make
    for each in made:
        each.kill()


def ask(url: str, *expected: str, timeout: float = 15.0, **options: Any) -> FleetReading:
    """Ask; with ``expected`` a round ends when these have answered."""
    settings = build_settings({"broker_url": url, "inspect_timeout": timeout, **options})
    return ask_once(settings, expected=expected)


def by_name(reading: FleetReading) -> dict[str, WorkerFacts]:
    assert reading.success, reading.error
    return {facts.name: facts for facts in reading.workers}


def until_held(
    url: str, worker: str, wanted: Callable[[HeldTask], bool], **options: Any
) -> tuple[HeldTask, ...]:
    """Ask until the worker holds such a task."""

    def held() -> tuple[HeldTask, ...] | None:
        tasks = ask(url, worker, **options).tasks
        return tasks if any(map(wanted, tasks)) else None

    found: tuple[HeldTask, ...] = wait_until(held, timeout=20)
    return found


# -- how long a round takes ----------------------------------------------------------------------


def test_where_nobody_is_expected_silence_ends_the_round(
    valkey: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect, "QUIET_SECONDS", 0.5)
    reading = ask(valkey.url, timeout=60.0)
    assert reading.success, reading.error
    assert reading.duration_seconds < 30


def test_who_is_expected_and_dead_is_waited_for_to_the_end_and_no_longer(
    valkey: Redis, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect, "QUIET_SECONDS", 0.1)
    start(valkey.url, nodename="alive@test")
    reading = ask(valkey.url, "alive@test", "dead@test", timeout=3.0)
    assert set(by_name(reading)) == {"alive@test"}
    assert 3.0 <= reading.duration_seconds < 20
    assert ask(valkey.url, "alive@test", timeout=60.0).duration_seconds < 30


# -- facts ---------------------------------------------------------------------------------------


def test_each_pool_is_told_as_it_is(valkey: Redis, start: Start) -> None:
    start(valkey.url, nodename="p@test", concurrency=3)
    start(valkey.url, "-Q", "celery,web", nodename="t@test", concurrency=4, pool="threads")
    start(valkey.url, "--prefetch-multiplier", "1", nodename="s@test", concurrency=9, pool="solo")
    before = set(valkey.client().keys())
    reading = ask(valkey.url, "p@test", "t@test", "s@test")
    facts = by_name(reading)
    told = {n: (f.pool, f.pool_size, f.prefetch_count, f.queues) for n, f in facts.items()}
    assert told == {
        "p@test": ("prefork", 3, 12, ("celery",)),
        "t@test": ("threads", 4, 16, ("celery", "web")),
        # Celery itself lets a solo pool take what -c says, though it runs one at a time.
        "s@test": ("solo", 1, 9, ("celery",)),
    }
    for each in facts.values():
        assert each.registered is not None
        assert {"math.add", "web.visit"} <= each.registered
        assert not any(name.startswith("celery.") for name in each.registered)
    assert reading.tasks == ()
    assert reading.duration_seconds < 5  # everybody answered: it does not wait any longer
    assert set(valkey.client().keys()) <= before  # no reply queue stays


def test_rabbitmq_in_a_vhost(vhost: Vhost, start: Start) -> None:
    start(vhost.url, nodename="r@test", concurrency=2)
    client(vhost.url).send_task("work.sleep", (30,))
    tasks = until_held(vhost.url, "r@test", lambda task: task.state == "running")
    facts = by_name(ask(vhost.url, "r@test"))["r@test"]
    assert (facts.pool, facts.pool_size, facts.queues) == ("prefork", 2, ("celery",))
    assert [(t.name, t.queue) for t in tasks] == [("work.sleep", "celery")]


def test_a_user_with_the_permissions_that_the_manual_names(
    rabbit: Rabbit, vhost: Vhost, start: Start
) -> None:
    start(vhost.url, nodename="r@test")
    allowed = r"^(celery\.pidbox|.*reply\.celery\.pidbox)$"
    rabbit.add_user("asks", "secret-word", vhost, configure=allowed, write=allowed, read=allowed)
    url = vhost.url_at(vhost.port, user="asks", password="secret-word")
    assert by_name(ask(url, "r@test"))["r@test"].pool == "prefork"
    rabbit.add_user("asks", "secret-word", vhost, write="^$")
    reading = ask(url, timeout=1.0)
    assert not reading.success
    assert "secret-word" not in reading.error


def test_a_redis_user_with_the_rights_that_the_manual_names(valkey: Redis, start: Start) -> None:
    start(valkey.url, nodename="acl@test")
    manual = (PROJECT / "docs" / "fleet.md").read_text(encoding="utf-8")
    needed = manual.partition("an ACL user needs")[2].partition("RabbitMQ")[0]
    words = " ".join(re.findall(r"`([^`]*)`", needed)).split()
    events = ["+ping", "+client", "+hello", "+info", "+select", "+subscribe", "+psubscribe"]
    admin = valkey.client()
    admin.acl_deluser("asks")
    rules = ["on", ">pw", "resetkeys", "resetchannels", "-@all", "&/0.celeryev*", *events, *words]
    admin.execute_command("ACL", "SETUSER", "asks", *rules)
    admin.acl_log_reset()
    reading = ask(f"redis://asks:pw@127.0.0.1:{valkey.port}/0", "acl@test", timeout=5.0)
    assert by_name(reading)["acl@test"].pool == "prefork"
    assert admin.acl_log() == []


@pytest.mark.parametrize(
    "options",
    [
        {"global_keyprefix": "shop:"},
        {"fanout_prefix": "/shop{db}."},
        {"fanout_prefix": False, "fanout_patterns": False},
    ],
    ids=["global_keyprefix", "fanout_prefix", "no prefix"],
)
def test_the_applications_transport_options(
    valkey: Redis, start: Start, options: dict[str, Any]
) -> None:
    start(valkey.url, nodename="o@test", settings={"broker_transport_options": options})
    reading = ask(valkey.url, "o@test", broker_transport_options=options)
    assert by_name(reading)["o@test"].pool == "prefork"


def test_sentinel_leads_to_the_master(start: Start) -> None:
    with servers.sentinel() as group:
        options = {"master_name": group.master_name}
        start(group.url, nodename="m@test", settings={"broker_transport_options": options})
        reading = ask(group.url, "m@test", broker_transport_options=options)
        assert by_name(reading)["m@test"].pool == "prefork"


def test_tls_with_a_client_certificate(start: Start) -> None:
    certs = servers.certificates()
    tls = {
        "ssl_ca_certs": str(certs.ca),
        "ssl_certfile": str(certs.client_certificate),
        "ssl_keyfile": str(certs.client_key),
        "ssl_cert_reqs": "required",
    }
    with servers.redis_server(tls=True, client_certificates=True) as server:
        start(server.url, nodename="tls@test", settings={"broker_use_ssl": tls})
        reading = ask(server.url, "tls@test", broker_ssl_options=tls)
        assert by_name(reading)["tls@test"].pool == "prefork"
        assert not ask(server.url, timeout=1.0).success


def test_no_worker_is_no_failure(valkey: Redis) -> None:
    reading = ask(valkey.url, timeout=0.5)
    assert reading.success
    assert reading.workers == ()
    assert 0.5 <= reading.duration_seconds < 5


def test_tasks_that_run_for_hours_are_not_given_to_another_worker(valkey: Redis) -> None:
    redis = valkey.client()
    long_ago = time.time() - 7200  # kombu's visibility_timeout is an hour unless told otherwise
    message = json.dumps([{"body": "", "properties": {}}, "", "celery"])
    redis.hset("unacked", "tag", message)
    redis.zadd("unacked_index", {"tag": long_ago})
    assert ask(valkey.url, timeout=2.0).success
    assert redis.hgetall("unacked") == {b"tag": message.encode()}
    assert redis.zrange("unacked_index", 0, -1) == [b"tag"]
    assert redis.llen("celery") == 0
    kombu = {b"_kombu.binding_deadlines"}  # one for all bindings; kombu keeps it tidy by itself
    assert set(redis.keys()) - kombu == {b"unacked", b"unacked_index"}


# -- workers that do not answer ------------------------------------------------------------------


def test_a_busy_solo_worker_and_one_without_remote_control(valkey: Redis, start: Start) -> None:
    start(valkey.url, "-Q", "busy", nodename="busy@test", pool="solo")
    start(
        valkey.url,
        "-Q",
        "x",
        nodename="deaf@test",
        settings={"worker_enable_remote_control": False},
    )
    start(valkey.url, "-Q", "y", nodename="well@test")
    marker = valkey.client()
    client(valkey.url).send_task("work.sleep", (20,), queue="busy")
    wait_until(lambda: marker.llen("busy") == 0 and marker.hlen("unacked") <= 1, timeout=10)
    time.sleep(0.5)  # from taken to running: nothing tells, as the worker is busy
    names = ("busy@test", "deaf@test", "well@test")
    reading = ask(valkey.url, *names, timeout=2.0)
    assert set(by_name(reading)) == {"well@test"}
    assert reading.answered == {"well@test"}
    assert 2.0 <= reading.duration_seconds < 6


def _hostile(app: Celery, replies: list[dict[str, Any]]) -> threading.Thread:
    """Answer the next broadcast with all of these, as kombu's Producer.publish takes them."""
    ready = threading.Event()

    def serve() -> None:
        with app.connection_for_read() as connection, connection.channel() as channel:
            node = app.control.mailbox(connection).Node("evil@test", channel=channel)
            answered: list[object] = []

            def on_request(body: dict[str, Any], _: object) -> None:
                answered.append(body)
                reply_to = body["reply_to"]
                for reply in replies:
                    options = dict(reply)
                    app.amqp.Producer(channel).publish(
                        options.pop("body"),
                        exchange=Exchange(reply_to["exchange"], "direct", durable=False),
                        routing_key=reply_to["routing_key"],
                        headers={"ticket": body["ticket"], **options.pop("headers", {})},
                        **options,
                    )

            with node.Consumer(callbacks=[on_request]):
                ready.set()
                deadline = time.monotonic() + 15
                while len(answered) < 6 and time.monotonic() < deadline:
                    try:
                        connection.drain_events(timeout=0.5)
                    except TimeoutError:
                        continue

    thread = threading.Thread(target=serve, name="evil", daemon=True)
    thread.start()
    assert ready.wait(10)
    return thread


class Explosive:
    """Tells when somebody unpickles it."""

    went_off = False

    def __reduce__(self) -> Any:
        return (_explode, ())


def _explode() -> None:
    Explosive.went_off = True


def test_garbage_does_not_hide_the_others(valkey: Redis, start: Start) -> None:
    start(valkey.url, nodename="well@test")
    app = client(valkey.url)
    thread = _hostile(
        app,
        [
            {"body": {"p@evil": Explosive()}, "serializer": "pickle"},
            {"body": b"{" * 5000, "content_type": "application/json", "content_encoding": "utf-8"},
            {"body": b"\xff\xfe", "content_type": "application/json", "content_encoding": "x-no"},
            {"body": b"", "content_type": "text/plain", "content_encoding": "binary"},
            {"body": {"a@evil": None}}, {"body": [1, 2]}, {"body": {"a@evil": {"pool": 5}}},
            {"body": {"b@evil": []}, "headers": {"ticket": "another"}},
            {"body": {"c@evil": []}, "headers": {"ticket": ["not", "text"]}},
        ],
    )  # fmt: skip
    reading = ask(valkey.url, timeout=3.0)
    thread.join(20)
    facts = by_name(reading)
    assert facts["well@test"].pool == "prefork"
    assert set(facts) <= {"well@test", "a@evil"}
    if "a@evil" in facts:
        assert facts["a@evil"] == WorkerFacts("a@evil")
    assert not Explosive.went_off


# -- brokers that do not answer ------------------------------------------------------------------


def test_a_broker_that_hangs_ends_the_round_and_not_the_exporter(
    valkey: Redis, proxied: Callable[[int], Proxy]
) -> None:
    proxy = proxied(valkey.port)
    proxy.stall()
    options = {"socket_timeout": 1, "socket_connect_timeout": 1}
    settings = build_settings(
        {
            "broker_url": valkey.url_at(proxy.port),
            "broker_transport_options": options,
            "inspect_timeout": 1,
            "inspect_interval": 0.1,
        }
    )
    readings: list[FleetReading] = []
    thread = FleetInspector(settings, on_reading=readings.append)
    thread.start()
    wait_until(lambda: readings, timeout=40)
    assert not readings[0].success
    assert readings[0].error
    proxy.flow()
    wait_until(lambda: readings[-1].success, timeout=40)
    thread.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_rabbitmq_that_hangs_in_mid_round(vhost: Vhost, proxied: Callable[[int], Proxy]) -> None:
    proxy = proxied(vhost.port)
    settings = build_settings({"broker_url": vhost.url_at(proxy.port), "inspect_timeout": 3})
    stalled: list[bool] = []

    def stopping() -> bool:
        if not stalled:
            stalled.append(True)
            proxy.stall()  # the questions are out, the consumer is there
        return False

    began = time.monotonic()
    reading = ask_once(settings, stopping=stopping)
    assert time.monotonic() - began < 20
    assert stalled
    assert not reading.success  # no answers of a broker that hangs are not "no workers"
    assert vhost.url not in reading.error
    assert "guest:guest" not in reading.error


# -- priming -------------------------------------------------------------------------------------


def test_a_restart_in_mid_task_keeps_its_name(valkey: Redis, start: Start) -> None:
    start(valkey.url, nodename="w@test", concurrency=2)
    app = client(valkey.url)
    running = app.send_task("work.sleep", (30,))
    later = app.send_task("math.add", (1, 2), countdown=600)
    retrying = app.send_task("web.visit", ("http://shop/missing", (300, 300, 300)), queue="celery")
    until_held(
        valkey.url, "w@test", lambda task: task.uuid == retrying.id and task.state == "reserved"
    )
    # It was taken first, but a pool process need not have been the first to come up.
    tasks = until_held(
        valkey.url, "w@test", lambda task: task.uuid == running.id and task.state == "running"
    )
    known = {task.uuid: task for task in tasks}
    assert known[running.id].state == "running"
    assert known[running.id].started == pytest.approx(time.time(), abs=30)
    assert known[later.id].state == "reserved"
    assert known[later.id].eta == pytest.approx(time.time() + 600, abs=60)
    assert {task.queue for task in tasks} == {"celery"}

    # An exporter that was started just now, and hears of the end only:
    stage = Stage()
    ask_once(
        build_settings({"broker_url": valkey.url, "inspect_timeout": 15}),
        expected=["w@test"],
        on_held=lambda worker, held: stage.cluster.prime(worker, held, stage.now),
    )
    stage.play(
        event("task-succeeded", uuid=uuid, hostname="w@test", runtime=30.0)
        for uuid in (running.id, later.id, retrying.id)
    )
    assert [(step.name, step.queue) for step in stage.tasks] == [
        ("work.sleep", "celery"),
        ("math.add", "celery"),
        ("web.visit", "celery"),
    ]
