"""`z4j-exporter trace`: its options, and what it says of traces that it cannot show."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.support.certs import certificates
from tests.support.spans import failed, ran, sent
from tests.support.web import exposition, hashed, tls_section, write_config
from z4j_exporter.cli.trace import trace
from z4j_exporter.cli.trace_remote import parse_url
from z4j_exporter.errors import ConfigError, ExporterError, FileError, TraceError
from z4j_exporter.tracing.answers import TraceAnswers
from z4j_exporter.tracing.decode import spans_from_json
from z4j_exporter.tracing.memory import RecentSpans
from z4j_exporter.tracing.model import Span
from z4j_exporter.tracing.tree import forest, walk
from z4j_exporter.web.listener import Listener
from z4j_exporter.web.pages import Pages, Readiness, create_app
from z4j_exporter.web.reload import WebConfig
from z4j_exporter.web.stats import WebStats

RECORDINGS = Path(__file__).parents[1] / "fixtures" / "recordings"
NESTED = str(RECORDINGS / "visit_nested.jsonl")
#: The only trace of NESTED, the id of its root, and of the last task in it.
TRACE = "6f4aa60ded9e4e99aa5bf3fcd7aedbea"
ROOT = "6f4aa60d-ed9e-4e99-aa5b-f3fcd7aedbea"


def run(*args: str, env: dict[str, str] | None = None) -> Result:
    result = CliRunner().invoke(trace, args, env={"Z4J_EXPORTER_URL": None, **(env or {})})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def refused(kind: type[ExporterError], *args: str, env: dict[str, str] | None = None) -> str:
    with pytest.raises(kind) as caught:
        run(*args, env=env)
    return f"{caught.value.message}\n{caught.value.hint}"


# -- of a recording --------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [ROOT, TRACE, TRACE.upper(), ROOT[:8], f" {ROOT} "])
def test_a_trace_of_a_recording_is_a_tree(wanted: str) -> None:
    lines = run(wanted, "--recording", NESTED).stdout.splitlines()
    assert lines[0] == f"trace {TRACE} web.visit"
    assert "6 spans" in lines[1]
    names = [line.split("  +")[0].rstrip() for line in lines[2:]]
    assert [name.split(" +")[0].rstrip() for name in names] == [
        "send web.visit",
        "└ process web.visit SUCCESS",
        "  └ send web.extract",
        "    └ process web.extract SUCCESS",
        "      └ send web.store",
        "        └ process web.store SUCCESS",
    ]
    assert "waited" in lines[3]


def test_short_leaves_the_sends_out() -> None:
    lines = run(ROOT, "--recording", NESTED, "--short").stdout.splitlines()
    assert [line.split()[-4] for line in lines[2:]] == ["w1@host1,"] * 3


def test_a_list_has_a_line_for_each_trace_the_latest_last() -> None:
    out = run("--recording", str(RECORDINGS / "group_on_top.jsonl"), "--utc").stdout
    ids = [line.split()[0] for line in out.splitlines()]
    assert len(ids) == len(set(ids)) > 1
    assert all(len(each) == 32 for each in ids)
    last = run("--recording", str(RECORDINGS / "group_on_top.jsonl"), "--utc", "--limit", "1")
    assert last.stdout.splitlines() == out.splitlines()[-1:]


def test_all_prints_every_tree() -> None:
    out = run("--recording", str(RECORDINGS / "group_on_top.jsonl"), "--all").stdout
    listed = run("--recording", str(RECORDINGS / "group_on_top.jsonl")).stdout
    assert out.count("trace ") == len(listed.splitlines())


def test_otlp_json_is_the_trace_again() -> None:
    out = run(ROOT, "--recording", NESTED, "--format", "otlp-json").stdout
    assert out.isascii()
    spans = spans_from_json(out.encode())
    assert len(list(walk(forest(spans)))) == 6
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    assert run("--all", "--recording", NESTED, "--format", "otlp-json").stdout == out


def test_colours_only_when_wanted() -> None:
    assert "\x1b" not in run(ROOT, "--recording", NESTED).stdout
    assert "\x1b[" in run(ROOT, "--recording", NESTED, "--color").stdout


def test_an_unknown_id_is_one_sentence() -> None:
    said = refused(TraceError, "f" * 32, "--recording", NESTED)
    assert said.startswith(f"no trace or task {'f' * 32} in {NESTED}\n")
    said = refused(TraceError, "x\x1b[31m" + "y" * 5000, "--recording", NESTED)
    assert len(said) < 400
    assert "\x1b" not in said


def test_a_task_that_has_no_spans_yet_is_told_apart(tmp_path: Path) -> None:
    begun = tmp_path / "begun.jsonl"
    lines = Path(NESTED).read_text().splitlines(keepends=True)
    until = next(number for number, line in enumerate(lines) if "task-succeeded" in line)
    begun.write_text("".join(lines[:until]))
    said = refused(TraceError, ROOT, "--recording", str(begun))
    assert "it has no spans, and is STARTED at the end" in said


def test_several_matches_are_listed(tmp_path: Path) -> None:
    both = tmp_path / "both.jsonl"
    one = Path(NESTED).read_text()
    both.write_text(one + one.replace(ROOT, f"{ROOT[:-1]}0"))
    said = refused(TraceError, ROOT[:30], "--recording", str(both))
    assert f"2 traces match {ROOT[:30]}" in said
    assert {TRACE, f"{TRACE[:-1]}0"} <= set(said.split())


@pytest.mark.parametrize(
    "args",
    [
        (ROOT, "--all"),
        (ROOT, "--limit", "3"),
        ("--format", "otlp-json"),
        ("--short",),
        (ROOT, "--short", "--format", "otlp-json"),
        (ROOT, "--recording", NESTED, "--url", "http://127.0.0.1:1"),
        ("--limit", "0"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(args: tuple[str, ...]) -> None:
    assert run(*args).exit_code == 2


def test_a_recording_that_is_none() -> None:
    assert "/nowhere" in refused(FileError, "--recording", "/nowhere")
    assert "recording" in refused(FileError, "--recording", __file__)


# -- of a running exporter -------------------------------------------------------------------

SPANS = [sent(1, 0, "visit", 0), ran(2, 1, "visit", 11, 103, "FAILURE", **failed("E", "gone"))]
SPANS_TRACE = SPANS[0].trace_id.hex()


@contextmanager
def exporter(spans: list[Span] | None, web_config: Path | None = None) -> Iterator[str]:
    """Serve the pages of an exporter that remembers these spans (None: that keeps none)."""
    recent = RecentSpans(1000)
    recent.take(spans or [])
    well = Readiness(True, "")
    pages = Pages(
        exposition, lambda: well, lambda: well,
        traces=None if spans is None else TraceAnswers(recent),
    )  # fmt: skip
    stats = WebStats()
    config = WebConfig(web_config, stats) if web_config else None
    app = create_app(pages, stats)
    listener = Listener(app, "127.0.0.1:0", web_config=config, stats=stats)
    listener.start()
    try:
        yield listener.url
    finally:
        listener.stop(5.0)
        app.close()


def test_a_running_exporter_gives_the_same_tree() -> None:
    with exporter(SPANS) as url:
        lines = run(SPANS_TRACE, "--url", url, "--utc").stdout.splitlines()
        assert lines[:2] == [
            f"trace {SPANS_TRACE} visit",
            "1970-01-01 00:00:01.000Z, 114.0 ms, 2 spans, 1 error, crawler, web",
        ]
        assert lines[-1].strip() == "E: gone"
        listed = run("--url", f"{url}/metrics", "--utc").stdout.splitlines()
        assert listed == [
            f"{SPANS_TRACE}  1970-01-01 00:00:01.000Z  visit  114.0 ms, 2 spans, 1 error"
        ]
        assert run("--url", url, "--all").stdout.splitlines()[0] == lines[0]
        out = run(SPANS_TRACE, "--format", "otlp-json", env={"Z4J_EXPORTER_URL": url}).stdout
        assert spans_from_json(out.encode()) == SPANS


def test_an_exporter_says_itself_why_it_has_no_trace() -> None:
    with exporter(None) as url:
        said = refused(TraceError, SPANS_TRACE, "--url", url)
        assert f"{url}: no traces are kept: start the exporter with --otlp-endpoint" in said
        assert "no traces are kept" in refused(TraceError, "--url", url)
    with exporter(SPANS) as url:
        for wanted in ("ffffffff", "a/b?c#d%2e", "é\n\x1b"):
            said = refused(TraceError, wanted, "--url", url)
            assert "no trace or task '" in said, wanted
            assert "\x1b" not in said


def test_an_exporter_tells_of_several_matches() -> None:
    other = b"\0" * 14 + b"\x01\x01"
    with exporter([*SPANS, sent(9, 0, "b", 5, trace_id=other)]) as url:
        said = refused(TraceError, "0" * 28, "--url", url)
    assert f"2 traces match '{'0' * 28}': {other.hex()}, {SPANS_TRACE}" in said


def test_tls_and_a_user(tmp_path: Path) -> None:
    config = write_config(tmp_path, tls_section(), f"basic_auth_users:\n  me: {hashed('s3cr3t')}\n")
    ca = ("--ca-file", str(certificates().ca))
    with exporter(SPANS, config) as url:
        url = url.replace("127.0.0.1", "localhost")
        login = url.replace("https://", "https://me:s3cr3t@")
        wrong = url.replace("https://", "https://me:0ther@")
        assert "TLS with" in refused(TraceError, SPANS_TRACE, "--url", url)
        assert "wants a user and a password" in refused(TraceError, "--url", url, *ca)
        env = {"Z4J_EXPORTER_URL": wrong}
        said = refused(TraceError, *ca, env=env)
        assert "wants a user and a password, others" in said
        assert "0ther" not in said
        shown = run(SPANS_TRACE, *ca, env={"Z4J_EXPORTER_URL": login}).stdout
        assert shown.startswith(f"trace {SPANS_TRACE}")
        said = refused(ConfigError, "--url", login, *ca)
        assert "Z4J_EXPORTER_URL" in said
        assert "s3cr3t" not in said


def test_a_client_certificate(tmp_path: Path) -> None:
    certs = certificates()
    demand = tls_section(client_auth_type="RequireAndVerifyClientCert", client_ca_file=certs.ca)
    config = write_config(tmp_path, demand)
    with exporter(SPANS, config) as url:
        args = ("--url", url.replace("127.0.0.1", "localhost"), "--ca-file", str(certs.ca))
        refused(TraceError, *args)
        pair = ("--client-certificate", str(certs.client_certificate), str(certs.client_key))
        assert SPANS_TRACE in run(*args, *pair).stdout


def test_files_that_cannot_be_used() -> None:
    url = "https://localhost:1"
    assert "/nowhere" in refused(FileError, "--url", url, "--ca-file", "/nowhere")
    pair = (__file__, __file__)
    assert __file__ in refused(FileError, "--url", url, "--client-certificate", *pair)


def test_nobody_there() -> None:
    said = refused(TraceError, "--url", "http://127.0.0.1:1")
    assert "no exporter answers at http://127.0.0.1:1: Connection refused" in said
    assert "--url" in said


@contextmanager
def impostor(status: int, content_type: str, body: bytes) -> Iterator[str]:
    """Another HTTP server, which answers every request so."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("content-type", content_type)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def _listed(**fields: Any) -> bytes:
    line = {
        "trace_id": "01" * 16, "root": "a", "service": "s", "task_id": "", "start": "",
        "start_unix_nano": "1", "duration_seconds": 1.0, "spans": 1, "errors": 0, **fields,
    }  # fmt: skip
    return json.dumps({"traces": [line], "spans": 1, "evicted": 0}).encode()


