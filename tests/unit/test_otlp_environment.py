"""Where OTLP goes: our settings, the OTEL_* variables, the specification's defaults."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from z4j_exporter.config.otlp import OtlpSettings
from z4j_exporter.errors import ConfigError, ExporterError
from z4j_exporter.otlp.channel import open_channel
from z4j_exporter.otlp.environment import Signal, Target, resolve
from z4j_exporter.otlp.resource import environment_attributes

GENERAL = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"


def target(signal: Signal = "traces", /, *, env: dict[str, str], **settings: Any) -> Target:
    found = resolve(OtlpSettings(**settings), signal, env)
    assert found is not None
    return found


def url(found: Target) -> str:
    address = found.address
    scheme = "https" if address.tls else "http"
    return f"{scheme}://{address.host}:{address.port}{address.path}"


# ------------------------------------------------------------------------------- endpoints


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # The examples of the specification (protocol/exporter.md).
        ("http://localhost:4318", "http://localhost:4318/v1/traces"),
        ("http://localhost:4318/", "http://localhost:4318/v1/traces"),
        ("http://collector:4318/mycollector/", "http://collector:4318/mycollector/v1/traces"),
        ("http://collector:4318/mycollector", "http://collector:4318/mycollector/v1/traces"),
        ("https://example.org", "https://example.org:443/v1/traces"),
        ("HTTP://example.org", "http://example.org:80/v1/traces"),
        ("http://[::1]:4318", "http://::1:4318/v1/traces"),
        ("http://h:1/a%20b/?key=1", "http://h:1/a%20b/v1/traces?key=1"),
        ("http://bücher.example:1", "http://xn--bcher-kva.example:1/v1/traces"),
    ],
)
def test_the_signals_path_is_appended_to_a_general_endpoint(given: str, expected: str) -> None:
    assert url(target(env={GENERAL: given})) == expected
    assert url(target(env={}, otlp_endpoint=given)) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://collector:4318/v1/traces", "http://collector:4318/v1/traces"),
        ("http://collector:4318", "http://collector:4318/"),
        ("http://collector:4318/other/", "http://collector:4318/other/"),
    ],
)
def test_a_signals_own_endpoint_is_used_as_it_is(given: str, expected: str) -> None:
    assert url(target(env={TRACES: given, GENERAL: "http://other:1"})) == expected


def test_precedence() -> None:
    env = {GENERAL: "http://general:1", TRACES: "http://traces:1/t"}
    assert url(target(env=env)) == "http://traces:1/t"
    assert url(target("metrics", env=env)) == "http://general:1/v1/metrics"
    assert url(target(env=env, otlp_endpoint="http://ours:1")) == "http://ours:1/v1/traces"
    assert url(target(env={TRACES: " ", GENERAL: "http://g:1"})) == "http://g:1/v1/traces"


@pytest.mark.parametrize(
    ("given", "insecure", "host", "tls"),
    [
        ("http://collector:4317", "false", "collector:4317", False),
        ("https://collector:4317/", "true", "collector:4317", True),
        ("https://collector", "", "collector:443", True),
        ("collector:4317", "", "collector:4317", True),
        ("collector:4317", "TRUE", "collector:4317", False),
        ("http://[::1]:4317", "", "[::1]:4317", False),
        ("unix:///run/otlp.sock", "true", "unix:///run/otlp.sock", False),
        ("dns:///collector:4317", "", "dns:///collector:4317", True),
    ],
)
def test_grpc_endpoints(given: str, insecure: str, host: str, tls: bool) -> None:
    env = {GENERAL: given, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    if insecure:
        env["OTEL_EXPORTER_OTLP_INSECURE"] = insecure
    address = target(env=env).address
    assert (address.host, address.tls) == (host, tls)


def test_no_endpoint_no_channel() -> None:
    assert open_channel(OtlpSettings(), "traces", {}) is None
    assert open_channel(OtlpSettings(), "traces", {GENERAL: ""}) is None
    metrics_only = {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://h:1"}
    assert open_channel(OtlpSettings(), "traces", metrics_only) is None
    assert open_channel(OtlpSettings(), "metrics", metrics_only) is not None


def test_without_an_endpoint_nothing_heavy_is_loaded() -> None:
    code = """if True:
        import sys
        import z4j_exporter.cli
        from z4j_exporter.config.otlp import OtlpSettings
        from z4j_exporter.tracing.export_open import open_span_exporter
        assert open_span_exporter(OtlpSettings(), {}) is None
        print(sys.modules.keys() & {"grpc", "google.protobuf", "opentelemetry.sdk.resources"})
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_turned_off() -> None:
    on = OtlpSettings(otlp_endpoint="http://h:1")
    assert resolve(on, "traces", {"OTEL_SDK_DISABLED": "True"}) is None
    assert resolve(on, "traces", {"OTEL_TRACES_EXPORTER": "none"}) is None
    assert resolve(on, "metrics", {"OTEL_METRICS_EXPORTER": "none"}) is None
    assert resolve(on, "metrics", {"OTEL_TRACES_EXPORTER": "none"}) is not None
    assert resolve(on, "traces", {"OTEL_SDK_DISABLED": "false"}) is not None


