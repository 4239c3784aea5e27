"""Tokens: what they look like, what is kept of them, and what a token file may say."""

import contextlib
import os
import re
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.certs import certificates
from z4j_exporter import strict_yaml
from z4j_exporter.actions.model import Actor
from z4j_exporter.actions.tokens import (
    TOKEN_PATTERN,
    digest,
    is_whole,
    make_token,
    read_stored,
    stored,
)
from z4j_exporter.actions.tokens_file import parse, read
from z4j_exporter.actions.tokens_set import actor_of, certificate_ended, standing
from z4j_exporter.errors import ConfigError, ExporterError, FileError

TOKEN = make_token()
HASH = stored(TOKEN)


def test_a_token_is_found_by_scanners_and_is_never_made_twice() -> None:
    made = {make_token() for _ in range(200)}
    assert len(made) == 200
    for token in made:
        assert re.fullmatch(TOKEN_PATTERN, token)
        assert is_whole(token)
        assert len(token) == 53


def test_the_checksum_is_crc_32_in_base_62() -> None:
    # Computed apart: CRC-32 of the 47 characters is 3971077528.
    assert is_whole("z4j_" + "0" * 43 + "4KkEfY")


@settings(deadline=None)
@given(st.integers(0, 52), st.characters())
def test_any_other_character_is_noticed(place: int, other: str) -> None:
    wrong = TOKEN[:place] + other + TOKEN[place + 1 :]
    assert is_whole(wrong) == (wrong == TOKEN)


@pytest.mark.parametrize("text", ["", "z4j_", TOKEN[:-1], TOKEN + "x", TOKEN + "\n", " " + TOKEN])
def test_what_was_cut_or_grew_is_not_whole(text: str) -> None:
    assert not is_whole(text)


def test_what_is_kept_is_not_the_token() -> None:
    assert TOKEN not in HASH
    assert read_stored(HASH) == digest(TOKEN)
    with pytest.raises(ValueError, match="a token itself stands here") as caught:
        read_stored(TOKEN)
    assert TOKEN not in str(caught.value)


@settings(deadline=None)
@given(st.text())
def test_other_hashes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write sha256:"):
        read_stored(text)


FULL = f"""
# who may act
tokens:
  - name: deploy
    role: operator
    hash: {HASH}
    tasks: ["shop.*", "mail.send"]
    queues: [high]
    not_before: 2026-01-01T00:00:00Z
    not_after: 2026-02-01T01:00:00+01:00
    created: 2025-12-31T23:59:59Z
    comment: the pipeline
certificates:
  - name: ops
    role: admin
    uri: spiffe://example.org/ops
  - {{name: carol, role: viewer, email: carol@example.org}}
  - {{name: gate, role: alert, dns: alertmanager.example.org}}
"""


def test_a_whole_file() -> None:
    found = parse(FULL, name="t.yml")
    (token,) = found.tokens
    assert actor_of(token) == Actor(
        "deploy", "operator", "token", ("shop.*", "mail.send"), ("high",)
    )
    assert token.comment == "the pipeline"
    assert found.of_token(digest(TOKEN)) is token
    assert found.of_token(digest(make_token())) is None
    start, end = 1767225600.0, 1769904000.0
    assert [standing(token, now) for now in (start - 1, start, end - 1, end)] == [
        "not yet", "active", "active", "expired",
    ]  # fmt: skip
    assert [entry.name for entry in found.entries] == ["deploy", "ops", "carol", "gate"]
    assert HASH[7:] not in repr(found)


@pytest.mark.parametrize("text", ["", "---\n", "tokens:\n", "tokens: []\ncertificates:\n", "# x"])
def test_a_file_that_lets_nobody_in(text: str) -> None:
    assert parse(text, name="t.yml").entries == ()


def _token(**more: Any) -> str:
    entry = {"name": "a", "role": "viewer", "hash": HASH, **more}
    return "tokens:\n- {" + ", ".join(f"{key}: {value}" for key, value in entry.items()) + "}\n"


