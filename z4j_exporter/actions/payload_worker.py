"""Takes a task's arguments from the worker that holds it, where they are sure to be exact. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from z4j_exporter.actions.locate import Held
from z4j_exporter.actions.model import Payload
from z4j_exporter.actions.payload import Seen
from z4j_exporter.actions.payload_reprs import unalterable, verdict


def of_worker(held: Iterable[Held], seen: Seen, *, json_only: bool) -> Payload | None:
    """Return the payload of a task that a worker holds, None where it is not sure to be exact.

    ``inspect query_task`` gives the arguments themselves (celery/worker/request.py ``info``), in
    the worker's task_serializer. In JSON that is exact where the message was JSON, which the
    answer does not tell: so ``json_only`` must be known, or the reprs must agree, or there must
    be nothing that JSON alters.
    """
    for one in held:
        args, kwargs, name = (one.info.get(key) for key in ("args", "kwargs", "type"))
        if not isinstance(args, list) or not isinstance(kwargs, dict) or not isinstance(name, str):
            continue
        judged = verdict(
            args,
            kwargs,
            one.args_repr or seen.args,
            one.kwargs_repr or seen.kwargs,
            json_only=json_only,
        )
        sure = judged == "same" or json_only or unalterable(args, kwargs)
        if judged == "differs" or not sure:
            continue
        where = _where(one.info.get("delivery_info"))
        return Payload(
            name=name,
            body=None,
            content_type="application/json",
            content_encoding="utf-8",
            args=tuple(args),
            kwargs=kwargs,
            source="worker",
            absent=("time limits", "headers", "links", "root_id"),
            **where,
        )
    return None


def _where(info: object) -> dict[str, Any]:
    if not isinstance(info, Mapping):
        return {}
    exchange, key, priority = (info.get(n) for n in ("exchange", "routing_key", "priority"))
    return {
        "exchange": exchange if isinstance(exchange, str) else None,
        "routing_key": key if isinstance(key, str) else None,
        "priority": priority if type(priority) is int else None,
    }
