"""Finds an application's dotted path, `shop.celery:app`, by looking where the object lives."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

#: Names that people give their application, the usual one first.
_USUAL = ("app", "celery_app", "celery")
#: Modules that hold applications which are not theirs.
_NOT_OWNERS = ("celery.", "kombu.", "z4j_exporter.", "billiard.")


def dotted_path(app: Any, modules: Mapping[str, Any] | None = None) -> str:
    """Return `module:attribute` of an application, else the name it was made with, else "".

    Where several modules hold it, the one named `celery` or `…celery_app` is taken for its home,
    then the one with the usual attribute, then the shortest.
    """
    found = list(_places(app, dict(sys.modules if modules is None else modules)))
    if found:
        module, attribute = min(found, key=_rank)
        return f"{module}:{attribute}"
    return str(getattr(app, "main", "") or "")


def _places(app: Any, modules: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for name, module in modules.items():
        if f"{name}.".startswith(_NOT_OWNERS):
            continue
        for attribute, value in list(getattr(module, "__dict__", {}).items()):
            if value is app:
                yield _real_name(name, module), attribute


def _real_name(name: str, module: Any) -> str:
    """Give what `python -m shop.main` runs its importable name."""
    spec = getattr(module, "__spec__", None)
    if name == "__main__" and spec is not None and spec.name:
        return str(spec.name).removesuffix(".__main__")
    return name


def _rank(place: tuple[str, str]) -> tuple[bool, bool, int, int, str, str]:
    module, attribute = place
    usual = _USUAL.index(attribute) if attribute in _USUAL else len(_USUAL)
    home = module.rpartition(".")[2] in {"celery", "celery_app", "celeryapp"}
    return module == "__main__", not home, usual, len(module), module, attribute