def _certificate(**more: Any) -> str:
    entry = {"name": "a", "role": "viewer", **more}
    return (
        "certificates:\n- {" + ", ".join(f"{key}: {value}" for key, value in entry.items()) + "}\n"
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1, 2]", "has no keys"),
        ("just words", "has no keys"),
        ("users: {}", "the file has an unknown key"),
        ("tokens: 3", "tokens: write a list"),
        ("tokens: [3]", "tokens 1: "),
        ("tokens: []\ntokens: []", "line 2: a key is there twice"),
        ("tokens: [\n", "line 2: "),
        ("tokens: *x", "needs quotes"),
        ("tokens: !!python/object:os.system {}", "tokens: write a list"),
        ("tokens: !x!y {}", "line 1: "),
        ("? [a]\n: b", "a key must be text"),
        ("[" * 5000, "nested too deeply"),
        (_token(role="root"), "tokens 1, role: "),
        (_token(hash="sha256:00"), "tokens 1, hash: write sha256:"),
        (_token(hash=TOKEN), "tokens 1, hash: a token itself stands here"),
        (_token(name="''"), "tokens 1, name: a name has 1 to 64"),
        (_token(name=f'"a{chr(92)}nb"'), "tokens 1, name: a name has 1 to 64"),
        (_token(name="a" * 65), "tokens 1, name: a name has 1 to 64"),
        (_token(tasks="web.*"), "tokens 1, tasks: write a list"),
        (_token(tasks="[]"), "tokens 1, tasks: write a list"),
        (_token(tasks=""), "tokens 1, tasks: write a list"),
        (_token(queues="[[a]]"), "tokens 1, queues: each glob must be text"),
        (_token(queues="['']"), "tokens 1, queues: a glob must not be empty"),
        (_token(queues="[" + "a" * 257 + "]"), "tokens 1, queues: a glob has at most"),
        (_token(queues="[' a']"), "tokens 1, queues: a glob must not begin"),
        (_token(not_after="2026-01-01"), "tokens 1, not_after: write a time with its zone"),
        (_token(not_after="tomorrow"), "tokens 1, not_after: write a time with its zone"),
        (_token(not_after=""), "tokens 1, not_after: write a time with its zone"),
        (_token(not_after="'0001-01-01T00:00:00+14:00'"), "not_after: write a time"),
        (
            _token(not_after="'2026-01-01T00:00:00Z'", not_before="'2026-01-01T00:00:00Z'"),
            "tokens 1: not_after must be later",
        ),
        (_token(password="x"), "tokens 1 has an unknown key"),
        (_token() + f"- {{name: a, role: viewer, hash: {'sha256:' + '0' * 64}}}", "the same name"),
        (_token() + f"- {{name: b, role: viewer, hash: {HASH}}}", "the same hash"),
        (_token() + _certificate(dns="x"), "the same name"),
        (_certificate(), "exactly one of dns"),
        (_certificate(dns="x", uri="y:z"), "exactly one of dns"),
        (_certificate(dns="'*.example.org'"), "* has no meaning here"),
        (_certificate(dns="''"), "as it stands in the certificate"),
        (
            _certificate(dns="x") + "- {name: b, role: admin, dns: x}",
            "two entries have the same certificate",
        ),
        (_token(hash=HASH) + "- 1\n" * 1000, "tokens"),
    ],
)
def test_a_file_with_a_fault_is_refused_in_one_sentence(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, name="t.yml")
    message = caught.value.message
    assert says in message
    assert message.startswith("t.yml")
    assert "\n" not in message
    assert HASH[7:] not in message
    assert TOKEN not in message


@settings(deadline=None)
@given(st.text(max_size=200))
def test_no_text_does_more_than_being_refused(text: str) -> None:
    try:
        found = parse(text, name="t.yml")
    except ConfigError:
        return
    assert found.entries == ()


@settings(deadline=None)
@given(
    st.recursive(
        st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
        max_leaves=8,
    ),
    st.sampled_from(["name", "role", "hash", "tasks", "queues", "not_after", "comment"]),
)
def test_no_value_of_a_key_does_more_than_being_refused(value: Any, key: str) -> None:
    text = yaml.safe_dump(
        {"tokens": [{"name": "a", "role": "viewer", "hash": HASH, key: value}]},
        allow_unicode=True,
    )
    try:
        (entry,) = parse(text, name="t.yml").tokens
    except ConfigError:
        return
    assert entry.role in ("viewer", "operator", "admin", "alert")
    assert entry.digest == digest(TOKEN)
    if key in ("tasks", "queues"):
        assert value, "an empty scope never means all"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o660, 0o644, 0o610])
