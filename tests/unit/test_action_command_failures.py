"""`z4j-exporter action`: answers that no API of ours gives, and answers that do not come."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.actions_api import office, served
from tests.support.certs import certificates
from tests.support.web import tls_section, write_config
from z4j_exporter.actions.tokens import make_token, stored
from z4j_exporter.cli import action_client
from z4j_exporter.cli.action_answers import ActionSaid, ItemSaid, understood
from z4j_exporter.cli.action_client import ActionsClient
from z4j_exporter.cli.action_errors import (
    ActionCommandError,
    ActionFailedError,
    ActionRefusedError,
    ActionsUnreachableError,
    ActionUnknownError,
    JobGoesOnError,
)
from z4j_exporter.cli.action_follow import follow, raise_for, whole
from z4j_exporter.cli.action_ids import read_ids
from z4j_exporter.cli.action_target import (
    TOKEN_FILE_VARIABLE,
    TOKEN_VARIABLE,
    Target,
    parse_url,
    target_of,
)
from z4j_exporter.cli.action_text import action_lines, fact_lines
from z4j_exporter.errors import ConfigError, ExporterError, FileError
from z4j_exporter.web.reload import WebConfig
from z4j_exporter.web.stats import WebStats

TOKEN = make_token()


@contextmanager
def answering(answer: bytes | None, *, tls: bool = False) -> Iterator[str]:
    """A server that reads one request and sends these bytes; None: it never answers."""
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener:
            while not over.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(5)
                    connection.recv(65536)
                    if answer is None:
                        over.wait(5)
                    else:
                        connection.sendall(answer)

    thread = threading.Thread(target=serve, name="answering", daemon=True)
    thread.start()
    try:
        port = listener.getsockname()[1]
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        over.set()
        with suppress(OSError):  # the thread may have closed it
            listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        assert not thread.is_alive()


def http(status: int, body: bytes, *headers: str, kind: str = "application/json") -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"content-type: {kind}", f"content-length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def problem(**members: Any) -> bytes:
    said = {"type": "/docs/actions#x", "detail": "Said.", "request_id": "r", **members}
    return json.dumps(said).encode()


def client(url: str, timeout: float = 5.0) -> ActionsClient:
    return ActionsClient(Target(parse_url(url), TOKEN, None), timeout=timeout)


def asked(
    url: str, *, acts: bool = True, timeout: float = 5.0, kind: type[ExporterError] = ExporterError
) -> ActionCommandError:
    """Ask, and return the error that it ended with."""
    with closing(client(url, timeout)) as made, pytest.raises(kind) as caught:
        made.post("/v1/tasks/x/retry", {}, key="k", acts=acts)
    assert isinstance(caught.value, ActionCommandError)
    assert TOKEN not in f"{caught.value.message}{caught.value.hint}"
    return caught.value


# -- answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "acting", "looking"),
    [
        (500, problem(), ActionFailedError, ActionFailedError),
        (504, problem(unknown=True), ActionUnknownError, ActionUnknownError),
        (504, problem(), ActionFailedError, ActionFailedError),
        (404, problem(), ActionRefusedError, ActionRefusedError),
        # A proxy's: nobody knows how far it came.
        (504, b"<html>", ActionUnknownError, ActionsUnreachableError),
        (502, b'{"type": "about:blank"}', ActionUnknownError, ActionsUnreachableError),
        (403, b"<html>", ActionRefusedError, ActionRefusedError),
        (302, b"", ActionsUnreachableError, ActionsUnreachableError),
        (200, b"ok", ActionUnknownError, ActionsUnreachableError),
        (200, b"[]", ActionUnknownError, ActionsUnreachableError),
        (200, b"[" * 100_000, ActionUnknownError, ActionsUnreachableError),
        (200, b'{"a": "\xff"}', ActionUnknownError, ActionsUnreachableError),
        (204, b"", ActionUnknownError, ActionsUnreachableError),
    ],
)  # fmt: skip
def test_an_answer_is_told_by_what_it_means_for_the_task(
    status: int,
    body: bytes,
    acting: type[ActionCommandError],
    looking: type[ActionCommandError],
) -> None:
    with answering(http(status, body)) as url:
        assert type(asked(url, acts=True)) is acting
        assert type(asked(url, acts=False)) is looking


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", b"SSH-2"]
)
def test_an_answer_that_breaks_off_leaves_it_open(answer: bytes) -> None:
    with answering(answer) as url:
        assert "it may have happened" in asked(url, kind=ActionUnknownError).message
        asked(url, acts=False, kind=ActionsUnreachableError)


def test_no_answer_within_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(None) as url:
        error = asked(url, timeout=0.05, kind=ActionUnknownError)
        assert "did not answer within 0.05 s: it may have happened" in error.message
        asked(url, timeout=0.05, acts=False, kind=ActionsUnreachableError)


def test_an_answer_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(action_client, "_MAX_BYTES", 100)
    with answering(http(200, b'"' + b"x" * 1000 + b'"')) as url:
        assert "sent more than 100 bytes" in asked(url, kind=ActionUnknownError).message


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    error = asked(f"http://127.0.0.1:{port}", kind=ActionsUnreachableError)
    assert error.message.startswith(f"no actions API answers at http://127.0.0.1:{port}: ")
    assert error.exit_code == 19
    asked("http://no-such-host.invalid", kind=ActionsUnreachableError)
    asked(f"http://{'a' * 64}.example", kind=ActionsUnreachableError)


def test_ctrl_c_before_the_answer_leaves_it_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(action_client, "_read", interrupted)
    with answering(http(200, b"{}")) as url:
        asked(url, kind=ActionUnknownError)
        with closing(client(url)) as made, pytest.raises(KeyboardInterrupt):
            made.look("/v1/tasks/x")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("1e9", 60.0), ("-1", 0.0), ("nan", 0.0), ("Wed, 21 Oct", 0.0), ("9" * 999, 60.0)],
)
def test_retry_after_is_taken_with_care(header: str, seconds: float) -> None:
    with answering(http(429, problem(), f"retry-after: {header}")) as url:
        assert asked(url).retry_after_seconds == seconds


# -- hostile text ----------------------------------------------------------------------------

EVIL = "a\x1b[2J\r\nz4j-exporter: done\u202e\x00\x9b"


def test_what_an_api_says_obeys_nothing_and_forges_no_line() -> None:
    body = problem(
        type=f"#{EVIL}", detail=EVIL * 500, hint=EVIL, action_id=EVIL,
        errors=[{"at": EVIL, "problem": EVIL}] * 50,
    )  # fmt: skip
    with answering(http(409, body, kind="application/problem+json")) as url:
        error = asked(url, kind=ActionRefusedError)
    assert error.message.isprintable()
    assert len(error.message) < 4000
    lines = error.hint.split("\n  ")
    assert len(lines) == 12
    assert all(line.isprintable() for line in lines)


def test_what_an_action_says_obeys_nothing_and_forges_no_line() -> None:
    item = {"position": 0, "task_id": EVIL, "new_task_id": EVIL, "state": EVIL,
            "detail": {"detail": EVIL, "kind": EVIL, "dropped": [EVIL, {EVIL: EVIL}]}}  # fmt: skip
    result = {
        EVIL: EVIL,
        "list": [EVIL] * 100,
        "of": [{EVIL: [EVIL]}] * 100,
        "in": {EVIL: {"a": 1}},
    }
    for verb in ("retry", "purge", "terminate", "bulk-retry", EVIL):
        for state in ("done", "running", "unknown", EVIL):
            for dry_run in (True, False):
                said = understood(
                    {"id": EVIL, "verb": verb, "state": state, "dry_run": dry_run, "queue": EVIL,
                     "task_id": EVIL, "group_id": EVIL, "new_task_id": EVIL, "actor": EVIL,
                     "counts": {EVIL: 3}, "notes": [EVIL], "items": [item],
                     "requested_at": 1e300, "result": result | {"messages": EVIL}},
                    ActionSaid,
                )  # fmt: skip
                lines = list(action_lines(said))
                assert all(line.isprintable() for line in lines), lines


def test_facts_beyond_those_that_are_known_are_told() -> None:
    facts = {
        "dropped": ["eta"], "none": None, "empty": [], "flag": True, "seen_at": 0.0,
        "of": [{"a": 1, "b": None}], "in": {"x_y": 2},
    }  # fmt: skip
    assert list(fact_lines(facts)) == [
        "  dropped: eta",
        "  flag: yes",
        "  seen at: 1970-01-01T00:00:00.000Z",
        "  of:",
        "    - a 1",
        "  in:",
        "    x y: 2",
    ]


def test_an_item_that_is_not_sent_says_why() -> None:
    said = ActionSaid(
        "a", "bulk-retry", "partial", total=2, counts={"unknown": 1, "sent": 1},
        items=[
            ItemSaid(0, "t", "n", "unknown", {"kind": "broker-timeout", "detail": "no answer"}),
            ItemSaid(1, "t", "n", "sent", {"dropped": ["group", "chord"]}),
        ],
    )  # fmt: skip
    assert list(action_lines(said))[-2:] == [
        "unknown  t as n: no answer [broker-timeout]",
        "sent     t as n (dropped: group, chord)",
    ]


# -- following -------------------------------------------------------------------------------


class Answers:
    """An API whose answers are these, one after the other; the last one stays."""

    def __init__(self, *answers: dict[str, Any] | BaseException) -> None:
        self._answers = list(answers)

    def look(self, path: str) -> action_client.Answer:
        assert path.startswith("/v1/actions/a1?")
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return action_client.Answer(200, answer, replayed=False)


def job(state: str, **more: Any) -> dict[str, Any]:
    return {"id": "a1", "verb": "bulk-retry", "state": state, "total": 2, **more}


def followed(*answers: dict[str, Any] | BaseException) -> tuple[dict[str, Any], list[float]]:
    """Follow; return the document and the waits."""
    waits: list[float] = []
    api: Any = Answers(*answers)
    document = follow(api, "a1", lambda _: None, sleep=waits.append, clock=lambda: sum(waits))
    return document, waits


def test_a_job_is_looked_at_until_its_end() -> None:
    document, waits = followed(*[job("running")] * 20, job("done"))
    assert document["state"] == "done"
    assert waits[0] < 1
    assert max(waits) == waits[-1] == 2.0


def test_an_exporter_that_restarts_is_waited_for() -> None:
    gone = ActionsUnreachableError("gone")
    limited = ActionRefusedError("slowly", status=429, retry_after_seconds=9.0)
    document, waits = followed(job("running"), gone, limited, gone, job("done"))
    assert document["state"] == "done"
    assert 9.0 in waits


def test_a_job_that_nobody_tells_of_any_more_is_left() -> None:
    with pytest.raises(JobGoesOnError) as caught:
        followed(job("running"), ActionsUnreachableError("gone"))
    assert caught.value.message == "gone: the job goes on in the exporter"


def test_a_refusal_ends_the_watch_at_once() -> None:
    with pytest.raises(ActionRefusedError):
        followed(job("running"), ActionRefusedError("revoked", status=401))


def test_ctrl_c_leaves_the_job_and_says_how_to_look_at_it() -> None:
    with pytest.raises(JobGoesOnError) as caught:
        followed(job("running"), KeyboardInterrupt())
    assert caught.value.exit_code == 130
    assert caught.value.message == "interrupted: the job goes on in the exporter"
    assert "z4j-exporter action show a1 --follow" in caught.value.hint
    assert "z4j-exporter action stop a1" in caught.value.hint


def test_pages_that_never_end_are_not_followed_for_ever() -> None:
    item = {"position": 0, "task_id": "t", "new_task_id": "n", "state": "sent"}
    for offsets in ([0], [-1], [5, 5], [10**9]):
        pages = [job("done", items=[item], next_offset=offset) for offset in offsets]
        api: Any = Answers(*pages)
        assert len(whole(api, "a1")["items"]) == len(pages)


@pytest.mark.parametrize("page", [{"items": 3}, {"items": "abc"}, {"next_offset": True}])
def test_pages_that_make_no_sense(page: dict[str, Any]) -> None:
    api: Any = Answers(job("done") | page)
    with pytest.raises(ActionsUnreachableError):
        whole(api, "a1")


def test_an_end_that_is_not_known_is_no_success() -> None:
    with pytest.raises(ActionUnknownError):
        raise_for(ActionSaid("a", "retry", "unknown"))
    with pytest.raises(ActionUnknownError):
        raise_for(ActionSaid("a", "retry", "a state of a later version"))
    with pytest.raises(ActionFailedError):
        raise_for(ActionSaid("a", "retry", "failed"))


# -- TLS -------------------------------------------------------------------------------------


def test_tls_with_a_certificate_instead_of_a_token(tmp_path: Path) -> None:
    made = certificates()
    section = tls_section(
        client_auth_type="RequireAndVerifyClientCert", client_ca_file=str(made.ca)
    )
    config = WebConfig(write_config(tmp_path, section), WebStats())
    with office(tmp_path) as desk, served(desk, web_config=config) as api:
        desk.tokens.certify("client", role="viewer", email="client@example.org")
        port = api.listener.url.rpartition(":")[2]
        url = f"https://127.0.0.1:{port}"
        pair = (made.client_certificate, made.client_key)

        def look(**more: Any) -> str:
            target = target_of(url, environment={TOKEN_VARIABLE: TOKEN}, **more)
            with (
                closing(ActionsClient(target, timeout=10)) as client,
                pytest.raises(ActionCommandError) as caught,
            ):
                client.post("/v1/tasks/x/retry", {}, key=None, acts=True)
            assert "Traceback" not in caught.value.message
            return f"{type(caught.value).__name__} {caught.value.message} {caught.value.hint}"

        assert "its certificate is not good" in (said := look(ca_file=made.other_ca))
        assert said.startswith("ActionsUnreachableError")
        assert "--ca-file" in said
        # Our own listener says nothing to who shows none: so it is not known what it did.
        said = look(ca_file=made.ca)
        assert "--client-certificate" in said, said
        target = target_of(url, ca_file=made.ca, certificate=pair, environment={})
        with closing(ActionsClient(target)) as client, pytest.raises(ActionRefusedError) as caught:
            client.look("/v1/tasks/x")
        assert "[task-unknown]" in caught.value.message


def test_tls_where_there_is_none() -> None:
    with answering(b"HTTP/1.1 400 Bad\r\n\r\n", tls=True) as url:
        target = Target(parse_url(url), TOKEN, ssl.create_default_context())
        with (
            closing(ActionsClient(target, timeout=5)) as made,
            pytest.raises(ActionsUnreachableError) as caught,
        ):
            made.post("/v1/tasks/x/retry", {}, key=None, acts=True)
        assert "it does not speak TLS" in caught.value.message


# -- whom to ask -----------------------------------------------------------------------------


def test_the_token_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    other = make_token()
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    here = "http://127.0.0.1:9809"
    assert target_of(here, token_file=file, environment={TOKEN_VARIABLE: other}).token == TOKEN
    both = {TOKEN_VARIABLE: other, TOKEN_FILE_VARIABLE: str(file)}
    assert target_of(here, environment=both).token == other
    assert target_of(here, environment={TOKEN_FILE_VARIABLE: str(file)}).token == TOKEN
    assert TOKEN not in repr(target_of(here, token_file=file))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no token"),
        ("hunter2", "holds no token"),
        (TOKEN[:-1], "cut or mistyped"),
        (f"{TOKEN}\n{TOKEN}", "cut or mistyped"),
        (f"tokens:\n- hash: {stored(TOKEN)}\n", "file of hashes"),
        ("x" * 100_000, "holds no token"),
    ],
)
def test_what_is_no_token_is_sent_nowhere_and_not_repeated(
    tmp_path: Path, text: str, says: str
) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    with pytest.raises(ConfigError, match=says) as caught:
        target_of("http://127.0.0.1:9809", token_file=file, environment={})
    assert "hunter2" not in f"{caught.value.message}{caught.value.hint}"
    assert TOKEN[4:20] not in f"{caught.value.message}{caught.value.hint}"


def test_who_has_neither_token_nor_certificate_is_told_so() -> None:
    with pytest.raises(ConfigError, match="there is no token"):
        target_of("http://127.0.0.1:9809", environment={})
    with pytest.raises(FileError):
        target_of("http://127.0.0.1:9809", environment={TOKEN_FILE_VARIABLE: "/nowhere"})


@pytest.mark.parametrize("url", ["http://10.0.0.1:9809", "http://example.org", "http://[fe80::1]"])
def test_a_token_goes_over_no_network_in_the_clear(url: str) -> None:
    environment = {TOKEN_VARIABLE: TOKEN}
    with pytest.raises(ConfigError, match="in the clear"):
        target_of(url, environment=environment)
    assert target_of(url, environment=environment, insecure=True).token == TOKEN


@pytest.mark.parametrize("url", ["http://127.0.0.2:1", "http://localhost", "http://[::1]:9809"])
def test_this_machine_is_no_network(url: str) -> None:
    assert target_of(url, environment={TOKEN_VARIABLE: TOKEN}).tls is None


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:9809", "ftp://x", "http://", "http://u:hunter2@x", "http://x/?token=hunter2",
        "http://x:99999", "http://x:y", "http://ü.example", "http://x\r\n", "http://a b", "http://[1",
        "http://x#hunter2", "http://@x",
    ],
)  # fmt: skip
def test_a_url_that_cannot_be_used_is_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_url(url)
    assert "hunter2" not in f"{caught.value.message}{caught.value.hint}"


def test_a_url_may_have_a_path_before_the_version() -> None:
    assert parse_url("https://x/celery/v1/").url == "https://x:443/celery"
    assert parse_url("http://[::1]").url == "http://[::1]:80"


@pytest.mark.parametrize(
    "given",
    [
        {"ca_file": Path("/nowhere.pem")},
        {"ca_file": Path(__file__)},
        {"certificate": (Path(__file__), Path(__file__))},
    ],
)
def test_certificates_that_cannot_be_used(given: dict[str, Any]) -> None:
    with pytest.raises(FileError):
        target_of("https://x", environment={TOKEN_VARIABLE: TOKEN}, **given)
    with pytest.raises(ConfigError, match="https://"):
        target_of("http://127.0.0.1:1", environment={TOKEN_VARIABLE: TOKEN}, **given)


# -- ids -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "has no ids"),
        (b"a\nb/c\n", "line 2"),
        (b"a\n" + b"x" * 256, "line 2"),
        (b"a\x1bb", "line 1"),
        (b"\xff\xfe", "not UTF-8"),
        (b"\n".join(b"%d" % n for n in range(10_001)), "one job takes 10000"),
        (b"x" * (12 * 1024 * 1024), "no list of ids"),
    ],
)
def test_a_file_that_is_no_list_of_ids(tmp_path: Path, text: bytes, says: str) -> None:
    file = tmp_path / "ids"
    file.write_bytes(text)
    with pytest.raises((ConfigError, FileError), match=says):
        read_ids(file)
