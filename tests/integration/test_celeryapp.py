"""What ``-A module:attr`` takes from an application reaches the broker that Celery publishes to."""

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import servers
from tests.support.certs import certificates
from tests.support.redis_events import dispatch, events_from
from tests.support.servers import Redis
from z4j_exporter.config import Settings, build_settings
from z4j_exporter.errors import AppImportError
from z4j_exporter.sources.celeryapp import load_app, settings_from_app
from z4j_exporter.sources.open import open_source

Write = Callable[[str], str]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """``module(code)`` writes a module into the current directory and returns its name."""
    monkeypatch.chdir(tmp_path)
    made: list[str] = []

    def write(code: str) -> str:
        name = f"app_{tmp_path.name.replace('-', '_')}_{len(made)}"
        made.append(name)
        (tmp_path / f"{name}.py").write_text(
            "from celery import Celery\napp = Celery('x', set_as_current=False)\n"
            + textwrap.dedent(code)
        )
        return name

    return write


def taken(path: str) -> dict[str, Any]:
    return settings_from_app(path)


def heard(path: str) -> int:
    """How many of two events that the application sends reach a source made of its settings."""
    settings: Settings = build_settings(settings_from_app(path))
    session = open_source(settings).connect()
    try:
        dispatch(load_app(path), 2)
        return len(events_from(session, 2))
    finally:
        session.close()


# -- settings that reach a real server -----------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "",
        "app.conf.broker_transport_options = {'fanout_prefix': False}",
        "app.conf.broker_transport_options = {'fanout_prefix': 'e{db}.'}",
        "app.conf.broker_transport_options = {'fanout_patterns': False}",
        "app.conf.broker_transport_options = {'global_keyprefix': 'k:'}",
        "app.conf.event_exchange = 'other'",
        "app.conf.event_serializer = 'json'",
        "app.conf.broker_url = [URL, 'redis://127.0.0.1:1/0']",
        "app.conf.broker_url = URL + ';redis://127.0.0.1:1/0'",
        "app.conf.broker_url = 'redis://127.0.0.1:1/0'; app.conf.broker_read_url = URL; "
        "app.conf.broker_write_url = URL",
        "app.config_from_object({'BROKER_URL': URL, 'BROKER_TRANSPORT_OPTIONS': "
        "{'global_keyprefix': 'old:'}})",
    ],
    ids=str,
)
def test_an_application_with(valkey: Redis, module: Write, code: str) -> None:
    url = valkey.url_at(valkey.port, db=2)
    assert heard(module(f"URL = {url!r}\napp.conf.broker_url = URL\n{code}") + ":app") == 2


def test_an_application_with_tls(module: Write) -> None:
    certs = certificates()
    with servers.redis_server(tls=True, client_certificates=True) as server:
        code = f"""
            import ssl
            app.conf.broker_url = {server.url!r}
            app.conf.broker_use_ssl = {{
                "ssl_cert_reqs": ssl.CERT_REQUIRED,
                "ssl_ca_certs": {str(certs.ca)!r},
                "ssl_certfile": {str(certs.client_certificate)!r},
                "ssl_keyfile": {str(certs.client_key)!r},
            }}
        """
        assert heard(module(code) + ":app") == 2
        code = code.replace("ssl.CERT_REQUIRED", "ssl.CERT_NONE")
        assert heard(module(code) + ":app") == 2


def test_an_application_that_says_true_for_tls_speaks_without_it(
    valkey: Redis, module: Write
) -> None:
    """kombu's Redis transport takes no notice of it."""
    code = f"app.conf.broker_url = {valkey.url!r}; app.conf.broker_use_ssl = True"
    assert heard(module(code) + ":app") == 2


def test_an_application_with_sentinel(module: Write) -> None:
    with servers.sentinel(password="pw") as group:
        url = group.url.replace("sentinel://", "sentinel://:pw@")
        code = f"""
            app.conf.broker_url = {url!r}
            app.conf.broker_transport_options = {{
                "master_name": "events", "sentinel_kwargs": {{}}, "global_keyprefix": "s:"}}
        """
        assert heard(module(code) + ":app") == 2


# -- what is taken -------------------------------------------------------------------------------


