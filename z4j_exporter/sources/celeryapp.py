"""Takes the broker and everything about events from a Celery application."""

import re
from collections.abc import Mapping
from typing import Any

from celery import Celery
from celery.app.utils import find_app

from z4j_exporter.errors import AppImportError

#: What stands between ``://`` and ``@``: it may be a password.
_USERINFO = re.compile(r"://[^\s@]*@")


def load_app(path: str) -> Celery:
    """Import the application that ``celery -A path`` would take: ``module:attribute``, or a module.

    The current directory is searched first, as Celery does. Raises AppImportError.
    """
    try:
        found: Any = find_app(path)
    except AttributeError as error:
        raise AppImportError(
            f"-A {path} does not lead to a Celery application: {_words(error)}",
            hint="Write module:attribute, for example -A proj.celery:app.",
        ) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001  # it runs the user's code
        raise AppImportError(
            f"-A {path}: importing it failed: {_words(error)}",
            hint="Run it from the project's directory, with the project's own virtual environment.",
        ) from None
    if not isinstance(found, Celery):
        raise AppImportError(
            f"-A {path} does not lead to a Celery application",
            hint="Write module:attribute, for example -A proj.celery:app.",
        )
    return found


def settings_from_app(path: str) -> dict[str, Any]:
    """Return the settings (names of z4j_exporter.config.Settings) that an application has.

    Sources: Celery's ``broker_read_url``/``broker_url``, ``broker_transport_options``,
    ``broker_use_ssl``, the ``event_*`` settings, and ``result_backend`` with its options. Raises
    AppImportError.
    """
    app = load_app(path)
    try:
        return _settings(app.conf)
    except Exception as error:  # noqa: BLE001  # reading conf runs the user's code too
        raise AppImportError(
            f"-A {path}: its configuration cannot be used: {_words(error)}",
            hint="celery -A … report shows what Celery makes of it.",
        ) from None


def _settings(conf: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "event_exchange": conf.event_exchange,
        "event_queue_prefix": conf.event_queue_prefix,
    }
    urls = conf.broker_read_url or conf.broker_url
    if isinstance(urls, (list, tuple)):
        urls = ";".join(str(url) for url in urls)
    if urls:
        settings["broker_url"] = urls
    options = dict(conf.broker_transport_options or {})
    if options:
        settings["broker_transport_options"] = options
    ssl = conf.broker_use_ssl
    if isinstance(ssl, Mapping):
        if ssl:
            settings["broker_ssl_options"] = dict(ssl)
    elif ssl and not str(urls).startswith(("redis", "sentinel")):
        # kombu's Redis transport takes no notice of a mere True (kombu/transport/redis.py
        # ``_connparams``): such an application speaks without TLS.
        settings["broker_ssl_options"] = {"enabled": True}
    # Neither durable nor exclusive, the default before Celery 5.7, is refused by RabbitMQ 4.3; both
    # at once by Celery. Older versions know neither setting.
    if conf.get("event_queue_durable"):
        settings["event_queue_durable"] = True
        settings["event_queue_exclusive"] = False
    return settings | _result_backend(conf)


def _result_backend(conf: Any) -> dict[str, Any]:
    backend = conf.result_backend
    # Without "://" it is the name of a class or a kind, whose server stands elsewhere.
    if not isinstance(backend, str) or "://" not in backend:
        return {}
    settings: dict[str, Any] = {"result_backend_url": backend}
    options = conf.result_backend_transport_options
    if options:
        settings["result_backend_transport_options"] = dict(options)
    ssl = conf.redis_backend_use_ssl
    if isinstance(ssl, Mapping) and ssl:
        settings["result_backend_ssl_options"] = dict(ssl)
    return settings


def _words(error: BaseException) -> str:
    """Return an error's kind and text in one line, without credentials in URLs."""
    text = " ".join(_USERINFO.sub("://***@", str(error)).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
