"""The audit log: who asked for what and what came of it, chained and synced before the act.

What it is worth: it is tamper-evident, not tamper-proof. Who can write the file can destroy
it, and who can read the key can forge it; who can do the first and not the second is
found by ``audit verify``. Cutting entries off at the end needs no key: that shows against the
head (number and MAC of the last entry), which is a metric and so lies in Prometheus, elsewhere.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from z4j_exporter.actions.audit_chain import START, Chain, Head, looks_like_entry
from z4j_exporter.actions.audit_end import WINDOW_BYTES, End, find_end, kind_of, lacks_only_its_end
from z4j_exporter.actions.audit_file import LogFile, ReplacedError, numbered, read_tail
from z4j_exporter.actions.model import Action, ActionError, Actor, Target, Verb
from z4j_exporter.actions.records_owner import Owner
from z4j_exporter.errors import ConfigError, FileError

logger = logging.getLogger(__name__)

#: A file that would grow beyond this gets a number, and a new one begins.
MAX_FILE_BYTES = 64 * 1024 * 1024

#: Ids of a bulk retry that a line names; of more it has the number and a keyed hash.
MAX_IDS = 100

#: Characters of a text that a line keeps. Escaped, a character takes up to twelve bytes.
_MOST_CHARACTERS = 128

Stage = Literal["requested", "denied", "outcome"]


class AuditUnavailable(ActionError):  # noqa: N818  # the word that the design and the API use
    """The audit log cannot be written: nothing may be done (503)."""

    def __init__(self, hint: str) -> None:
        super().__init__(
            "audit-unavailable",
            503,
            "The audit log cannot be written; without it nothing is done.",
            hint=hint,
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """One line to be. Texts of any size and content are taken; long ones are cut."""

    stage: Stage
    verb: Verb | str
    target: Target = field(default_factory=Target)
    #: None when nobody was recognized.
    actor: Actor | None = None
    action_id: str = ""
    dry_run: bool = False
    #: The state or the problem's kind.
    outcome: str = ""
    #: The exact arguments in any fixed encoding: only their keyed hash is written.
    arguments: bytes | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls, action: Action, stage: Stage, outcome: str = "", *, arguments: bytes | None = None
    ) -> "Entry":
        """Return the entry of an action."""
        return cls(
            stage=stage,
            verb=action.verb,
            target=action.target,
            actor=action.actor,
            action_id=action.id,
            dry_run=action.dry_run,
            outcome=outcome,
            arguments=arguments,
        )


class AuditLog:
    """The log of one process; any thread may append.

    Raises ConfigError when another process has it, or the key is not the one that it was
    written with; FileError when it cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        key: bytes,
        *,
        max_file_bytes: int = MAX_FILE_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._chain = Chain(key)
        self._clock = clock
        self._lock = threading.Lock()
        #: How many times the end was torn and told of, since the start; writes that failed.
        self.recovered = 0
        self.failures = 0
        self._told_of_failure = False
        #: Whether the end of the file may not be what memory says.
        self._in_doubt = False
        with ExitStack() as undo:
            self._owner = Owner(path, "audit log")
            undo.callback(self._owner.close)
            try:
                self._file = LogFile(path, max_bytes=max_file_bytes)
                undo.callback(self._file.close)
                self._head, self._left = self._look()
            except OSError as error:
                reason = error.strerror or str(error)
                raise FileError(f"{path}: the audit log cannot be opened: {reason}") from None
            undo.pop_all()
        with self._lock:
            try:
                self._tell_of_torn()
            except OSError as error:  # a full disk: the next append tries again
                self._failed(error)

    @property
    def head(self) -> Head:
        """The last entry that is on the disk."""
        return self._head

    def append(self, entry: Entry) -> Head:
        """Write an entry; it is on the disk when this returns. Returns the new head.

        Raises AuditUnavailable.
        """
        members = self._members(entry)
        with self._lock:
            try:
                self._look_again()
                self._tell_of_torn()
                return self._write(members)
            except OSError as error:
                self._failed(error)
                raise AuditUnavailable(_hint(error)) from None
            except ConfigError as error:  # after a failed write: the end is not ours any more
                raise AuditUnavailable(error.message) from None

    def close(self) -> None:
        """Close the file and let other processes have it."""
        with self._lock:
            self._file.close()
            self._owner.close()

    def _write(self, members: dict[str, Any], *, before: bytes = b"", rotate: bool = True) -> Head:
        line, head = self._chain.seal(self._head.seq + 1, members, self._head.mac)
        self._file.append(before + line, rotate=rotate)
        self._head = head
        self._told_of_failure = False
        return head

    def _tell_of_torn(self) -> None:
        """Vouch for what was found behind the last entry: it stays where it is, and is named."""
        if not self._left:
            return
        whole = lacks_only_its_end(self._left, self._head, self._chain)
        if whole is not None:
            self._file.append(b"\n", rotate=False)
            self._head, self._left = whole, b""
            return
        end = b"" if self._left.endswith(b"\n") else b"\n"
        left = self._left + end
        digest = self._chain.torn()
        digest.update(left)
        members = {
            "time": self._now(),
            "stage": "recovered",
            "kind": kind_of(self._left),
            "bytes": len(left),
            "digest": digest.hexdigest(),
        }
        self._write(members, before=end, rotate=False)
        self._left = b""
        self.recovered += 1
        logger.warning(
            "%s: %d bytes behind entry %d are no entry (%s); entry %d tells of them",
            self._file.path,
            len(left),
            self._head.seq - 1,
            members["kind"],
            self._head.seq,
        )

    def _look(self) -> tuple[Head, bytes]:
        """Return the last entry of the log, and what stands behind it."""
        tail = self._file.tail(WINDOW_BYTES)
        end = find_end(tail, self._chain)
        if end.head is not None:
            return end.head, end.left
        older = numbered(self._file.path)
        before = self._end_of(older[-1]) if older else End(START, b"")
        foreign = any(looks_like_entry(line + b"\n") for line in tail.split(b"\n")[:-1])
        if (
            before.head is None
            or before.left
            or len(tail) == WINDOW_BYTES
            or (foreign and not older)
        ):
            raise ConfigError(
                f"{self._file.path}: the audit log does not end with an entry of this key",
                hint="Bring back the key or the log; or move the log away, and a new one begins.",
            )
        return before.head, tail

    def _end_of(self, path: Path) -> End:
        with path.open("rb") as file:
            return find_end(read_tail(file.fileno(), WINDOW_BYTES), self._chain)

    def _look_again(self) -> None:
        """After a failed write: see what it left."""
        if not self._in_doubt:
            return
        self._file.measure()
        head, left = self._look()
        if head.seq < self._head.seq:
            raise ReplacedError(f"{self._file.path} was cut by somebody else")
        self._head, self._left = head, left
        self._in_doubt = False

    def _failed(self, error: OSError) -> None:
        self.failures += 1
        self._in_doubt = self._in_doubt or not isinstance(error, ReplacedError)
        if not self._told_of_failure:  # once, not for each request while the disk is full
            self._told_of_failure = True
            logger.error("%s: cannot be written: %s", self._file.path, error)

    def _now(self) -> str:
        moment = datetime.fromtimestamp(self._clock(), UTC).replace(tzinfo=None)
        return moment.isoformat(timespec="microseconds") + "Z"

    def _members(self, entry: Entry) -> dict[str, Any]:
        actor = entry.actor
        return {
            "time": self._now(),
            "stage": entry.stage,
            "action": _cut(entry.action_id),
            "verb": _cut(entry.verb),
            "target": self._target(entry.target),
            "dry_run": entry.dry_run,
            "actor": actor and {"name": _cut(actor.name), "role": actor.role, "via": actor.via},
            "outcome": _cut(entry.outcome),
            "args": None if entry.arguments is None else self._chain.arguments(entry.arguments),
        }

    def _target(self, target: Target) -> dict[str, Any]:
        names = ("task_id", "group_id", "queue", "task_name")
        told: dict[str, Any] = {
            name: _cut(value) for name in names if (value := getattr(target, name)) is not None
        }
        if len(target.task_ids) > MAX_IDS:
            ids = json.dumps(target.task_ids, separators=(",", ":")).encode()
            told["task_ids"] = {"count": len(target.task_ids), "hmac": self._chain.arguments(ids)}
        elif target.task_ids:
            told["task_ids"] = [_cut(task_id) for task_id in target.task_ids]
        return told


def _cut(text: str) -> str:
    if len(text) <= _MOST_CHARACTERS:
        return str(text)
    return f"{text[:_MOST_CHARACTERS]}… ({len(text)} characters)"


def _hint(error: OSError) -> str:
    if isinstance(error, ReplacedError):
        return "The file was changed by somebody else: look into it, and restart the exporter."
    return f"The system says: {error.strerror or 'an I/O error'}."
