"""Redis URLs and TLS options as kombu understands them, and where they lead without secrets."""

import ssl
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection

from z4j_exporter.errors import BrokerUrlError, ConfigError, ExporterError, FileError
from z4j_exporter.sources.redis import RedisSource
from z4j_exporter.sources.redis_url import fanout_prefix, place_of, target_of


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", {"host": "127.0.0.1", "port": 6379, "db": 0, "tls": False}),
        ("redis://h", {"host": "h", "port": 6379, "db": 0, "tls": False}),
        ("redis://h/", {"host": "h", "port": 6379, "db": 0, "tls": False}),
        ("redis://h:1/15", {"host": "h", "port": 1, "db": 15, "tls": False}),
        ("redis://[::1]:1/2", {"host": "::1", "port": 1, "db": 2, "tls": False}),
        ("sentinel://h/3", {"host": "h", "port": 26379, "db": 3, "tls": False}),
        ("redis+socket:///a/b.sock", {"path": "/a/b.sock", "db": 0, "tls": False}),
        ("redis+socket:///a%20b?virtual_host=7", {"path": "/a b", "db": 7, "tls": False}),
        (
            "redis+socket://u:p%40@/s",
            {"username": "u", "password": "p@", "path": "/s", "db": 0, "tls": False},
        ),
    ],
)
def test_urls(url: str, expected: dict[str, Any]) -> None:
    assert target_of(url, None) == expected


@pytest.mark.parametrize(
    ("userinfo", "user", "password"),
    [
        ("", None, None),
        (":pw@", None, "pw"),
        ("me:pw@", "me", "pw"),
        ("me@", "me", None),
        ("me:p%2Fw%40%3A%23@", "me", "p/w@:#"),
        ("m%C3%A9:%25@", "mé", "%"),
        (":a:b@", None, "a:b"),
    ],
)
def test_credentials_are_those_that_kombu_finds(
    userinfo: str, user: str | None, password: str | None
) -> None:
    url = f"redis://{userinfo}h:1/2"
    target = target_of(url, None)
    assert (target.get("username"), target.get("password")) == (user, password)
    kombus = Connection(url)
    assert (kombus.userid, kombus.password, kombus.hostname) == (user, password, target["host"])


@pytest.mark.parametrize(
    "url",
    [
        "redis://h:port/0",
        "redis://h:99999/0",
        "redis://[::1/0",
        "redis://:s3cret/x@h/0",
        "redis://h/name",
        "redis://h/-1",
        "redis://h/²",
        "redis://h/0/1",
        "redis://h/" + "9" * 5000,
        "redis://:s3cret@h/0?credential_provider=a.b",
    ],
)
def test_what_cannot_be_read_is_refused_without_secrets(url: str) -> None:
    with pytest.raises(BrokerUrlError) as refused:
        target_of(url, None)
    assert "s3cret" not in refused.value.message + refused.value.hint
    assert refused.value.hint
    assert len(refused.value.message) < 200


def test_a_place_has_no_secrets() -> None:
    assert place_of(target_of("redis://me:s3cret@h:1/2", None)) == "redis://h:1/2"
    assert place_of(target_of("rediss://:s3cret@[::1]/2", None)) == "rediss://[::1]:6379/2"
    assert place_of(target_of("redis+socket://:s3cret@/a/b", None)) == "redis+socket:///a/b"
    source = RedisSource(["redis://:s3cret@a/1", "redis://:s3cret@b/2"])
    assert source.location == "redis://a:6379/1;redis://b:6379/2"
    assert "s3cret" not in repr(source)
    source = RedisSource(
        ["sentinel://:s3cret@a", "sentinel://b:1"],
        transport_options={"master_name": "m", "sentinel_kwargs": {"password": "s3cret"}},
    )
    assert source.location == "sentinel://a:26379/0;sentinel://b:1/0 (master m)"
    assert "s3cret" not in repr(source)