def test_where_it_goes_is_shown_without_secrets() -> None:
    found = target(env={GENERAL: "https://me:pass%40word@h:1/p?token=secret"})
    assert found.address.location == "https://h:1/p/v1/traces"
    assert found.headers["authorization"] == "Basic bWU6cGFzc0B3b3Jk"
    for secret in "pass", "secret", "bWU6":
        assert secret not in repr(found)


def test_a_header_of_the_users_beats_the_urls_password() -> None:
    found = target(
        env={
            GENERAL: "http://me:pass@h:1",
            "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20x",
        }
    )
    assert found.headers == {"authorization": "Bearer x"}


# ------------------------------------------------------------------------------ everything else


def test_defaults() -> None:
    found = target(env={GENERAL: "http://h:1"})
    assert (found.protocol, found.gzip, found.timeout) == ("http/protobuf", False, 10.0)
    assert (found.headers, found.ca_file) == ({}, None)


def test_every_variable_and_the_signals_own_before_the_general() -> None:
    general = {
        GENERAL: "https://h:1",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_HEADERS": "a=1,b=x%2Cy%3D,,c=",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": "/ca",
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": "/cert",
        "OTEL_EXPORTER_OTLP_CLIENT_KEY": "/key",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "2500",
    }
    found = target("metrics", env=general)
    assert found.protocol == "grpc"
    assert found.headers == {"a": "1", "b": "x,y=", "c": ""}
    assert (found.ca_file, found.client_certificate_file) == (Path("/ca"), Path("/cert"))
    assert (found.client_key_file, found.gzip, found.timeout) == (Path("/key"), True, 2.5)
    own = {
        "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_METRICS_HEADERS": "d=4",
        "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE": "/ca2",
        "OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE": "/cert2",
        "OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY": "/key2",
        "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION": "none",
        "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": "3",
    }
    found = target("metrics", env={**general, **own})
    assert (found.protocol, found.headers) == ("http/protobuf", {"d": "4"})
    assert (found.ca_file, found.client_certificate_file) == (Path("/ca2"), Path("/cert2"))
    assert (found.client_key_file, found.gzip, found.timeout) == (Path("/key2"), False, 3.0)
    assert target("traces", env={**general, **own}).headers["a"] == "1"
    found = target(
        "metrics",
        env={**general, **own},
        otlp_protocol="grpc",
        otlp_headers={"E": 5},
        otlp_ca_file="/ca3",
        otlp_client_certificate_file="/cert3",
        otlp_client_key_file="/key3",
        otlp_compression="gzip",
        otlp_timeout=4,
    )
    assert (found.protocol, found.headers) == ("grpc", {"e": "5"})
    assert (found.ca_file, found.client_certificate_file) == (Path("/ca3"), Path("/cert3"))
    assert (found.client_key_file, found.gzip, found.timeout) == (Path("/key3"), True, 4.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10000", 10.0), ("10", 10.0), ("1.5", 1.5), ("500", 0.5), ("100", 100.0), ("30000", 30.0)],
)
def test_a_timeout_is_understood_in_milliseconds_and_as_pythons_sdk_has_it(
    text: str, seconds: float
) -> None:
    env = {GENERAL: "http://h:1", "OTEL_EXPORTER_OTLP_TIMEOUT": text}
    assert target(env=env).timeout == seconds


