"""Follows a job to its end: a progress bar while it runs, what came of each task afterwards."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from z4j_exporter.cli.action_answers import ENDED, ActionSaid, understood
from z4j_exporter.cli.action_client import ActionsClient
from z4j_exporter.cli.action_errors import (
    ActionCommandError,
    ActionFailedError,
    ActionPartialError,
    ActionRefusedError,
    ActionUnknownError,
    JobGoesOnError,
)
from z4j_exporter.cli.action_text import counts_text, value_text
from z4j_exporter.config.actions import BULK_LIMIT

#: Seconds between two looks at a job: at first, and at the most.
_FIRST_SECONDS: Final = 0.25
_MOST_SECONDS: Final = 2.0
#: Seconds without an answer after which the job is left alone.
_PATIENCE_SECONDS: Final = 60.0
#: Tasks that one answer brings, and all of them.
_PAGE: Final = 1000
_MOST_ITEMS: Final = BULK_LIMIT
#: Tasks that are through with.
_SETTLED: Final = ("sent", "refused", "failed", "unknown")

#: Called with each look at a job.
OnLook = Callable[[ActionSaid], None]


def follow(
    client: ActionsClient,
    action_id: str,
    on_look: OnLook,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """Wait for a job's end; return it with all its tasks.

    Raises JobGoesOnError at Ctrl-C, or when nobody has answered for a minute; the job runs on in
    the exporter. ``clock`` is in seconds of a clock that never goes back.
    """
    try:
        _wait(client, action_id, on_look, sleep, clock)
        return whole(client, action_id)
    except KeyboardInterrupt:
        raise _goes_on("interrupted", action_id) from None


def whole(client: ActionsClient, action_id: str) -> dict[str, Any]:
    """Return an action with all its tasks. Raises ActionCommandError."""
    found: dict[str, Any] = {}
    items: list[Any] = []
    offset: int | None = 0
    while offset is not None and offset < _MOST_ITEMS:
        page = _look(client, action_id, offset, _PAGE)
        before, offset = offset, understood(page, ActionSaid).next_offset
        found = found or page
        items += page.get("items", ())
        if offset is not None and offset <= before:
            break
    return {**found, "items": items, "next_offset": offset}


def raise_for(action: ActionSaid) -> None:
    """Raise the ActionCommandError of an action that did not end well."""
    told = counts_text(action.counts or {})
    see = f"See: z4j-exporter action show {value_text(action.id)}"
    match action.state:
        case "done":
            return
        case "partial":
            raise ActionPartialError(f"not all of it was done: {told}", hint=see)
        case "refused":
            raise ActionRefusedError(f"all of it was refused: {told}", hint=see)
        case "failed":
            raise ActionFailedError(f"nothing of it could be done: {told}", hint=see)
    if action.counts and action.counts.get("waiting"):
        see = (
            "What was not begun can be sent with:"
            f" z4j-exporter action resume {value_text(action.id)}"
        )
    raise ActionUnknownError(f"what came of it is not known of all: {told}", hint=see)


@contextmanager
def progress_bar(title: str) -> Iterator[OnLook]:
    """Show how far a job is, on standard error where that is a terminal; else nothing."""
    if not sys.stderr.isatty():
        yield _no_look
        return
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}", markup=False),
        TimeRemainingColumn(),
        console=Console(stderr=True, highlight=False),
        transient=True,
    )
    with bar:
        shown = bar.add_task(title, total=None, told="")

        def look(action: ActionSaid) -> None:
            counts = action.counts or {}
            settled = sum(counts.get(state, 0) for state in _SETTLED)
            bad = {k: v for k, v in counts.items() if k in _SETTLED[1:] and v}
            told = counts_text(bad) if bad else ""
            bar.update(shown, total=action.total, completed=settled, told=told)

        yield look


def _no_look(_: ActionSaid) -> None: ...


def _wait(
    client: ActionsClient,
    action_id: str,
    on_look: OnLook,
    sleep: Callable[[float], None],
    clock: Callable[[], float],
) -> None:
    pause, answered = _FIRST_SECONDS, clock()
    while True:
        wait = pause
        try:
            action = understood(_look(client, action_id, 0, 1), ActionSaid)
        except ActionCommandError as error:
            if not _passes(error):
                raise
            if clock() - answered > _PATIENCE_SECONDS:
                raise _goes_on(error.message, action_id) from None
            wait = max(pause, error.retry_after_seconds)
        else:
            answered = clock()
            on_look(action)
            if action.state in ENDED:
                return
        sleep(wait)
        pause = min(pause * 1.5, _MOST_SECONDS)


def _passes(error: ActionCommandError) -> bool:
    """Whether a failure to look may be over soon."""
    return error.status in (0, 429) or error.status >= 500


def _look(client: ActionsClient, action_id: str, offset: int, limit: int) -> dict[str, Any]:
    path = f"/v1/actions/{quote(action_id, safe='')}?offset={offset}&limit={limit}"
    return client.look(path).document


def _goes_on(why: str, action_id: str) -> JobGoesOnError:
    shown = value_text(action_id)
    return JobGoesOnError(
        f"{why}: the job goes on in the exporter",
        hint=f"Watch it: z4j-exporter action show {shown} --follow\n"
        f"  Stop it before its next task: z4j-exporter action stop {shown}",
    )
