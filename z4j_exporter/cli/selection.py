"""Chooses events by type, task, worker and uuid."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from z4j_exporter.cli.show import Seen


@dataclass(frozen=True)
class Selection:
    """What an event must match: one pattern of each kind that has any."""

    #: Globs of event types, in small letters.
    types: Sequence[str] = ()
    #: Globs of task names; an event that speaks of no task matches none.
    tasks: Sequence[str] = ()
    #: Globs of full nodenames.
    workers: Sequence[str] = ()
    #: Beginnings of task ids.
    uuids: Sequence[str] = ()

    def matches(self, seen: Seen) -> bool:
        """Tell whether an event is chosen."""
        return (
            _any_glob(self.types, seen.event.type.lower())
            and _any_glob(self.workers, seen.event.hostname)
            and (not self.tasks or (bool(seen.name) and _any_glob(self.tasks, seen.name)))
            and (not self.uuids or seen.uuid.startswith(tuple(self.uuids)))
        )


def _any_glob(globs: Sequence[str], text: str) -> bool:
    return not globs or any(fnmatchcase(text, glob) for glob in globs)