@pytest.mark.parametrize(
    ("status", "content_type", "body", "said"),
    [
        (200, "text/html", b"<html>", "sent no list of traces"),
        (200, "application/json", b"[]", "sent no list of traces"),
        (200, "application/json", _listed(start_unix_nano="x"), "sent no list of traces"),
        (200, "application/json", _listed(trace_id="zz"), "sent no list of traces"),
        (200, "application/json", _listed(duration_seconds=1e300), "sent no list of traces"),
        (302, "text/html", b"", "answered 302"),
        (404, "text/html", b"<html>", "answered 404"),
        (503, "text/plain", b"Too many\x1b[31m.\n", "Too many\\x1b[31m."),
    ],
)
def test_others_than_exporters_are_seen_through(
    status: int, content_type: str, body: bytes, said: str
) -> None:
    with impostor(status, content_type, body) as url:
        told = refused(TraceError, "--url", url)
    assert said in told
    assert "\x1b" not in told


def test_hostile_lists_and_traces_are_harmless() -> None:
    evil = _listed(root="a\x1b[2J\r\n", start_unix_nano=str(2**64 - 1))
    with impostor(200, "application/json", evil) as url:
        out = run("--url", url).stdout
        assert "\x1b" not in out
        assert len(out.splitlines()) == 1
        assert "it is not OTLP/JSON" in refused(TraceError, SPANS_TRACE, "--url", url)
    with impostor(200, "application/json", b'{"resourceSpans":[]}') as url:
        assert "an empty trace" in refused(TraceError, SPANS_TRACE, "--url", url)


@pytest.mark.parametrize(
    "url", ["", "nonsense", "ftp://x", "http://", "http://x:99999", "http://[::1", "localhost:9808"]
)
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(ConfigError, match="--url"):
        parse_url(url)


@pytest.mark.parametrize(
    ("url", "shown", "login"),
    [
        ("http://127.0.0.1:9808", "http://127.0.0.1:9808", ""),
        ("https://a%40b:p%3Aw@box/z4j/", "https://box:443/z4j", "a@b:p:w"),
        ("http://[::1]:9808/metrics", "http://[::1]:9808", ""),
        ("http://box/x/traces/", "http://box:80/x", ""),
    ],
)
def test_urls(url: str, shown: str, login: str) -> None:
    address = parse_url(url)
    assert (address.url, address.login) == (shown, login)
