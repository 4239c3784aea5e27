"""Writes actions and tasks as lines for people; nothing of the API's reaches a terminal raw. Pure.

What an answer says beyond what is known here is written too, by its own name: nothing that was
dropped from a task must go unsaid.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from z4j_exporter.cli.action_answers import ActionSaid, ItemSaid
from z4j_exporter.cli.show import printable

#: Characters of one value.
_MOST_CHARACTERS: Final = 600
#: Members of a list that are written; the JSON has all.
_MOST_LISTED: Final = 20
#: Of a result: said in the first line, of use to programs only, or private to the task.
_UNSAID: Final = frozenset({"metadata", "task_ids", "messages", "signal", "problem"})

_HEADINGS: Final[dict[str, tuple[str, str]]] = {
    # verb: (of a dry run, of what was done)
    "retry": ("task {task_id} would be sent again", "task {task_id} was sent again as {new}"),
    "cancel": (
        "task {task_id} would be revoked",
        "task {task_id} was revoked: it does not start any more; one that runs finishes",
    ),
    "terminate": (
        "task {task_id} would be ended with {signal}",
        "task {task_id}: its process was sent {signal}",
    ),
    "purge": (
        "{messages} would be removed from queue {queue}",
        "removed from queue {queue}: {messages}",
    ),
    "bulk-retry": ("{total} would be sent again", "of {total}: {counts}"),
    "retry-group": (
        "{total} of group {group_id} would be sent again",
        "of {total} of group {group_id}: {counts}",
    ),
}


def action_lines(action: ActionSaid) -> Iterator[str]:
    """Yield the lines of an action: what it is about, what came of it, each task of a job."""
    yield heading(action)
    if not action.dry_run:
        yield f"  action: {value_text(action.id)} ({value_text(action.state)})"
        asked = {"asked_by": action.actor, "asked_at": action.requested_at}
        yield from fact_lines(asked | {"ended_at": action.finished_at})
    if action.truncated:
        yield "  more tasks would have fitted: these are the first (see --max)"
    yield from fact_lines({k: v for k, v in action.result.items() if k not in _UNSAID})
    problem = action.result.get("problem")
    if isinstance(problem, dict):
        yield f"  problem: {value_text(problem.get('detail', ''))}"
    for note in action.notes[:_MOST_LISTED]:
        yield f"  note: {value_text(note)}"
    for item in action.items:
        yield item_line(item)


def heading(action: ActionSaid) -> str:
    """Return the first line of an action."""
    if not action.dry_run and action.state not in ("done", "partial", "running", "pending"):
        return f"{value_text(action.verb)}: {value_text(action.state)}"
    forms = _HEADINGS.get(action.verb, ("{verb} would be done", "{verb}: {state}"))
    if action.verb not in ("bulk-retry", "retry-group") and action.state in ("running", "pending"):
        return f"{value_text(action.verb)}: {value_text(action.state)}"
    return forms[0 if action.dry_run else 1].format_map(
        {
            "verb": value_text(action.verb),
            "state": value_text(action.state),
            "task_id": value_text(action.task_id),
            "group_id": value_text(action.group_id),
            "queue": value_text(action.queue),
            "new": value_text(action.new_task_id),
            "total": number_of(action.total, "task"),
            "counts": counts_text(action.counts or {}),
            "messages": number_of(action.result.get("messages"), "message"),
            "signal": value_text(action.result.get("signal", "SIGTERM")),
        }
    )


def counts_text(counts: Mapping[str, int]) -> str:
    """Return how many tasks of a job are in which state."""
    told = [f"{count} {value_text(state)}" for state, count in list(counts.items())[:_MOST_LISTED]]
    return ", ".join(told) or "none was begun"


def number_of(count: Any, what: str) -> str:
    """Return a count with its noun; "?" where none was told."""
    shown = value_text(count) if isinstance(count, int) else "?"
    return f"{shown} {what}" if count == 1 else f"{shown} {what}s"


def item_line(item: ItemSaid) -> str:
    """Return the line of one task of a job."""
    line = f"{value_text(item.state):<8} {value_text(item.task_id)}"
    if item.state in ("sent", "unknown"):
        line += f" as {value_text(item.new_task_id)}"
    detail = item.detail
    words = detail.get("detail") or detail.get("reason") or ""
    if item.state != "sent" and (words or detail.get("kind")):
        line += f": {value_text(words)}"
        if detail.get("kind"):
            line += f" [{value_text(detail['kind'])}]"
    dropped = detail.get("dropped")
    if dropped:
        line += f" (dropped: {value_text(dropped)})"
    return line


def fact_lines(facts: Mapping[str, Any], indent: str = "  ") -> Iterator[str]:
    """Yield a line for each fact that is one, objects and lists of objects beneath their name."""
    for name, value in facts.items():
        if value is None or value in ([], {}, ""):
            continue
        label = f"{indent}{value_text(name).replace('_', ' ')}:"
        if isinstance(value, dict):
            yield label
            yield from fact_lines(dict(list(value.items())[:_MOST_LISTED]), indent + "  ")
        elif isinstance(value, list) and isinstance(value[0], dict):
            yield label
            for one in value[:_MOST_LISTED]:
                yield f"{indent}  - {_one_line(one)}"
            if len(value) > _MOST_LISTED:
                yield f"{indent}  … {len(value) - _MOST_LISTED} more"
        elif name.endswith("_at") and isinstance(value, int | float):
            yield f"{label} {_moment(value)}"
        else:
            yield f"{label} {value_text(value)}"


def _one_line(value: Any) -> str:
    if not isinstance(value, dict):
        return value_text(value)
    pairs = ((k, v) for k, v in value.items() if v is not None and v not in ([], {}, ""))
    return ", ".join(f"{value_text(k).replace('_', ' ')} {value_text(v)}" for k, v in pairs)


def value_text(value: Any) -> str:
    """Return one value on one line, cut, with nothing in it that a terminal obeys."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(one, str | int | float) for one in value):
        shown = ", ".join(value_text(one) for one in value[:_MOST_LISTED])
        return (
            f"{shown}, … {len(value) - _MOST_LISTED} more" if len(value) > _MOST_LISTED else shown
        )
    text = json.dumps(value) if isinstance(value, dict | list) else str(value)
    return printable(text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…")


def _moment(seconds: float) -> str:
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return str(seconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
