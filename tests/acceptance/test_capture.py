"""Applications with the capture hook, real workers, and what the installed exporter shows."""

import json
import pickle
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from celery import chain, chord, group

from tests.support import servers
from tests.support.capturing import Captured, capturing
from tests.support.counted import samples
from tests.support.leaks import leaked
from tests.support.otlp_receiver import OtlpReceiver, receiving
from tests.support.process import wait_until
from tests.support.servers import Exporter, Redis
from z4j_exporter.journal.notes import unpack
from z4j_exporter.journal.reader import JournalReader

#: The hook's own report comes soon, so that a test need not wait for it.
OPTIONS = {"report_seconds": 0.2}
SENT = {"task_send_sent_event": True}
UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}")

Labels = tuple[tuple[str, str], ...]
Samples = dict[tuple[str, Labels], float]


@dataclass
class Watched:
    """A running exporter, with everything on that takes what the hook tells."""

    exporter: Exporter
    receiver: OtlpReceiver
    journal_path: Path

    @property
    def journal(self) -> JournalReader:
        """What may be asked of its journal."""
        return JournalReader(self.journal_path)

    def shown(self, *prefixes: str) -> Samples:
        """Return the samples whose names begin so, without zeros, buckets and sums."""
        return {
            key: value
            for key, value in samples(self.exporter.scrape()).items()
            if key[0].startswith(prefixes) and value and not key[0].endswith(("_bucket", "_sum"))
        }


@contextmanager
def watching(broker_url: str, directory: Path) -> Iterator[Watched]:
    """Run the installed command beside a broker."""
    path = directory / "journal.db"
    with receiving() as receiver:
        options = ["--broker-url", broker_url, "--otlp-endpoint", receiver.endpoint]
        options += ["--trace-memory-spans", "1000", "--journal-path", str(path)]
        with servers.exporter(*options, "--log-level", "debug") as running:
            yield Watched(running, receiver, path)


@contextmanager
def playing(broker_url: str, backend: str, serializer: str) -> Iterator[Captured]:
    """Run two workers with the hook, of processes and of threads, and a client with it."""
    settings = {
        **SENT,
        "task_serializer": serializer,
        "worker_log_format": "%(name)s|%(message)s",
    }
    with capturing(broker_url, backend=backend, options=OPTIONS, settings=settings) as shop:
        for nodename, pool in (("w1@test", "prefork"), ("w2@test", "threads")):
            shop.worker(pool, "-l", "DEBUG", nodename=nodename, wait=False)
        for worker in shop.workers:
            wait_until(lambda w=worker: f"{w.nodename} ready." in w.output(), 30, worker.output)
        yield shop


def sample(name: str, **labels: str) -> tuple[str, Labels]:
    """Give the key of a sample."""
    return name, tuple(sorted(labels.items()))


# -- canvases --------------------------------------------------------------------------------------


@dataclass
class Canvases:
    """The ids of what was published, and of the groups: each is its trace's too."""

    chain: list[str]
    urgent: str
    groups: dict[str, str]


def publish(shop: Captured) -> Canvases:
    """Publish a chain, groups, a chord in a chord, what is replaced, and what has a header."""
    task, app = shop.signature, shop.app
    third = chain(task("add", 1, 1), task("add", 1), task("add", 1), app=app).apply_async()
    links = [third.parent.parent.id, third.parent.id, third.id]
    inner = chord([task("add", 1, 1), task("add", 2, 2)], task("total"), app=app)
    outer = chord([inner, task("add", 5, 5)], task("total"), app=app).apply_async()
    plain = group([task("add", i, i) for i in range(3)], app=app).apply_async()
    failing = group([task("add", 1, 1), task("broken")], app=app).apply_async()
    replaced = group([task("replaced"), task("echo")], app=app).apply_async()
    urgent = task("echo", 1).apply_async(priority=3, headers={"tenant": "blue"})
    groups = {
        "chord": outer.parent.id,
        "plain": plain.id,
        "failing": failing.id,
        "replaced": replaced.id,
    }
    return Canvases(links, urgent.id, groups)


#: Of each (kind, task): groups started, finished well, failed, and members that failed.
GROUPS = {
    ("group", "add"): (1, 1, 0, 0),
    ("group", "__mixed__"): (2, 1, 1, 1),
    ("chord", "add"): (1, 1, 0, 0),
    ("chord", "__mixed__"): (1, 1, 0, 0),
}
#: Messages by task; one more of echo has a priority.
PUBLISHED = {"add": 3 + 3 + 3 + 1 + 1, "total": 2, "broken": 1, "replaced": 1, "echo": 1}
MESSAGES = sum(PUBLISHED.values()) + 1


