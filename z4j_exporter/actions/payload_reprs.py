"""Checks arguments that may have been altered against what events showed of them. Pure.

A result backend and a worker's answer hold arguments that went through a serializer once more, and
a result backend those that the task may have changed while it ran. The event's repr cannot be read
back, but the repr of the candidate can be made and compared.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from celery.utils.saferepr import saferepr
from kombu.utils.json import loads

#: Celery's argsrepr_maxsize; the sender may have another, so a longer repr is no difference.
_REPR_CHARACTERS: Final = 1024
#: What an event's repr of no arguments at all may be.
_NONE_GIVEN: Final = {"args": ("()", "[]"), "kwargs": ("{}",)}

Verdict = Literal["same", "differs", "unchecked"]


def verdict(
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    args_repr: str | None,
    kwargs_repr: str | None,
    *,
    json_only: bool,
) -> Verdict:
    """Compare arguments, as JSON has them, with an event's reprs.

    ``json_only``: the application is known to send nothing but JSON, in which a tuple is a list
    from the beginning. "unchecked": the reprs are missing, cut or hidden.
    """
    parts = (
        _part("args", tuple(args), args_repr, json_only=json_only),
        _part("kwargs", dict(kwargs), kwargs_repr, json_only=json_only),
    )
    if "differs" in parts:
        return "differs"
    return "unchecked" if "unchecked" in parts else "same"


def unalterable(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether there is nothing that a task could have changed in place, or JSON altered.

    True for text, numbers, truth values and nothing, and for what kombu marks with its type.
    """
    return all(map(_is_plain, [*args, *kwargs.values()]))


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return value.keys() == {"__type__", "__value__"}
    return not isinstance(value, list)


def _part(what: str, value: object, known: str | None, *, json_only: bool) -> Verdict:
    if known is None or not known.strip():
        return "unchecked"
    try:
        # With kombu's types, since the sender had them: a date is shown as a date.
        decoded = loads(json.dumps(value))  # type: ignore[no-untyped-call]  # kombu has no types
    except (TypeError, ValueError, RecursionError):
        return "unchecked"
    if isinstance(value, tuple):
        decoded = tuple(decoded)
    if not decoded:
        if known in _NONE_GIVEN[what]:
            return "same"
        return "unchecked" if _is_cut(known) else "differs"
    made = {str(saferepr(decoded, _REPR_CHARACTERS)), str(saferepr(decoded, None, None))}
    shown = known
    if json_only:
        made, shown = set(map(_as_lists, made)), _as_lists(known)
    if _is_cut(known):
        return "unchecked"
    return "same" if shown in made else "differs"


def _is_cut(known: str) -> bool:
    # Also where an argument itself has three dots: then it stays unchecked, which is no harm.
    return "..." in known or not known.startswith(("(", "[", "{"))


def _as_lists(text: str) -> str:
    return text.replace(",)", "]").replace("(", "[").replace(")", "]")