def test_a_file_that_others_can_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "t.yml"
    path.write_text(FULL)
    path.chmod(mode)
    with pytest.raises(ConfigError, match="others than its owner") as caught:
        read(path)
    assert caught.value.hint == f"chmod 600 {path}"
    path.chmod(0o600)
    assert len(read(path).entries) == 4
    path.chmod(0o400)
    assert len(read(path).entries) == 4


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    for path, says in (
        (tmp_path / "none", "No such file"),
        (tmp_path, "directory"),
        (pipe, "not a regular file"),
    ):
        with pytest.raises(FileError, match=says):
            read(path)


def test_a_file_that_is_too_large_or_not_text(tmp_path: Path) -> None:
    path = tmp_path / "t.yml"
    path.touch(0o600)
    path.write_bytes(b"# " + b"x" * 1024 * 1024)
    with pytest.raises(ConfigError, match="more than 1048576 bytes"):
        read(path)
    path.write_bytes(b"tokens: [\xff]")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read(path)


def test_yaml_scalars_stay_text() -> None:
    assert strict_yaml.load("a: [no, 007, 1e3, ~, 2026-01-01]", name="x") == {
        "a": ["no", "007", "1e3", "~", "2026-01-01"]
    }


CERTIFICATE = {
    "subject": ((("commonName", "carol@example.org"),),),
    "notAfter": "Feb  1 00:00:00 2026 GMT",
    "subjectAltName": (("DNS", "alertmanager.example.org"), ("IP Address", "10.0.0.1")),
}


def test_a_certificate_is_known_by_kind_and_name_alone() -> None:
    found = parse(FULL, name="t.yml")

    def names(*san: Any) -> list[str]:
        return [e.name for e in found.of_certificate({**CERTIFICATE, "subjectAltName": san})]

    assert [e.name for e in found.of_certificate(CERTIFICATE)] == ["gate"]
    assert names(("email", "carol@example.org")) == ["carol"]
    assert names(("URI", "spiffe://example.org/ops")) == ["ops"]
    # The same words as another kind of name, a part, more, another case.
    assert names(("DNS", "carol@example.org"), ("DNS", "spiffe://example.org/ops")) == []
    assert names(("DNS", "*.example.org"), ("DNS", "ALERTMANAGER.example.org")) == []
    assert names(("DNS", "alertmanager.example.org.evil.example")) == []
    assert names(("DNS", "alertmanager.example.org\0.evil.example")) == []
    assert names(("DirName", ((("commonName", "ops"),),)), ("othername", "<unsupported>")) == []
    assert names(("email", "carol@example.org"), ("URI", "spiffe://example.org/ops")) == [
        "ops",
        "carol",
    ]
    assert found.of_certificate({}) == ()


@pytest.mark.parametrize(
    ("end", "ended"),
    [
        ("Feb  1 00:00:00 2026 GMT", False),
        ("Jan 31 23:59:59 2026 GMT", True),
        ("soon", True),
        (None, True),
        (7, True),
    ],
)
def test_a_certificate_past_its_end(end: Any, ended: bool) -> None:
    assert certificate_ended({"notAfter": end}, 1769904000.0) is ended
    assert certificate_ended({}, 0.0)


def test_a_certificate_as_a_real_handshake_gives_it() -> None:
    made = certificates()
    server, client = (
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH),
        ssl.create_default_context(),
    )
    server.load_cert_chain(made.server_certificate, made.server_key)
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(made.ca)
    client.load_verify_locations(made.ca)
    client.load_cert_chain(made.client_certificate, made.client_key)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="localhost"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for end in ends * 4:
        with contextlib.suppress(ssl.SSLWantReadError):
            end.do_handshake()
    shown = ends[1].getpeercert()
    assert shown
    text = "certificates:\n- {name: c, role: viewer, email: client@example.org}\n"
    assert [e.name for e in parse(text, name="t.yml").of_certificate(shown)] == ["c"]
    assert not certificate_ended(shown, time.time())
    assert certificate_ended(shown, 1e12)


def test_errors_of_files_are_the_projects_own(tmp_path: Path) -> None:
    with pytest.raises(ExporterError) as caught:
        read(tmp_path / "none")
    assert caught.value.hint