def group_samples() -> Samples:
    """What /metrics must show of the groups above, and nothing else."""
    wanted: Samples = {}
    for (kind, task), (started, succeeded, failed, members) in GROUPS.items():
        of: dict[str, str] = {"kind": kind, "task": task}
        wanted[sample("celery_group_started_total", **of)] = started
        wanted[sample("celery_group_member_failures_total", **of)] = members
        for outcome, number in (("succeeded", succeeded), ("failed", failed)):
            for family in ("celery_group_finished_total", "celery_group_duration_seconds_count"):
                wanted[sample(family, outcome=outcome, **of)] = number
    for task, number in PUBLISHED.items():
        wanted[sample("celery_task_published_total", queue="celery", task=task)] = number
    urgent = {"queue": "celery", "task": "echo", "priority": "3"}
    wanted[sample("celery_task_published_total", **urgent)] = 1
    return {key: number for key, number in wanted.items() if number}


def unlike(watched: Watched) -> list[tuple[tuple[str, Labels], float]]:
    """Return what is shown of groups and messages and should not be, and the other way round."""
    shown = watched.shown("celery_group", "celery_task_published")
    return sorted(shown.items() ^ group_samples().items())


@pytest.mark.parametrize(("broker", "serializer"), [("valkey", "json"), ("vhost", "pickle")])
def test_canvases(
    broker: str, serializer: str, valkey: Redis, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = request.getfixturevalue(broker).url
    with watching(url, tmp_path) as watched, playing(url, valkey.url, serializer) as shop:
        made = publish(shop)
        wait_until(lambda: not unlike(watched), 20, lambda: "\n".join(map(str, unlike(watched))))
        page = watched.exporter.scrape()
        assert not UUID.findall(page), "no id is a label"
        assert_traces(watched, made)
        assert_reports(watched)
        assert_journal(watched, made, serializer)


def assert_traces(watched: Watched, made: Canvases) -> None:
    """One trace for each group and chord on top, with the bodies and what took a member's place."""
    runs = {"plain": 3, "failing": 2, "replaced": 3, "chord": 5}
    traces = {group_id.replace("-", ""): runs[name] for name, group_id in made.groups.items()}
    traces |= {made.chain[0].replace("-", ""): 3, made.urgent.replace("-", ""): 1}

    def counts() -> dict[str, int]:
        spans = watched.receiver.spans()
        return {
            trace: sum(s.trace_id == trace and s.kind == "CONSUMER" for s in spans)
            for trace in {span.trace_id for span in spans}
        }

    wait_until(lambda: counts() == traces, 15, lambda: f"{counts()} != {traces}")
    for span in watched.receiver.spans():
        told = span.attributes.get("celery.task.group_id")
        ours = [group_id for group_id in made.groups.values() if told == group_id]
        assert all(span.trace_id == each.replace("-", "") for each in ours)
        assert (told is None) == (
            span.trace_id
            in {t.replace("-", "") for t in made.chain} | {made.urgent.replace("-", "")}
        ), (span.name, told)


def assert_reports(watched: Watched) -> None:
    """Every note of publishers and workers was sent, and the hooks say so."""
    wanted = {sample("celery_exporter_capture_captured_total"): MESSAGES * 3.0}
    wanted[sample("celery_exporter_capture_sent_total")] = MESSAGES * 3.0
    wait_until(
        lambda: watched.shown("celery_exporter_capture_") == wanted,
        15,
        lambda: f"{watched.shown('celery_exporter_capture_')} != {wanted}",
    )


def assert_journal(watched: Watched, made: Canvases, serializer: str) -> None:
    """The very bytes of each message, its headers, and the members of groups and chords."""
    # The replaced task's two messages have one id.
    entries = sample("celery_exporter_journal_entries")
    wait_until(lambda: watched.shown("celery_exporter_journal")[entries] == MESSAGES - 1, 10)
    urgent = watched.journal.payload(made.urgent)
    assert urgent is not None
    assert urgent.body is not None
    assert urgent.envelope.replayable
    loads: Any = json.loads if serializer == "json" else pickle.loads
    args, kwargs, _embed = loads(urgent.body.data)
    assert (list(args), kwargs) == ([1], {})
    assert urgent.headers == {"tenant": "blue"}
    assert urgent.envelope.priority == 3
    outer = watched.journal.group(made.groups["chord"])
    assert outer is not None
    assert outer.is_chord
    assert outer.chord_body is not None
    assert outer.chord_body["task"] == "total"
    assert [(m.index, m.name) for m in outer.members] == [(0, "total"), (1, "add")]
    plain = watched.journal.group(made.groups["plain"])
    assert plain is not None
    assert [(m.index, m.published) for m in plain.members] == [(n, True) for n in range(3)]


# -- secrets ---------------------------------------------------------------------------------------

#: Unlike in each form that it could take: quoted, escaped, base64.
SECRET = "Tr0ub4dor+S3cr/étö"
#: What a token of somebody looks like; the parts are those of no real one.
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZS1zZWNyZXQifQ.c2lnbmF0dXJlLW9mLWEtdGVzdC1vbmx5"
#: The parts by which a secret is known, even where only one of them came through.
PLANTED = (SECRET, SECRET[:12], JWT, *JWT.split("."))
#: Stands beside each secret: where it is found, one could have found the secret.
MARKER = "stands-beside-it"


def publish_secrets(shop: Captured) -> dict[str, str]:
    """Plant the secret wherever people put them; returns the uuid of each task."""
    task, app = shop.signature, shop.app
    body = task("echo", {"api_key": SECRET, "note": MARKER})
    nested = chord([task("add", 1, 1), task("add", 2, 2)], body, app=app)
    linked = task("echo", 1, link=task("echo", MARKER, kwargs={"token": SECRET}, immutable=True))
    results = {
        "positional": task("echo", {"card": {"password": SECRET}, "note": MARKER}).apply_async(),
        "keyword": task("echo", MARKER, kwargs={"password": SECRET}).apply_async(),
        "header": task("echo", MARKER).apply_async(
            headers={"authorization": f"Bearer {SECRET}", "note": MARKER}
        ),
        "token": task("echo", JWT, MARKER).apply_async(),
        "url": task("echo", f"postgres://shop:{quote(SECRET, safe='')}@db/x").apply_async(),
        "text": task("echo", f"{MARKER} https://shop/?access_token={JWT}&x=1").apply_async(),
        "exception": task("broken", kwargs={"secret": SECRET}).apply_async(),
        "link": linked.apply_async(),
    }
    chord([nested, task("add", 3, 3)], task("echo", MARKER), app=app).apply_async()
    return {name: result.id for name, result in results.items()}


#: Messages of the above, of which the link and two bodies follow.
SECRET_MESSAGES = 8 + 1 + 3 + 2


@pytest.mark.parametrize(("broker", "serializer"), [("valkey", "json"), ("vhost", "pickle")])
def test_a_planted_secret_is_nowhere(
    broker: str,
    serializer: str,
    valkey: Redis,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG", "z4j_exporter")
    url = request.getfixturevalue(broker).url
    with watching(url, tmp_path) as watched, playing(url, valkey.url, serializer) as shop:
        uuids = publish_secrets(shop)
        published = sample("celery_exporter_journal_entries")
        wait_until(
            lambda: (
                watched.shown("celery_exporter_journal").get(published) == SECRET_MESSAGES
                and len(watched.receiver.spans()) == 2 * SECRET_MESSAGES
            ),
            20,
            lambda: f"{watched.shown('celery_exporter_journal')} {len(watched.receiver.spans())}",
        )
        for name, uuid in uuids.items():
            kept = watched.journal.payload(uuid)
            assert kept is not None
            assert kept.envelope.replayable == (name == "header"), name
            assert (kept.body is None) == (name != "header"), name
            if name == "header":
                assert "headers" in kept.incomplete
        pages = {path: watched.exporter.get(path).content for path in ("/", "/metrics", "/traces")}
        listed = json.loads(pages["/traces"])["traces"]
        assert listed
        for trace in listed:
            path = f"/traces/{trace['trace_id']}"
            pages[path] = watched.exporter.get(path).content
        accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
        pages["openmetrics"] = watched.exporter.get("/metrics", headers=accept).content
        wire = json.dumps(
            [r.event for r in shop.listener.received if r.event["type"].startswith("z4j-")],
            ensure_ascii=False,
        )
        assert len(shop.events("z4j-envelope")) == SECRET_MESSAGES
        celerys = json.dumps([r.event for r in shop.listener.received]) + shop.workers[0].output()
        assert leaked(SECRET, celerys.encode()), "Celery's own events and logs have it"
    told = {
        **pages,
        "spans": b"".join(request.payload for request in watched.receiver.requests),
        "the hook's events": wire.encode(),
        "journal": journal_content(watched.journal_path),
        "log of the exporter": watched.exporter.output().encode(),
        "log of the client": caplog.text.encode(),
        "logs of the workers": "".join(map(hook_lines, shop.workers)).encode(),
    }
    assert b"ValueError" in told["spans"]
    assert MARKER.encode() in told["journal"]
    found = {
        (place, part): forms
        for place, content in told.items()
        for part in PLANTED
        if (forms := leaked(part, content))
    }
    assert not found


def journal_content(path: Path) -> bytes:
    """Return all bytes of the journal's files, and what is compressed in them inflated."""
    files = [each.read_bytes() for each in path.parent.iterdir()]
    with closing(sqlite3.connect(path)) as connection:
        notes = connection.execute("SELECT format, note FROM entry").fetchall()
    return b"\n".join([*files, *(unpack(*row) for row in notes)])


def hook_lines(worker: servers.Worker) -> str:
    """Return what the hook logged in a worker: Celery itself logs arguments and exceptions."""
    return "".join(
        line for line in worker.output().splitlines(True) if line.startswith("z4j_exporter")
    )
