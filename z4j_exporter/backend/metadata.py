"""Reads the group of a task out of its result's metadata: JSON alone, and never the result.

celery/backends/base.py ``_get_result_meta`` writes group_id and parent_id.
"""

from msgspec import DecodeError, Struct
from msgspec.json import Decoder

from z4j_exporter.events.model import Id

#: Celery's keys are this and the task's id (celery/backends/base.py ``task_keyprefix``).
_KEY = "celery-task-meta-"
#: What a prefix may end with that Celery 5.7 puts no underscore behind.
_ENDS = (":", "_", "-", ".")


class TaskGroup(Struct, frozen=True, gc=False):
    """What a task's metadata tells of its place; None where it has none."""

    group_id: Id | None = None
    parent_id: Id | None = None


_decode = Decoder(TaskGroup).decode


def task_group(metadata: bytes) -> TaskGroup | None:
    """Return what the metadata tells; None where they are no JSON, as with other serializers."""
    try:
        return _decode(metadata)
    except (DecodeError, ValueError, RecursionError):
        return None


def key_prefixes(global_keyprefix: str) -> list[str]:
    """Return what the keys of results begin with, for a ``global_keyprefix`` ("" for none).

    Celery before 5.7 always puts an underscore between, 5.7 not behind ":", "_", "-" and ".".
    """
    if not global_keyprefix:
        return [_KEY]
    both = [f"{global_keyprefix}_{_KEY}"]
    if global_keyprefix.endswith(_ENDS):
        both.insert(0, global_keyprefix + _KEY)
    return both
