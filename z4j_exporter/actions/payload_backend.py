"""Reads a task's arguments from the metadata that a result backend keeps with result_extended.

Only JSON is read, and never through Celery's decoding: that would unpickle, or make exceptions.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from z4j_exporter.actions.model import ActionError, Payload
from z4j_exporter.actions.payload import Seen
from z4j_exporter.actions.payload_reprs import unalterable, verdict

#: Bytes of one result with its metadata.
MAX_METADATA_BYTES: Final = 16 * 1024 * 1024
#: Metadata beyond what a caller is told.
_TOLD: Final = ("status", "date_done", "name", "worker", "retries", "group_id", "parent_id")
_ABSENT: Final = ("priority", "time limits", "headers", "links", "routing")


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a result backend keeps of one task."""

    values: dict[str, Any]

    @property
    def status(self) -> str:
        """Celery's state, "PENDING" when it says none."""
        status = self.values.get("status")
        return status if isinstance(status, str) else "PENDING"

    def told(self) -> dict[str, Any]:
        """Return what may be told of it: neither result nor arguments."""
        return {name: self.values[name] for name in _TOLD if self.values.get(name) is not None}


def read_metadata(raw: bytes | str | None, task_id: str) -> Metadata | None:
    """Return the metadata of a task; None when there is none.

    Raises ActionError (422, backend-unreadable) for what is not JSON.
    """
    if not raw:
        return None
    data = raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else bytes(raw)
    if len(data) > MAX_METADATA_BYTES:
        raise _unreadable("the result is too large")
    if not data.lstrip().startswith(b"{"):
        raise _unreadable(f"the result backend holds {_guessed(data)}")
    try:
        values = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise _unreadable("the result backend holds something else than JSON") from None
    if not isinstance(values, dict) or values.get("task_id") != task_id:
        raise _unreadable("the result backend holds something else under the task's key")
    return Metadata(values)


def of_metadata(
    found: Metadata, seen: Seen, *, json_only: bool, unverified: bool = False
) -> Payload | None:
    """Return the payload that metadata tells; None where it has no arguments.

    Containers among the arguments may have been changed by the task while it ran: they are taken
    where the event's repr agrees, or with ``unverified``.

    Raises ActionError (422): payload-altered, payload-unverified.
    """
    values = found.values
    name, args, kwargs = (values.get(key) for key in ("name", "args", "kwargs"))
    if not isinstance(name, str) or not isinstance(args, list) or not isinstance(kwargs, dict):
        return None
    judged = verdict(args, kwargs, seen.args, seen.kwargs, json_only=json_only)
    if judged == "differs":
        raise ActionError(
            "payload-altered",
            422,
            "the arguments in the result backend are not those that the task was sent with: the "
            "task changed them, or a serializer did",
            hint="The capture hook keeps them exactly; or give args and kwargs with the request.",
        )
    checked = judged == "same" or unalterable(args, kwargs)
    if not checked and not unverified:
        raise ActionError(
            "payload-unverified",
            422,
            "the arguments in the result backend hold lists or mappings, which the task may have "
            "changed, and the task's events do not show enough of them to tell",
            hint="Ask for it with unverified arguments if the task does not change them; or "
            "install the capture hook.",
        )
    parent = values.get("parent_id")
    return Payload(
        name=name,
        body=None,
        content_type="application/json",
        content_encoding="utf-8",
        args=tuple(args),
        kwargs=kwargs,
        source="backend",
        routing_key=values["queue"] if isinstance(values.get("queue"), str) else None,
        headers={"parent_id": parent} if isinstance(parent, str) else {},
        group_id=values["group_id"] if isinstance(values.get("group_id"), str) else None,
        absent=_ABSENT if checked else (*_ABSENT, "verification"),
    )


def _guessed(data: bytes) -> str:
    if data[:1] == b"\x80" and data[1:2] in b"\x02\x03\x04\x05" and data.endswith(b"."):
        return "pickle, which is never loaded"
    return "something else than JSON"


def _unreadable(why: str) -> ActionError:
    return ActionError(
        "backend-unreadable",
        422,
        why,
        hint="Set Celery's result_serializer to json, its default.",
    )
