"""Reads from the Celery application what the exporter itself does not need."""

import re
from typing import Any

from z4j_exporter.doctor.facts import BackendFacts
from z4j_exporter.sources.celeryapp import load_app

_KIND = re.compile(r"[a-z][a-z0-9+.\-]{0,39}", re.IGNORECASE)


def backend_facts(path: str) -> BackendFacts:
    """Return how the application at ``path`` (as -A) keeps results. Raises AppImportError."""
    conf: Any = load_app(path).conf
    return BackendFacts(
        kind=_kind(conf.result_backend),
        extended=bool(conf.result_extended),
        ignored=bool(conf.task_ignore_result),
    )


def queue_names(path: str | None) -> set[str]:
    """Return the queues that the application at ``path`` (as -A) is configured with.

    Raises AppImportError.
    """
    if path is None:
        return set()
    conf: Any = load_app(path).conf
    queues: Any = conf.task_queues or ()
    names = {conf.task_default_queue, *(getattr(queue, "name", queue) for queue in queues)}
    return {name for name in names if isinstance(name, str) and name}


def _kind(backend: object) -> str:
    """Return the scheme of a backend's URL, or its name: nothing that could hold a password."""
    if not backend or backend in ("disabled", "disabled://"):
        return ""
    if not isinstance(backend, str):
        return "configured"
    scheme = backend.partition("://")[0]
    return scheme.partition("+")[0] if _KIND.fullmatch(scheme) else "configured"
