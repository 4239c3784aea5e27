"""AMQP broker URLs, TLS options and the settings of AmqpSource."""

import ssl
from pathlib import Path
from typing import Any

import pytest

from z4j_exporter.errors import BrokerUrlError, ConfigError, ExporterError, FileError
from z4j_exporter.sources.amqp import AmqpSource
from z4j_exporter.sources.amqp_url import parse_endpoint

SECRET = "s3cret/&?"
ENCODED = "s3cret%2F%26%3F"


@pytest.mark.parametrize(
    ("url", "host", "port", "vhost", "user", "password"),
    [
        ("amqp://", "localhost", 5672, "/", "guest", "guest"),
        ("amqp://h", "h", 5672, "/", "guest", "guest"),
        ("amqp://h/", "h", 5672, "/", "guest", "guest"),
        ("amqp://h//", "h", 5672, "/", "guest", "guest"),
        ("amqp://h/%2F", "h", 5672, "/", "guest", "guest"),
        ("amqp://h/%2Fa", "h", 5672, "/a", "guest", "guest"),
        ("amqp://h/shop/eu", "h", 5672, "shop/eu", "guest", "guest"),
        ("pyamqp://h:1234/shop", "h", 1234, "shop", "guest", "guest"),
        ("librabbitmq://h/shop", "h", 5672, "shop", "guest", "guest"),
        ("amqps://h/shop", "h", 5671, "shop", "guest", "guest"),
        (f"amqp://me%40x:{ENCODED}@h/v%20w", "h", 5672, "v w", "me@x", SECRET),
        ("amqp://[::1]:5673/v", "::1", 5673, "v", "guest", "guest"),
    ],
)
def test_parts(url: str, host: str, port: int, vhost: str, user: str, password: str) -> None:
    endpoint = parse_endpoint(url)
    found = (endpoint.host, endpoint.port, endpoint.vhost, endpoint.user, endpoint.password)
    assert found == (host, port, vhost, user, password)


def test_location_and_repr_have_no_password() -> None:
    endpoint = parse_endpoint(f"amqps://me:{ENCODED}@[::1]/a/b?login_method=plain")
    assert endpoint.location == "amqps://[::1]:5671/a%2Fb"
    source = AmqpSource([f"amqp://me:{ENCODED}@one/", f"amqp://me:{ENCODED}@two/"])
    assert source.location == "amqp://one:5672/%2F, amqp://two:5672/%2F"
    for text in (repr(endpoint), repr(source), str(source)):
        assert SECRET not in text
        assert ENCODED not in text


@pytest.mark.parametrize(
    "url",
    [
        "",
        "amqp",
        "localhost",
        "amqp:/h",
        "redis://h",
        f"amqp://me:{ENCODED}@h:port/",
        f"amqp://me:{ENCODED}@h:99999/",
        f"amqp://me:{ENCODED}@h:0/",
        f"amqp://me:{ENCODED}@[::1/",
        f"amqp://me:{SECRET}#x@h/",
        f"amqp://me:{ENCODED}@h/v w",
        f"amqp://me:{ENCODED}@h/v\n",
        f"amqp://me:{ENCODED}@h/?frame_size=1",
        f"amqp://me:{ENCODED}@h/?heartbeat=never",
        f"amqp://me:{ENCODED}@h/?heartbeat=-1",
        f"amqp://me:{ENCODED}@h/?connect_timeout=nan",
        f"amqp://me:{ENCODED}@h/?login_method=KERBEROS",
        f"amqp://me:{ENCODED}@h/?ssl_ca_certs=/ca.pem",
    ],
)
def test_a_bad_url_is_refused_without_showing_the_password(url: str) -> None:
    with pytest.raises(BrokerUrlError) as refused:
        AmqpSource([url])
    shown = f"{refused.value.message} {refused.value.hint} {refused.value.__cause__}"
    assert "s3cret" not in shown


def test_no_url_is_refused() -> None:
    with pytest.raises(BrokerUrlError, match="no broker URL"):
        AmqpSource([])
    with pytest.raises(BrokerUrlError, match="no broker URL"):
        AmqpSource(";")


