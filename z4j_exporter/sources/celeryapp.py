"""Takes the broker and everything about events from a Celery application."""

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

from celery import Celery

from z4j_exporter.errors import AppImportError


def load_app(path: str) -> Celery:
    """Import the application named ``module:attribute``, or ``module`` as ``celery -A`` finds it.

    The current directory is searched first, as Celery does. Raises AppImportError.
    """
    sys.path.insert(0, os.getcwd())
    module_name, _, attribute = path.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for name in attribute.split(".") if attribute else ():
            found = getattr(found, name)
    except Exception as error:  # noqa: BLE001  # it runs the user's code: anything can happen
        raise AppImportError(
            f"-A {path}: importing it failed: {type(error).__name__}: {str(error)[:200]}",
            hint="Run it from the project's directory, with the project's own virtual environment.",
        ) from None
    finally:
        sys.path.pop(0)
    if isinstance(found, Celery):
        return found
    for name in ("app", "celery"):
        candidate = getattr(found, name, None)
        if isinstance(candidate, Celery):
            return candidate
        nested = getattr(candidate, "app", None) or getattr(candidate, "celery", None)
        if isinstance(nested, Celery):
            return nested
    raise AppImportError(
        f"-A {path} does not lead to a Celery application",
        hint="Write module:attribute, for example -A proj.celery:app.",
    )


def settings_from_app(path: str) -> dict[str, Any]:
    """Return the settings (names of z4j_exporter.config.Settings) that an application has.

    Sources: Celery's ``broker_read_url``/``broker_url``, ``broker_transport_options``,
    ``broker_use_ssl`` and the ``event_*`` settings. Raises AppImportError.
    """
    app = load_app(path)
    try:
        conf = app.conf
        urls = conf.broker_read_url or conf.broker_url
        settings: dict[str, Any] = {
            "event_exchange": conf.event_exchange,
            "event_queue_prefix": conf.event_queue_prefix,
        }
        options = dict(conf.broker_transport_options or {})
        ssl = conf.broker_use_ssl
    except Exception as error:  # noqa: BLE001  # reading conf runs the user's code too
        raise AppImportError(
            f"-A {path}: its configuration failed: {type(error).__name__}: {str(error)[:200]}"
        ) from None
    if isinstance(urls, (list, tuple)):
        urls = ";".join(str(url) for url in urls)
    if urls:
        settings["broker_url"] = urls
    if options:
        settings["broker_transport_options"] = options
    if isinstance(ssl, Mapping) and ssl:
        settings["broker_ssl_options"] = dict(ssl)
    elif ssl is True:
        settings["broker_ssl_options"] = {"enabled": True}
    # Celery's own defaults for these would lose events of a stalled consumer or be refused by
    # RabbitMQ 4.3: only what the application really sets is taken.
    changes = conf.changes if hasattr(conf, "changes") else {}
    for name in ("event_queue_exclusive", "event_queue_durable"):
        if name in changes:
            settings[name] = bool(changes[name])
    if settings.get("event_queue_durable") and "event_queue_exclusive" not in settings:
        settings["event_queue_exclusive"] = False
    return settings