# -- TLS -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "reqs", "hostname"),
    [
        ({}, "required", True),
        ({"ssl_cert_reqs": "required"}, "required", True),
        ({"ssl_cert_reqs": "CERT_REQUIRED"}, "required", True),
        ({"ssl_cert_reqs": ssl.CERT_REQUIRED}, "required", True),
        ({"ssl_cert_reqs": 2}, "required", True),
        ({"ssl_cert_reqs": "optional"}, "optional", True),
        ({"ssl_cert_reqs": ssl.CERT_OPTIONAL}, "optional", True),
        ({"ssl_cert_reqs": "none"}, "none", False),
        ({"ssl_cert_reqs": "CERT_NONE"}, "none", False),
        ({"ssl_cert_reqs": ssl.CERT_NONE}, "none", False),
        ({"ssl_cert_reqs": 0}, "none", False),
        ({"ssl_cert_reqs": None}, "none", False),
        ({"ssl_cert_reqs": "none", "ssl_check_hostname": True}, "none", False),
        ({"ssl_check_hostname": False}, "required", False),
        ({"ssl_check_hostname": "false"}, "required", False),
        ({"ssl_check_hostname": "0"}, "required", False),
        ({"ssl_check_hostname": "true"}, "required", True),
        ({"cert_reqs": "none"}, "none", False),
    ],
    ids=str,
)
def test_how_much_is_asked_of_a_certificate(
    given: dict[str, Any], reqs: str, hostname: bool
) -> None:
    target = target_of("rediss://h", given or True)
    assert target["tls"]
    assert (target["ssl_cert_reqs"], target["ssl_check_hostname"]) == (reqs, hostname)


def test_options_in_the_url_win_and_switch_tls_on() -> None:
    target = target_of("redis://h?ssl_cert_reqs=none", {"ssl_cert_reqs": "required"})
    assert (target["tls"], target["ssl_cert_reqs"]) == (True, "none")
    assert target_of("redis://h?ssl_cert_reqs=none", None)["tls"]
    assert not target_of("redis://h?other=1", False)["tls"]
    assert Connection("redis://h?ssl_cert_reqs=none").ssl, "as kombu does"


@pytest.mark.parametrize(
    "given",
    [
        {"ssl_cert_reqs": "maybe"},
        {"ssl_cert_reqs": 7},
        {"ssl_cert_reqs": []},
        {"ssl_version": 5},
        {"keyfille": "x"},
    ],
    ids=str,
)
def test_unknown_options(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as refused:
        target_of("rediss://h", given)
    assert refused.value.hint


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    there = tmp_path / "there.pem"
    there.write_text("")
    assert target_of("rediss://h", {"ssl_ca_certs": there})["ssl_ca_certs"] == there
    for path in (tmp_path / "gone.pem", tmp_path):
        with pytest.raises(FileError, match="ssl_ca_certs"):
            target_of(f"rediss://h?ssl_ca_certs={path}", None)


# -- prefixes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "/3."),
        ({"fanout_prefix": True}, "/3."),
        ({"fanout_prefix": "true"}, "/3."),
        ({"fanout_prefix": False}, ""),
        ({"fanout_prefix": "False"}, ""),
        ({"fanout_prefix": ""}, ""),
        ({"fanout_prefix": None}, ""),
        ({"fanout_prefix": "x"}, "x"),
        ({"fanout_prefix": "x{db}{db}"}, "x33"),
        ({"fanout_prefix": "{{x}}"}, "{x}"),
    ],
    ids=str,
)
def test_fanout_prefixes(options: dict[str, Any], expected: str) -> None:
    assert fanout_prefix(options, 3) == expected


def test_the_prefix_of_old_kombu_with_sentinel() -> None:
    assert fanout_prefix({}, None) == "/{db}."


@pytest.mark.parametrize("prefix", ["{", "{}", "{0}", "{host}", "{db.a}", "{db!x}", "{db:,,}"])
def test_prefixes_that_kombu_cannot_use_either(prefix: str) -> None:
    with pytest.raises(ExporterError):
        fanout_prefix({"fanout_prefix": prefix}, 3)
