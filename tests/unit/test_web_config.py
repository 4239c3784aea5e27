"""The web configuration file: what is taken, and the one sentence for what is not."""

import pytest

from z4j_exporter.errors import ConfigError
from z4j_exporter.web.config import parse_web_config
from z4j_exporter.web.schema import WebConfigFile

HASH = "$2y$10$mDwo.lAisC94iLAyP81MCesa29IzH37oigHC/42V2pdJlUprsJPze"
TLS = "tls_server_config:\n  cert_file: a\n  key_file: b\n"


def parse(text: str) -> WebConfigFile:
    return parse_web_config(text, name="web.yml")


def test_the_toolkit_s_example() -> None:
    """docs/web-config.yml of exporter-toolkit."""
    config = parse(
        f"""
tls_server_config:
  cert_file: server.crt
  key_file: server.key
basic_auth_users:
  alice: {HASH}
  007: {HASH}
  no: {HASH}
rate_limit:
  interval: "1s"
  burst: 20
"""
    )
    assert config.tls_server_config.enabled
    assert sorted(config.basic_auth_users) == ["007", "alice", "no"]
    assert (config.rate_limit.interval, config.rate_limit.burst) == (1.0, 20)


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "tls_server_config:\n", "basic_auth_users: {}\n", "rate_limit:\n"]
)
def test_an_empty_file_asks_for_nothing(text: str) -> None:
    config = parse(text)
    assert not config.tls_server_config.enabled
    assert not config.basic_auth_users
    assert config.rate_limit.interval == 0


def test_every_key_of_the_schema() -> None:
    config = parse(
        TLS
        + """
  client_ca_file: ca
  client_auth_type: RequireAndVerifyClientCert
  client_allowed_sans: [prometheus.example.org]
  min_version: TLS13
  max_version: TLS13
  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: false
  curve_preferences: [CurveP256]
http_server_config:
  http2: false
  headers:
    Strict-Transport-Security: max-age=31536000
    X-Frame-Options: deny
    X-Content-Type-Options: nosniff
    X-XSS-Protection: ""
    Content-Security-Policy: default-src 'none'
"""
    )
    assert config.tls_server_config.prefer_server_cipher_suites is False
    assert "X-XSS-Protection" not in config.http_server_config.headers
    assert len(config.http_server_config.headers) == 4


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("1s", 1), ("500ms", 0.5), ("1m30s", 90), ("1.5h", 5400), ("100us", 0.0001)],
)
def test_go_durations(text: str, seconds: float) -> None:
    config = parse(f"rate_limit:\n  burst: 1\n  interval: {text}\n")
    assert config.rate_limit.interval == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tls_server_confg: {}", "unknown key 'tls_server_confg'"),
        (TLS + "  cert_fil: x", "unknown key 'tls_server_config.cert_fil'"),
        ("auth_excluded_paths: [/metrics]", "unknown key 'auth_excluded_paths'"),
        ("tls_server_config:\n  cert_file: a", "key_file (or key) is missing"),
        ("tls_server_config:\n  key_file: a", "cert_file (or cert) is missing"),
        ("tls_server_config:\n  min_version: TLS13", "cert_file and key_file are missing"),
        (TLS + "  cert: x", "cert and cert_file are both set"),
        (TLS + "  client_auth_type: Sometimes", "client_auth_type"),
        (TLS + "  client_auth_type: RequestClientCert", "without verifying"),
        (TLS + "  client_auth_type: RequireAnyClientCert", "without verifying"),
        (TLS + "  client_auth_type: RequireAndVerifyClientCert", "client_ca_file is missing"),
        (TLS + "  client_ca_file: x", "client_auth_type is not"),
        (TLS + "  client_allowed_sans: [a]", "client_allowed_sans needs"),
        (TLS + "  min_version: TLS10", "TLS10 is not supported"),
        (TLS + "  min_version: TLS13\n  max_version: TLS12", "above"),
        (TLS + "  min_version: SSL3", "min_version"),
        (TLS + "  cipher_suites: [RC4]", "'RC4' is not known"),
        (TLS + "  curve_preferences: [P-1]", "'P-1' is not known"),
        (TLS + "  curve_preferences: [X25519]", "one NIST curve"),
        (TLS + "  curve_preferences: [CurveP256, CurveP384]", "one NIST curve"),
        ("http_server_config:\n  headers:\n    Server: x", "header 'Server' cannot be set"),
        ("http_server_config:\n  headers:\n    X-Frame-Options: maybe", "deny, sameorigin"),
        ('http_server_config:\n  headers:\n    X-XSS-Protection: "a\\r\\nb"', "characters"),
        ("http_server_config:\n  http2: perhaps", "http_server_config.http2"),
        ("rate_limit:\n  interval: 1s", "burst must be at least 1"),
        ("rate_limit:\n  interval: 15\n  burst: 1", "duration"),
        ("rate_limit:\n  interval: -1s\n  burst: 1", "duration"),
        ("basic_auth_users:\n  a:b: " + HASH, "not valid YAML|user name"),
        ('basic_auth_users:\n  "": ' + HASH, "cannot be a user name"),
        ("basic_auth_users:\n  a:", "'a' is not a bcrypt hash"),
        ("- a", "valid dictionary"),
        ("just text", "valid dictionary"),
        ("a: [", "line "),
        ("a: 1\na: 2", "line 2: a key is there twice"),
        ("a: *b", "needs quotes"),
        ("!!python/object/apply:os.system [true]", "web.yml"),
        ("? [a]\n: b", "web.yml"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_wrong_is_named(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    message = caught.value.message
    assert any(word in message for word in words.split("|")), message
    assert message.startswith("web.yml")
    assert "\n" not in message
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "text",
    [
        "basic_auth_users:\n  alice: hunter2-secret",
        "basic_auth_users: hunter2-secret",
        "basic_auth_users:\n  alice: [hunter2-secret",
        "tls_server_config:\n  key: [hunter2-secret]\n  cert: x",
        "basic_auth_users:\n  alice: *hunter2-secret",
        "basic_auth_users:\n  alice: !hunter2!secret",
        "basic_auth_users:\n  alice: !hunter2 secret",
        'tls_server_config:\n  key: "hunter2-secret\n',
    ],
)
def test_a_secret_never_shows_in_an_error(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert "hunter2" not in f"{caught.value.message} {caught.value.hint}"