# ------------------------------------------------------------------------------------- wrong values


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json-s3cret"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "s3cret"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd-s3cret"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "s3cret"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "nan"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "inf"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "s3cret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1,s3cret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", 'a="s3cret"'),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=s3cret;b=2"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=s3cret%0Ab"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=s3cret%00"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=s3cret-é"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a%20b=s3cret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a-bin=s3cret"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "Content-Type=s3cret"),
        (GENERAL, "s3cret"),
        (GENERAL, "s3cret:4318"),
        (GENERAL, "ftp://s3cret"),
        (GENERAL, "http://"),
        (GENERAL, "http://s3cret@:1"),
        (GENERAL, "http://h:s3cret"),
        (GENERAL, "http://h:99999/s3cret"),
        (GENERAL, "http://h:0/s3cret"),
        (GENERAL, "http://h/s3c ret"),
        (GENERAL, "http://h/s3c\x00ret"),
        (GENERAL, "http://[s3cret"),
        (GENERAL, "http://é\u0301" + "x" * 70 + "/s3cret"),
        (TRACES, "s3cret"),
    ],
)
def test_a_wrong_value_is_one_sentence_that_names_the_variable(
    name: str, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ConfigError) as raised:
        resolve(OtlpSettings(), "traces", {GENERAL: "http://h:1", name: value})
    assert name in raised.value.message
    said = f"{raised.value.message} {raised.value.hint} {raised.value.__cause__} {caplog.text}"
    assert "s3c" not in said
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


@pytest.mark.parametrize("value", ["grpcs://s3cret:1", "http://:1", "h:s3cret", "http://h:99999"])
def test_a_wrong_grpc_endpoint(value: str) -> None:
    with pytest.raises(ConfigError, match="--otlp-endpoint") as raised:
        resolve(OtlpSettings(otlp_endpoint=value, otlp_protocol="grpc"), "traces", {})
    assert "s3cret" not in raised.value.message + raised.value.hint


def test_our_own_header_is_named_by_its_option() -> None:
    settings = OtlpSettings(otlp_endpoint="http://h:1", otlp_headers={"a b": "s3cret"})
    with pytest.raises(ConfigError, match="--otlp-header") as raised:
        resolve(settings, "traces", {})
    assert "s3cret" not in raised.value.message


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"otlp_ca_file": "/nowhere"}, "otlp-ca-file"),
        ({"otlp_client_certificate_file": "/nowhere"}, "otlp-client-certificate-file"),
        ({"otlp_client_key_file": "/nowhere"}, "otlp-client-key-file"),
        ({"otlp_ca_file": __file__}, "holds no certificate"),
        ({"otlp_client_certificate_file": __file__}, "cannot be used"),
    ],
)
def test_wrong_files(protocol: str, settings: dict[str, str], words: str) -> None:
    made = OtlpSettings.model_validate(
        {"otlp_endpoint": "https://h:1", "otlp_protocol": protocol, **settings}
    )
    with pytest.raises(ExporterError, match=words):
        open_channel(made, "traces", {})


# ------------------------------------------------------------------------------------- the resource


def test_resource_attributes_of_the_environment(caplog: pytest.LogCaptureFixture) -> None:
    def read(text: str) -> dict[str, str]:
        return environment_attributes({"OTEL_RESOURCE_ATTRIBUTES": text})

    assert environment_attributes({}) == {}
    assert read(" a = 1 ,b=x%2Cy%3D,,c=") == {"a": "1", "b": "x,y=", "c": ""}
    caplog.set_level(logging.WARNING)
    assert read("a=1,s3cret") == {}
    assert read("a=1,=s3cret") == {}
    assert "OTEL_RESOURCE_ATTRIBUTES" in caplog.text
    assert "s3cret" not in caplog.text
