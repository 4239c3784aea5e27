"""Finds a Django project's Celery application, and installs the hook in it."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Iterator
from typing import Any

from django.apps import AppConfig
from django.conf import settings

from z4j_exporter.capture import install

logger = logging.getLogger("z4j_exporter.capture")

#: Where projects keep it, beside what their Celery documentation and templates suggest.
_MODULES = ("celery", "celery_app", "celeryapp")
_ATTRIBUTES = ("app", "celery_app", "celery")


class CaptureConfig(AppConfig):  # type: ignore[misc]  # Django ships no types
    """Installs the hook when Django is set up.

    The Celery application is `Z4J_CAPTURE_APP = "proj.celery:app"` of Django's settings, or found
    in the package of the project's settings, or Celery's current one.
    """

    name = "z4j_exporter.capture.django"
    label = "z4j_capture"
    verbose_name = "z4j capture"

    def ready(self) -> None:
        """Install the hook; a project without a Celery application is told, and left alone."""
        app = celery_app()
        if app is None:
            logger.error(
                "no Celery application was found: set Z4J_CAPTURE_APP = 'project.celery:app'"
            )
            return
        install(app)


def celery_app() -> Any:
    """Return the project's Celery application, None where there is none.

    Raises ImportError for a Z4J_CAPTURE_APP that cannot be imported.
    """
    named = getattr(settings, "Z4J_CAPTURE_APP", "")
    if named:
        module, _, attribute = named.replace(":", ".").rpartition(".")
        return getattr(importlib.import_module(module), attribute)
    for module in _places():
        found = importlib.import_module(module)
        for attribute in _ATTRIBUTES:
            value = getattr(found, attribute, None)
            if _is_celery(value):
                return value
    from celery import current_app

    app = current_app._get_current_object()
    return app if _is_celery(app) and app.main != "default" else None


def _places() -> Iterator[str]:
    """Yield the modules that exist of those where a Celery application may be."""
    for package in _packages():
        for name in (*(f"{package}.{module}" for module in _MODULES), package):
            if _exists(name):
                yield name


def _packages() -> Iterator[str]:
    """Yield the project's package, by the names that its settings tell."""
    seen = set()
    for setting in ("SETTINGS_MODULE", "WSGI_APPLICATION", "ASGI_APPLICATION", "ROOT_URLCONF"):
        parts = str(getattr(settings, setting, None) or "").split(".")
        # config.settings.production is in the project config.
        package = parts[0]
        if package and len(parts) > 1 and package not in seen:
            seen.add(package)
            yield package


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _is_celery(value: Any) -> bool:
    from celery import Celery

    return isinstance(value, Celery)