def test_options_in_the_url() -> None:
    endpoint = parse_endpoint("amqp://h/?heartbeat=30&connection_timeout=2.5&login_method=external")
    assert endpoint.heartbeat_seconds == 30
    assert endpoint.connect_timeout_seconds == 2.5
    assert endpoint.login_method == "EXTERNAL"
    assert parse_endpoint("amqp://h", None, "AMQPLAIN").login_method == "AMQPLAIN"
    assert parse_endpoint("amqp://h/?login_method=PLAIN", None, "EXTERNAL").login_method == "PLAIN"


def test_failover_lists_are_lists_or_have_semicolons() -> None:
    source = AmqpSource(["amqp://a;amqp://b", "amqps://c"])
    assert source.location == "amqp://a:5672/%2F, amqp://b:5672/%2F, amqps://c:5671/%2F"


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    path.write_text("not looked into before connecting")
    return path


def test_tls_checks_certificate_and_host_name_by_default() -> None:
    expected = {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": "h"}
    assert parse_endpoint("amqps://h").tls == expected
    assert parse_endpoint("amqp://h", True).tls == expected
    assert parse_endpoint("amqp://h", {}).tls == expected
    assert parse_endpoint("amqp://h").tls is None
    assert parse_endpoint("amqp://h", False).tls is None
    assert parse_endpoint("amqp://h", True).port == 5671


def test_tls_options_as_celery_and_as_rabbitmq_write_them(pem: Path) -> None:
    expected = {
        "ca_certs": str(pem),
        "certfile": str(pem),
        "keyfile": str(pem),
        "cert_reqs": ssl.CERT_REQUIRED,
        "server_hostname": "h",
    }
    celery: dict[str, Any] = {
        "ca_certs": pem,
        "certfile": str(pem),
        "keyfile": str(pem),
        "cert_reqs": ssl.CERT_OPTIONAL,
    }
    assert parse_endpoint("amqp://h", celery).tls == expected
    assert parse_endpoint("amqp://h", {f"ssl_{k}": v for k, v in celery.items()}).tls == expected
    kombu = f"ssl_ca_certs={pem}&ssl_certfile={pem}&ssl_keyfile={pem}&ssl_cert_reqs=required"
    assert parse_endpoint(f"amqps://h/?{kombu}").tls == expected
    rabbit = f"cacertfile={pem}&certfile={pem}&keyfile={pem}&verify=verify_peer"
    assert parse_endpoint(f"amqps://h/?{rabbit}").tls == expected


@pytest.mark.parametrize("value", ["none", "CERT_NONE", "verify_none", "false"])
def test_verification_is_off_only_when_asked(value: str) -> None:
    expected = {"cert_reqs": ssl.CERT_NONE}
    assert parse_endpoint(f"amqps://h/?ssl_cert_reqs={value}").tls == expected
    assert parse_endpoint("amqps://h", {"cert_reqs": ssl.CERT_NONE}).tls == expected


def test_the_host_name_alone_may_be_left_unchecked() -> None:
    expected = {"cert_reqs": ssl.CERT_REQUIRED}
    assert parse_endpoint("amqps://h/?ssl_check_hostname=false").tls == expected
    assert parse_endpoint("amqps://h", {"check_hostname": False}).tls == expected


def test_the_url_comes_before_the_dictionary(pem: Path) -> None:
    tls = parse_endpoint("amqps://h/?ssl_cert_reqs=none", {"cert_reqs": "required"}).tls
    assert tls == {"cert_reqs": ssl.CERT_NONE}


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"ca_file": "/x"}, ConfigError),
        ({"cert_reqs": "maybe"}, ConfigError),
        ({"ca_certs": "/nowhere/ca.pem"}, FileError),
    ],
)
def test_bad_tls_options_are_refused_at_once(
    options: dict[str, Any], error: type[ExporterError]
) -> None:
    with pytest.raises(error):
        AmqpSource("amqps://h", ssl=options)


@pytest.mark.parametrize(
    "settings",
    [
        {"exclusive": True, "durable": True},
        {"event_exchange": ""},
        {"event_queue_prefix": "x" * 300},
        {"queue_ttl_seconds": -1},
        {"queue_expires_seconds": 0},
        {"queue_ttl_seconds": 1e10},
    ],
)
def test_bad_queue_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        AmqpSource("amqp://h", **settings)
