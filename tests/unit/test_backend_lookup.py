"""Tasks are looked up in the result backend at a bounded rate, and each is counted."""

import json
import logging
from collections.abc import Callable, Sequence

import pytest

from tests.support.process import wait_until
from z4j_exporter.backend.lookup import MAX_WAITING, BackendLookup, make_backend_lookup
from z4j_exporter.backend.metadata import key_prefixes, task_group
from z4j_exporter.backend.open import open_result_reader
from z4j_exporter.backend.redis import RedisResults
from z4j_exporter.config import build_settings
from z4j_exporter.errors import ConfigError, SourceLostError
from z4j_exporter.journal.model import JournalStats
from z4j_exporter.metrics.journal import BackendMetrics, JournalMetrics

Told = list[tuple[str, str, str | None]]


class Backend:
    """A result backend in memory."""

    location = "memory"

    def __init__(self, **metadata: bytes | None) -> None:
        self.metadata = metadata
        self.asked: list[list[str]] = []
        self.error: Exception | None = None
        self.closed = False

    def read(
        self,
        uuids: Sequence[str],
        deadline: float,  # noqa: ARG002  # ResultReader's signature
    ) -> dict[str, bytes | None]:
        self.asked.append(list(uuids))
        if self.error is not None:
            raise self.error
        return {uuid: self.metadata[uuid] for uuid in uuids if uuid in self.metadata}

    def close(self) -> None:
        self.closed = True


def meta(**fields: object) -> bytes:
    return json.dumps({"status": "SUCCESS", "result": {"group_id": "no"}, **fields}).encode()


def lookup(
    backend: Backend, told: Told, rate: int = 200, **more: Callable[[], float]
) -> BackendLookup:
    return BackendLookup(backend, lambda *found: told.append(found), rate=rate, **more)


def test_groups_are_handed_on_and_everything_is_counted() -> None:
    told: Told = []
    backend = Backend(
        a=meta(group_id="g", parent_id="p"),
        b=meta(group_id="g"),
        c=meta(),
        d=b"\x80\x04}q\x00.",
        e=None,
        f=meta(group_id="x" * 513),
        g=meta(group_id=5),
        h=b"[" * 100_000,
    )
    made = lookup(backend, told)
    for uuid in "abcdefghij":
        made.look_up(uuid)
    made.look_up("a")
    assert made.round()
    assert told == [("a", "g", "p"), ("b", "g", None)]
    assert made.counts() == {
        "group": 2, "no_group": 1, "missing": 2, "unreadable": 4, "too_large": 1, "failed": 0,
        "dropped": 0,
    }  # fmt: skip
    assert made.round()
    assert len(backend.asked) == 1  # nothing waits: nobody is asked


def test_a_round_has_its_part_of_the_rate() -> None:
    backend = Backend()
    made = lookup(backend, [], rate=20)
    for i in range(25):
        made.look_up(f"u{i}")
    assert [made.round() for _ in range(3)] == [True] * 3
    assert [len(asked) for asked in backend.asked] == [10, 10, 5]
    assert backend.asked[0][0] == "u0"


def test_what_finds_no_room_is_counted() -> None:
    made = lookup(Backend(), [])
    for i in range(MAX_WAITING + 3):
        made.look_up(f"u{i}")
    assert made.counts()["dropped"] == 3


def test_a_backend_that_fails_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    backend = Backend(a=meta(group_id="g"))
    told: Told = []
    made = lookup(backend, told)
    with caplog.at_level(logging.INFO):
        for error in (SourceLostError("it is away"), SourceLostError("it is away"), KeyError("x")):
            backend.error = error
            made.look_up("a")
            assert not made.round()
        backend.error = None
        made.look_up("a")
        assert made.round()
    assert [r.message for r in caplog.records] == [
        "the result backend cannot be read: it is away",
        "the result backend cannot be read: unforeseen: KeyError",
        "the result backend can be read again",
    ]
    assert made.counts()["failed"] == 3
    assert told == [("a", "g", None)]


def test_a_taker_that_fails_does_not_end_it() -> None:
    def learned(*_: object) -> None:
        raise RuntimeError("it is stopping")

    made = BackendLookup(Backend(a=meta(group_id="g")), learned, rate=200)
    made.look_up("a")
    assert not made.round()
    assert made.counts()["failed"] == 1
    made.look_up("b")
    assert made.round()


