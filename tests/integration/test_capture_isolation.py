"""The hook is never in the way: brokers that hang, forks, ends of processes, gevent."""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.support import servers
from tests.support.capturing import capturing
from tests.support.stage import Listener
from z4j_exporter import capture

PROJECT = servers.PROJECT


def publish_seconds(app: Celery, n: int) -> list[float]:
    """Publish n tasks; return what each took."""
    taken = []
    for number in range(n):
        began = time.perf_counter()
        app.send_task("echo", (number,))
        taken.append(time.perf_counter() - began)
    return taken


@pytest.fixture(params=["redis", "amqp"])
def hanging(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a broker that accepts connections and answers nothing."""
    if request.param == "redis":
        with servers.valkey() as stopped:
            stopped.pause()
            yield stopped.url
    else:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            yield f"amqp://guest:guest@127.0.0.1:{silent.getsockname()[1]}//"


def test_a_hanging_broker_delays_no_publish(valkey: servers.Redis, hanging: str) -> None:
    app = Celery("client", broker=valkey.url, set_as_current=False)
    without = publish_seconds(app, 200)
    hook = capture.install(app, broker_url=hanging, queue_items=50)
    with_hook = publish_seconds(app, 200)
    stats = hook.stats()
    began = time.perf_counter()
    hook.uninstall()
    assert time.perf_counter() - began < 1.0  # flush_seconds, not the broker's deadline
    app.close()
    assert statistics.median(with_hook) < statistics.median(without) * 2 + 0.000_2
    assert max(with_hook) < 0.5
    assert stats["captured"] == 200
    assert stats["sent"] == 0
    assert stats["dropped"]["queue_full"] >= 200 - 50 - 64  # a batch is in the sender's hands
    assert stats["errors"] == 0


def test_an_absent_broker_delays_no_publish_and_no_end(valkey: servers.Redis) -> None:
    app = Celery("client", broker=valkey.url, set_as_current=False)
    hook = capture.install(app, broker_url=f"redis://127.0.0.1:{servers.free_port()}/0")
    assert max(publish_seconds(app, 100)) < 0.5
    began = time.perf_counter()
    hook.uninstall()
    assert time.perf_counter() - began < 1.0
    assert hook.stats()["sent"] == 0
    app.close()


def test_what_waited_is_sent_when_the_broker_is_back(valkey: servers.Redis) -> None:
    with servers.valkey() as other, Listener(other.url) as listener:
        app = Celery("client", broker=valkey.url, set_as_current=False)
        hook = capture.install(app, broker_url=other.url, timeout_seconds=0.3, report_seconds=0.1)
        publish_seconds(app, 1)
        listener.wait(lambda events: len(events) >= 1, "the first envelope")
        other.pause()
        publish_seconds(app, 10)
        servers.wait_until(lambda: not hook.stats()["connected"], 5, "the hook notices")
        other.resume()
        listener.wait(lambda events: set(range(10)) <= _numbers(events), "all the envelopes")
        hook.uninstall()
        app.close()


def _numbers(events: list[dict[str, Any]]) -> set[Any]:
    return {
        json.loads(e["z4j"]["payload"]["body"])[0][0] for e in events if e["type"] == "z4j-envelope"
    }


def test_a_short_program_sends_all_before_it_ends(valkey: servers.Redis) -> None:
    program = (
        "import sys; from celery import Celery; from z4j_exporter import capture\n"
        "app = Celery('short', broker=sys.argv[1]); capture.install(app)\n"
        "app.send_task('echo', ('bye',))\n"
    )
    with Listener(valkey.url) as listener:
        subprocess.run([sys.executable, "-c", program, valkey.url], check=True, cwd=PROJECT)
        listener.wait(
            lambda events: [e["type"] for e in events][:2] == ["z4j-envelope", "z4j-report"],
            "the envelope and the report",
            5,
        )


def test_children_of_a_pool_send_all_before_they_end(valkey: servers.Redis) -> None:
    """With one task to a child, each child ends right after its task, by os._exit."""
    with capturing(valkey.url) as shop:
        shop.worker("prefork", "--max-tasks-per-child", "1")
        sent = [shop.signature("echo", n).apply_async().id for n in range(4)]
        ends = shop.wait("z4j-end", 4)
        assert {e["uuid"] for e in ends} == set(sent)
        assert len({e["pid"] for e in ends}) == 4
        slow = shop.signature("slow", 0.5).apply_async().id
        shop.wait("z4j-run", uuid=slow)
        shop.workers[0].signal(15)  # a warm shutdown: the task ends, then its child
        shop.wait("z4j-end", uuid=slow)


FORKING = """
import os, sys
from celery import Celery
from z4j_exporter import capture
app = Celery("forking", broker=sys.argv[1])
hook = capture.install(app)
def send(text, times=1):  # over a connection of its own: a forked one is the application's affair
    with app.connection_for_write() as connection:
        for _ in range(times):
            app.send_task("echo", (text,), connection=connection)
send("parent before")
assert hook.flush(10)
send("parent", 200)  # captured, most of it not yet sent, when the fork comes
child = os.fork()
send("parent after" if child else "child")
assert hook.flush(10)
if child == 0:
    assert hook.stats()["captured"] == 1, hook.stats()
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
send("parent last")
assert hook.flush(10)
stats = hook.stats()
assert stats["sent"] == stats["captured"] == 203, stats
assert stats["connections"] == 1, stats
"""


@pytest.mark.parametrize("kind", ["redis", "rabbitmq"])
def test_a_forked_child_captures_on_its_own(
    kind: str, valkey: servers.Redis, request: pytest.FixtureRequest
) -> None:
    """As under a web server that loads the application and then forks (gunicorn --preload)."""
    url = valkey.url
    if kind == "rabbitmq":
        rabbit: servers.Rabbit = request.getfixturevalue("rabbit")
        url = rabbit.vhost().url
    with Listener(url) as listener:
        done = subprocess.run(
            [sys.executable, "-c", FORKING, url],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr

        def envelopes(events: list[dict[str, Any]]) -> list[str]:
            return [
                json.loads(e["z4j"]["payload"]["body"])[0][0]
                for e in events
                if e["type"] == "z4j-envelope"
            ]

        listener.wait(lambda events: len(envelopes(events)) >= 204, "all envelopes")
        texts = envelopes([r.event for r in listener.received])
        assert sorted(set(texts)) == [
            "child", "parent", "parent after", "parent before", "parent last",
        ]  # fmt: skip
        assert len(texts) == 204  # none of the parent's was sent by the child again


@pytest.mark.parametrize("pool", ["gevent", "eventlet", "solo"])
def test_other_pools(pool: str, valkey: servers.Redis) -> None:
    if pool != "solo":
        pytest.importorskip(pool)
    with capturing(valkey.url) as shop:
        shop.worker(pool)
        sent = [shop.signature("slow", 0.1).apply_async().id for _ in range(3)]
        ends = shop.wait("z4j-end", 3)
        assert {e["uuid"] for e in ends} == set(sent)
        assert {e["state"] for e in ends} == {"SUCCESS"}
        assert len(shop.wait("z4j-run", 3)) == 3


def test_two_applications_in_one_process_are_told_apart(valkey: servers.Redis) -> None:
    with Listener(valkey.url) as listener:
        one, two, three = (
            Celery(name, broker=valkey.url, set_as_current=False)
            for name in ("one", "two", "three")
        )
        hooks = [capture.install(one, name="shop.one:app"), capture.install(two)]
        for app in (one, two, three):
            app.send_task("echo", (app.main,))
        assert all(hook.flush(5) for hook in hooks)
        listener.wait(
            lambda events: sum(e["type"] == "z4j-envelope" for e in events) >= 2, "both envelopes"
        )
        for hook in hooks:
            hook.uninstall()
        told = {
            e["z4j"]["app"]: json.loads(e["z4j"]["payload"]["body"])[0]
            for e in (r.event for r in listener.received)
            if e["type"] == "z4j-envelope"
        }
        assert told == {"shop.one:app": ["one"], "two": ["two"]}
        for app in (one, two, three):
            app.close()


def test_gunicorn_with_preload(valkey: servers.Redis, tmp_path: Path) -> None:
    pytest.importorskip("gunicorn")
    (tmp_path / "web.py").write_text(
        "import os\nfrom celery import Celery\nfrom z4j_exporter import capture\n"
        f"celery = Celery('web', broker={valkey.url!r})\ncapture.install(celery)\n"
        "celery.send_task('echo', ('preload',))\n"
        "def app(environ, start_response):\n"
        "    celery.send_task('echo', (os.getpid(),))\n"
        "    start_response('200 OK', [])\n    return [b'ok']\n"
    )
    port = servers.free_port()
    command = [sys.executable, "-m", "gunicorn", "--preload", "-w", "2"]
    command += ["-b", f"127.0.0.1:{port}", "web:app"]
    with (
        Listener(valkey.url) as listener,
        servers.start("gunicorn", command, cwd=tmp_path, env={"PYTHONPATH": str(PROJECT)}) as web,
    ):
        servers.wait_until(lambda: servers.listening(port), 20, web.output)
        import httpx

        for _ in range(4):
            assert httpx.get(f"http://127.0.0.1:{port}/").text == "ok"
        listener.wait(
            lambda events: sum(e["type"] == "z4j-envelope" for e in events) >= 5, "five envelopes"
        )
        pids = {r.event["pid"] for r in listener.received}
        assert web.pid in pids
        assert os.getpid() not in pids
        assert len(pids) >= 2