def test_nothing_is_taken_that_is_not_there(module: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CELERY_BROKER_URL", raising=False)
    expected = {"event_exchange": "celeryev", "event_queue_prefix": "celeryev"}
    assert taken(module("") + ":app") == expected


def test_the_environment_as_celery_reads_it(module: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://from-environment")
    path = module("app.conf.broker_url = 'redis://x'") + ":app"
    assert taken(path)["broker_url"] == "redis://from-environment"


@pytest.mark.parametrize("how", ["app.conf.{}", "app.config_from_object(dict({}))"])
def test_a_durable_event_queue_is_taken_and_cannot_be_exclusive(module: Write, how: str) -> None:
    def settings(line: str) -> dict[str, Any]:
        return {k: v for k, v in taken(module(how.format(line)) + ":app").items() if "queue_" in k}

    assert settings("event_queue_exclusive=True") == {"event_queue_prefix": "celeryev"}
    assert settings("event_queue_durable=True") == {
        "event_queue_prefix": "celeryev",
        "event_queue_durable": True,
        "event_queue_exclusive": False,
    }
    assert settings("event_queue_exclusive=False") == {"event_queue_prefix": "celeryev"}
    assert settings("event_queue_prefix='mine'") == {"event_queue_prefix": "mine"}


def test_true_for_tls_is_taken_for_rabbitmq(module: Write) -> None:
    path = module("app.conf.broker_url = 'amqp://h'; app.conf.broker_use_ssl = True") + ":app"
    assert taken(path)["broker_ssl_options"] == {"enabled": True}


# -- how it is found -----------------------------------------------------------------------------


def test_a_module_alone_as_celery_finds_it(module: Write, tmp_path: Path) -> None:
    assert load_app(module("")).main == "x"
    assert load_app(module("celery = app; del app")).main == "x"
    assert load_app(module("anything = app; del app")).main == "x"
    package = tmp_path / f"{tmp_path.name.replace('-', '_')}_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "celery.py").write_text("from celery import Celery\napp = Celery('inner')\n")
    assert load_app(package.name).main == "inner"
    assert load_app(f"{package.name}.celery").main == "inner"
    assert load_app(f"{package.name}.celery:app").main == "inner"


# -- what goes wrong -----------------------------------------------------------------------------


def refusal(path: str) -> AppImportError:
    with pytest.raises(AppImportError) as refused:
        settings_from_app(path)
    assert "\n" not in refused.value.message
    assert refused.value.hint
    assert refused.value.exit_code == 7
    return refused.value


@pytest.mark.parametrize("path", ["no_such_module", "no_such.module:app", "", ":", ":app", "a:b:c"])
def test_a_module_that_is_not_there(path: str) -> None:
    assert refusal(path).message.startswith(f"-A {path}")


def test_an_attribute_that_is_not_there(module: Write) -> None:
    assert "nothing" in refusal(module("") + ":nothing").message


def test_an_attribute_that_is_no_application(module: Write) -> None:
    for code in ("other = 5", "other = Celery", "import json as other", "other = lambda: app"):
        words = refusal(module(code) + ":other")
        assert "does not lead to a Celery application" in words.message
        assert "module:attribute" in words.hint


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import no_such_thing", "ModuleNotFoundError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("class E(Exception): pass\nraise E('a\\nb')", "E: a b"),
        ("raise RuntimeError('redis://me:s3cret@h/0 is bad')", "redis://***@h/0"),
        ("this is no python", "SyntaxError"),
    ],
    ids=str,
)
def test_a_module_that_fails(module: Write, code: str, kind: str) -> None:
    words = refusal(module(code) + ":app").message
    assert "importing it failed" in words
    assert kind in words
    assert "s3cret" not in words


def test_a_configuration_that_fails(module: Write) -> None:
    path = module("app.config_from_object('no_such_configuration')") + ":app"
    assert "no_such_configuration" in refusal(path).message
    path = module("app.conf.broker_transport_options = 5") + ":app"
    assert "its configuration cannot be used" in refusal(path).message


def test_the_command_says_it_in_one_sentence(module: Write, tmp_path: Path) -> None:
    path = module("1 / 0") + ":app"
    ended = servers.run_command("run", "-A", path, cwd=tmp_path)
    assert ended.returncode == 7
    assert "Traceback" not in ended.stderr
    assert "ZeroDivisionError" in ended.stderr