def test_the_thread_asks_and_stops_at_once() -> None:
    backend = Backend(a=meta(group_id="g"))
    told: Told = []
    made = lookup(backend, told)
    made.start()
    made.look_up("a")
    wait_until(lambda: told, message="the group")
    assert made.is_alive()
    made.stop(5)
    assert not made.is_alive()
    assert backend.closed


def test_pauses_vary_and_grow() -> None:
    backend = Backend()
    backend.error = SourceLostError("away")
    pauses: list[float] = []
    made = lookup(backend, [], rand=lambda: 1.0)

    def wait_for(done: Callable[[], bool], seconds: float | None = None) -> bool:
        if seconds is not None:
            pauses.append(round(seconds, 3))
            made._stopping = len(pauses) >= 9
            made.look_up("a")
        return True

    made._changed.wait_for = wait_for  # type: ignore[method-assign,assignment]  # it sleeps
    made._run()
    assert pauses == [0.6, 1.2, 0.6, 2.4, 0.6, 4.8, 0.6, 9.6, 0.6]


# -- keys ------------------------------------------------------------------------------------------


def test_both_forms_of_a_global_keyprefix() -> None:
    assert key_prefixes("") == ["celery-task-meta-"]
    assert key_prefixes("a") == ["a_celery-task-meta-"]
    assert key_prefixes("a:") == ["a:celery-task-meta-", "a:_celery-task-meta-"]


def test_metadata_that_are_no_object() -> None:
    assert task_group(b"[]") is None
    assert task_group(b"") is None
    found = task_group(b'{"group_id": null, "result": NaN}')
    assert found is None or found.group_id is None


# -- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"result_backend_url": "redis://h/0", "result_backend_rate": 0},
        {"result_backend_url": "redis://h/0", "recording": "r.jsonl"},
    ],
)
def test_there_is_nothing_to_ask(given: dict[str, object]) -> None:
    assert make_backend_lookup(build_settings(given), lambda *_: None) is None


@pytest.mark.parametrize(
    "url", ["rpc://", "db+sqlite:///x.db", "mongodb://me:s3cret@h/x", "nonsense://me:s3cret@h", "?"]
)
def test_a_backend_of_another_kind_is_told_of_once(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert open_result_reader(build_settings({"result_backend_url": url})) is None
    assert len([r for r in caplog.records if "is not asked" in r.message]) == 1
    assert "s3cret" not in caplog.text


def test_redis_in_all_its_forms() -> None:
    for url in (
        "redis://:s3cret@h:1/2", "rediss://h/0", "redis+socket:///s", "socket:///s",
        "redis://a/0;redis://b/0",
    ):  # fmt: skip
        reader = open_result_reader(build_settings({"result_backend_url": url}))
        assert isinstance(reader, RedisResults)
        assert "s3cret" not in reader.location
    options = {"master_name": "m"}
    given = {"result_backend_url": "sentinel://a;sentinel://b"}
    with pytest.raises(ConfigError, match="master"):
        open_result_reader(build_settings(given))
    given["result_backend_transport_options"] = options  # type: ignore[assignment]
    assert isinstance(open_result_reader(build_settings(given)), RedisResults)


# -- metrics ---------------------------------------------------------------------------------------


def test_the_families_have_every_outcome_from_the_start() -> None:
    made = BackendMetrics()
    (family,) = made.collect({"group": 3})
    assert made.families() == [family.family]
    assert dict(family.samples)['outcome="group"'] == 3
    assert len(family.samples) == 7
    stats = JournalStats(5, 4096, {"stored": 2}, {"locked": 1}, "locked", 0)
    journal = JournalMetrics()
    families = {each.family.name: dict(each.samples) for each in journal.collect(stats)}
    assert list(families) == [family.name for family in journal.families()]
    assert families["celery_exporter_journal_entries"] == {"": 5}
    assert families["celery_exporter_journal_bytes"] == {"": 4096}
    assert families["celery_exporter_journal_records_total"]['outcome="stored"'] == 2
    assert families["celery_exporter_journal_dropped_total"]['reason="locked"'] == 1
    unknown = JournalStats(None, 0, {}, {}, "damaged", 0)
    assert dict(journal.collect(unknown)[0].samples) == {}
