"""Makes records for the journal, and a journal that is stepped by hand."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from msgspec import Raw

from z4j_exporter.events.captured import captured
from z4j_exporter.events.model import Event
from z4j_exporter.journal.database import Bounds
from z4j_exporter.journal.journal import Journal

T0 = 1_700_000_000.0
DAY = 86_400.0
MIB = 1024**2


class Clock:
    """A clock that is set."""

    def __init__(self, now: float = T0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def envelope(uuid: str = "u1", at: float = 0.0, **fields: Any) -> Event:
    """Make the hook's event of a published message, ``at`` seconds after T0."""
    note = {
        "v": 1,
        "uuid": uuid,
        "name": "add",
        "queue": "celery",
        "withheld": "",
        "replayable": True,
        "payload": {
            "body": '[[1, 2], {}, {"callbacks": null}]',
            "content_type": "application/json",
            "content_encoding": "utf-8",
        },
        **fields,
    }
    return Event(
        type="z4j-envelope",
        timestamp=T0 + at,
        hostname="gen1@client",
        z4j=Raw(json.dumps(note).encode()),
    )


def open_journal(
    directory: Path,
    *,
    max_age: float = 7 * DAY,
    max_bytes: int = 64 * MIB,
    clock: Clock | None = None,
    **options: Any,
) -> Journal:
    """Make a journal whose thread is not started; ``write`` and ``step`` do its work."""
    clock = clock or Clock()
    return Journal(
        directory / "journal.db", Bounds(max_age, max_bytes), wall=clock, monotonic=clock, **options
    )


def write(journal: Journal, events: Iterable[Event]) -> Journal:
    """Record events and write them all."""
    for event in events:
        journal.captured(captured(event), event)
    while journal.stats().waiting:
        assert journal.step(), journal.stats()
    return journal
