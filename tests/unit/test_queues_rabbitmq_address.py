"""Where the management API is, by the broker URL and by the option."""

import ssl
from pathlib import Path

import pytest

from tests.support.certs import certificates
from z4j_exporter.errors import ConfigError, FileError
from z4j_exporter.queues.management_address import derived_addresses, given_addresses
from z4j_exporter.sources.amqp_url import parse_endpoint

BROKER = parse_endpoint("amqp://me:p%40ss@broker:5672/my%2Fvhost")


def test_derived() -> None:
    (found,) = derived_addresses([BROKER])
    assert found.location == "http://broker:15672"
    assert (found.user, found.password, found.vhost) == ("me", "p@ss", "my/vhost")
    assert found.queues_path == "/api/queues/my%2Fvhost"
    assert "p@ss" not in repr(found)
    assert found.tls is None


def test_derived_from_a_failover_list_and_the_default_vhost() -> None:
    endpoints = [parse_endpoint(url) for url in ("amqp://a", "amqp://[::1]/", "amqp://b//")]
    found = derived_addresses(endpoints)
    assert [f.location for f in found] == [
        "http://a:15672",
        "http://[::1]:15672",
        "http://b:15672",
    ]
    assert [f.host for f in found] == ["a", "::1", "b"]
    assert {f.queues_path for f in found} == {"/api/queues/%2F"}


def test_nothing_is_derived_from_a_port_of_its_own() -> None:
    """Two brokers on one machine: the first one's management API lists other queues."""
    urls = ("amqp://a:5673", "amqps://b:5672", "amqp://c:5671", "amqp://d")
    found = derived_addresses([parse_endpoint(url) for url in urls])
    assert [f.host for f in found] == ["d"]


def test_derived_with_tls() -> None:
    ca = certificates().ca
    (found,) = derived_addresses([parse_endpoint(f"amqps://h?ssl_ca_certs={ca}")])
    assert found.location == "https://h:15671"
    assert found.tls is not None
    assert found.tls.verify_mode == ssl.CERT_REQUIRED
    assert found.tls.check_hostname
    assert len(found.tls.get_ca_certs()) == 1


@pytest.mark.parametrize(
    ("query", "insecure", "mode", "checks_host"),
    [
        ("", False, ssl.CERT_REQUIRED, True),
        ("", True, ssl.CERT_NONE, False),
        ("?ssl_cert_reqs=none", False, ssl.CERT_NONE, False),
        ("?ssl_check_hostname=false", False, ssl.CERT_REQUIRED, False),
    ],
)
def test_what_is_checked_is_what_the_broker_url_wants(
    query: str, insecure: bool, mode: ssl.VerifyMode, checks_host: bool
) -> None:
    (found,) = derived_addresses([parse_endpoint(f"amqps://h{query}")], None, insecure)
    assert found.tls is not None
    assert (found.tls.verify_mode, found.tls.check_hostname) == (mode, checks_host)


def test_the_name_on_the_certificate() -> None:
    (found,) = derived_addresses([parse_endpoint("amqps://10.0.0.1?server_name_indication=broker")])
    assert found.server_hostname == "broker"


@pytest.mark.parametrize(
    ("url", "location", "user", "password"),
    [
        ("http://h", "http://h:15672", "me", "p@ss"),
        ("https://h", "https://h:15671", "me", "p@ss"),
        ("http://h:80/", "http://h:80", "me", "p@ss"),
        ("http://h:80/api/", "http://h:80", "me", "p@ss"),
        ("http://h:80/rabbit/x/api", "http://h:80/rabbit/x", "me", "p@ss"),
        ("http://a%2Fb:c%3Ad@[::1]:1", "http://[::1]:1", "a/b", "c:d"),
        ("http://other@h", "http://h:15672", "other", ""),
        ("http://köln.example", "http://xn--kln-sna.example:15672", "me", "p@ss"),
    ],
)
def test_given(url: str, location: str, user: str, password: str) -> None:
    (found,) = given_addresses(url, BROKER)
    assert (found.location, found.user, found.password) == (location, user, password)
    assert found.vhost == "my/vhost"


def test_given_several() -> None:
    found = given_addresses("http://a; http://b;", BROKER)
    assert [f.host for f in found] == ["a", "b"]


@pytest.mark.parametrize(
    "url",
    [
        "h:15672",
        "ftp://me:sesame@h",
        "http://",
        "http://me:sesame@h:0",
        "http://me:sesame@h:99999",
        "http://me:sesame@[::1",
        "http://me:se#same@h",
        "http://me:sesame@h/?x=1",
        "http://me:ses ame@h",
        "http://me:sesame@" + "ö" * 80,
        " ; ",
        ";",
    ],
)
def test_given_wrong(url: str) -> None:
    with pytest.raises(ConfigError, match="--rabbitmq-management-url") as e:
        given_addresses(url, BROKER)
    assert "same" not in e.value.message
    assert e.value.__cause__ is None


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    with pytest.raises(FileError, match="holds no certificate"):
        given_addresses("https://h", BROKER, empty)
    with pytest.raises(FileError, match="cannot be read"):
        given_addresses("https://h", BROKER, tmp_path / "missing.pem")
    endpoint = parse_endpoint(f"amqps://h?ssl_certfile={empty}")
    with pytest.raises(FileError, match="certfile"):
        derived_addresses([endpoint])
