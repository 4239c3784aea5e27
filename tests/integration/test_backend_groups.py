"""Groups are learned from real result backends, without the hook."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, group
from celery.app.task import Context

from tests.support import servers
from tests.support.process import wait_until
from tests.support.servers import Redis
from z4j_exporter.backend.lookup import BackendLookup, make_backend_lookup
from z4j_exporter.backend.redis import RedisResults
from z4j_exporter.config import build_settings
from z4j_exporter.errors import SourceLostError

_APP = """
from celery import Celery
app = Celery("x", broker={broker!r}, backend={backend!r}, set_as_current=False)
app.conf.update(result_backend_transport_options={options!r}, worker_hijack_root_logger=False)
@app.task(name="add", shared=False)
def add(x, y):
    return x + y
@app.task(name="broken", shared=False)
def broken():
    raise ValueError("no")
"""

Told = dict[str, tuple[str, str | None]]


def looked_up(settings: dict[str, Any], uuids: list[str]) -> tuple[Told, dict[str, int]]:
    """Look those up in the way the settings say, and return what was told and counted."""
    told: Told = {}

    def learned(uuid: str, group_id: str, parent_id: str | None) -> None:
        told[uuid] = (group_id, parent_id)

    made = make_backend_lookup(build_settings(settings), learned)
    assert isinstance(made, BackendLookup)
    made.start()
    try:
        for uuid in uuids:
            made.look_up(uuid)
        wait_until(
            lambda: sum(made.counts().values()) >= len(uuids), 20, lambda: f"{made.counts()}"
        )
        return told, made.counts()
    finally:
        made.stop(5)


@pytest.mark.parametrize(
    "options", [{}, {"global_keyprefix": "shop"}, {"global_keyprefix": "shop:"}], ids=str
)
def test_a_group_of_real_tasks_by_way_of_the_application(
    valkey: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, str]
) -> None:
    from z4j_exporter.sources.celeryapp import settings_from_app

    backend = valkey.url_at(valkey.port, db=3)
    name = f"backend_app_{len(str(options))}"
    (tmp_path / f"{name}.py").write_text(
        _APP.format(broker=valkey.url, backend=backend, options=options)
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    settings = settings_from_app(f"{name}:app")
    assert settings["result_backend_url"] == backend
    app: Celery = __import__(name).app
    env = {"PYTHONPATH": str(tmp_path)}
    with servers.worker(name, valkey.url, pool="threads", concurrency=2, env=env):
        tasks = [app.signature("add", args=(i, i)) for i in range(5)]
        result = group([*tasks, app.signature("broken")]).apply_async()
        alone = app.signature("add", args=(1, 1)).apply_async()
        for each in [*result.results, alone]:
            wait_until(each.ready, 20, "its result")
    uuids = [each.id for each in result.results]
    told, counts = looked_up(settings, [*uuids, alone.id, "never"])
    assert told == dict.fromkeys(uuids, (result.id, None))
    assert (counts["group"], counts["no_group"], counts["missing"]) == (6, 1, 1)
    app.close()


def test_another_store_of_keys_is_read_by_celerys_own_backend(tmp_path: Path) -> None:
    url = f"file://{tmp_path}"
    app = Celery("x", backend=url, set_as_current=False)
    app.backend.store_result("a", 5, "SUCCESS", request=Context(group="g", children=[]))
    app.backend.store_result(
        "b", "x" * 2_000_000, "SUCCESS", request=Context(group="g", children=[])
    )
    told, counts = looked_up({"result_backend_url": url}, ["a", "b", "c"])
    assert told == {"a": ("g", None)}
    assert (counts["too_large"], counts["missing"]) == (1, 1)


# -- what Redis may say ----------------------------------------------------------------------------


@pytest.fixture
def reader(valkey: Redis) -> Iterator[RedisResults]:
    made = RedisResults([valkey.url], {}, None)
    yield made
    made.close()


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


def test_large_and_strange_values_cost_nobody_else(valkey: Redis, reader: RedisResults) -> None:
    client = valkey.client()
    client.set("celery-task-meta-big", b"x" * 1_100_000)
    client.hset("celery-task-meta-hash", "a", "b")
    client.set("celery-task-meta-binary", b"\xff\0")
    for i in range(20):
        client.set(f"celery-task-meta-mib{i}", b"y" * 1_000_000)
    mib = [f"mib{i}" for i in range(20)]
    found = reader.read(["big", "hash", "none", "binary", *mib], soon())
    assert found.keys() == {"big", "binary", *mib}
    assert found["big"] is None
    assert found["binary"] == b"\xff\0"
    assert found["mib19"] == b"y" * 1_000_000


def test_a_connection_is_kept_and_made_anew(valkey: Redis, reader: RedisResults) -> None:
    client = valkey.client()
    client.set("celery-task-meta-a", b"{}")
    for _ in range(3):
        assert reader.read(["a"], soon()) == {"a": b"{}"}
    ours = [c for c in client.client_list() if c["name"] == "z4j-exporter"]
    assert len(ours) == 1
    client.client_kill_filter(_id=ours[0]["id"])
    with pytest.raises(SourceLostError):
        reader.read(["a"], soon())
    assert reader.read(["a"], soon()) == {"a": b"{}"}


def test_a_server_that_hangs_is_given_up_in_time(valkey: Redis, reader: RedisResults) -> None:
    assert reader.read(["a"], soon()) == {}
    valkey.pause()
    try:
        with pytest.raises(SourceLostError, match="no answer in time"):
            reader.read(["a"], soon(0.3))
    finally:
        valkey.resume()
    assert reader.read(["a"], soon()) == {}


def test_a_user_who_may_not_read_is_told(valkey: Redis, caplog: pytest.LogCaptureFixture) -> None:
    valkey.client().execute_command(
        "ACL", "SETUSER", "blind", "on", ">s3cret", "+select", "+client"
    )
    url = valkey.url.replace("redis://", "redis://blind:s3cret@")
    with caplog.at_level(logging.WARNING):
        _, counts = looked_up({"result_backend_url": url}, ["a"])
    assert counts["failed"] == 1
    assert "the result backend refused: NOPERM" in caplog.text
    assert "s3cret" not in caplog.text
