"""The API of the actions on a loopback listener, with stubs where a test brings nothing real."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from z4j_exporter.actions.api import Api
from z4j_exporter.actions.api_alerts import TakesAlerts, no_rules
from z4j_exporter.actions.audit import AuditLog
from z4j_exporter.actions.audit_verify import Report, verify
from z4j_exporter.actions.engine import Engine
from z4j_exporter.actions.engine_parts import EngineLimits, Performs
from z4j_exporter.actions.engine_request import Filter
from z4j_exporter.actions.engine_tasks import TaskFacts, fitting
from z4j_exporter.actions.locate import Held
from z4j_exporter.actions.model import ActionError, Payload
from z4j_exporter.actions.perform_receipts import (
    PurgeReceipt,
    RevokeReceipt,
    SendReceipt,
    TaskKnown,
    TerminateReceipt,
)
from z4j_exporter.actions.policy import Admission, Authorizer
from z4j_exporter.actions.rates import RateLimits
from z4j_exporter.actions.records import ActionJournal
from z4j_exporter.actions.serve import actions_listener
from z4j_exporter.actions.tokens import make_token, stored
from z4j_exporter.actions.tokens_schema import TokenFileSchema
from z4j_exporter.actions.tokens_set import TokenSet
from z4j_exporter.actions.tokens_stats import AccessStats
from z4j_exporter.web.connections import Limits
from z4j_exporter.web.listener import Listener, WebPolicy
from z4j_exporter.web.stats import WebStats

AUDIT_KEY = b"k" * 32
ROLES = ("viewer", "operator", "admin", "alert")


class Tokens:
    """One token for each role; ``add`` makes others."""

    def __init__(self) -> None:
        self.of = {role: make_token() for role in ROLES}
        self._entries = [
            {"name": role, "role": role, "hash": stored(token)} for role, token in self.of.items()
        ]

    def add(self, name: str, **more: Any) -> str:
        """Make a token of that name, with what a token file may say of it."""
        token = self.of[name] = make_token()
        self._entries.append({"name": name, "hash": stored(token), **more})
        return token

    def remove(self, name: str) -> None:
        """Revoke a token."""
        self._entries = [entry for entry in self._entries if entry["name"] != name]

    def certify(self, name: str, **more: Any) -> None:
        """Let a client certificate in."""
        self._certificates = [{"name": name, **more}]

    _certificates: Sequence[dict[str, Any]] = ()

    def tokens(self) -> TokenSet:
        """Return what is in force."""
        document = {"tokens": self._entries, "certificates": list(self._certificates)}
        return TokenSet.of(TokenFileSchema.model_validate(document))


@dataclass
class Remembered:
    """Tasks as the tracker would remember them."""

    tasks: dict[str, TaskFacts] = field(default_factory=dict)

    def put(self, task_id: str, **facts: Any) -> TaskFacts:
        """Remember a task."""
        self.tasks[task_id] = made = TaskFacts(task_id, **facts)
        return made

    def get(self, task_id: str) -> TaskFacts | None:
        return self.tasks.get(task_id)

    def get_all(self, task_ids: Sequence[str]) -> dict[str, TaskFacts]:
        return {one: self.tasks[one] for one in task_ids if one in self.tasks}

    def find(self, wanted: Filter, limit: int) -> Sequence[TaskFacts]:
        return list(fitting(iter(self.tasks.values()), wanted))[:limit]


class Stub:
    """Performs nothing, and keeps what it was asked for.

    ``fails``: what a call of that name raises. ``payloads``: what tasks were sent with.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.sent: list[tuple[str, str]] = []
        self.sent_with: list[Payload] = []
        self.fails: dict[str, Exception] = {}
        self.payloads: dict[str, Payload] = {}
        self.known: dict[str, TaskKnown] = {}
        self.held_up = threading.Event()
        self.held_up.set()

    def has(self, task_id: str, name: str = "math.add", **more: Any) -> None:
        """Know what a task was sent with."""
        known: dict[str, Any] = {"queue": "celery", "source": "capture", **more}
        self.payloads[task_id] = Payload(
            name=name, body=None, content_type="application/json", content_encoding="utf-8",
            args=(1, 2), kwargs={}, **known,
        )  # fmt: skip

    def _call(self, name: str, target: str) -> None:
        self.calls.append((name, target))
        assert self.held_up.wait(20)
        if name in self.fails:
            raise self.fails[name]

    def find(self, task_id: str, caller: Any = None, others: Any = (), **_: Any) -> Payload:
        self._call("find", task_id)
        if task_id not in self.payloads:
            for found in (other() for other in others):
                if found is not None:
                    return found
        if task_id not in self.payloads and caller is not None and caller.args is not None:
            self.has(task_id, caller.name or "math.add", source="caller")
        if task_id not in self.payloads:
            raise ActionError("payload-unavailable", 422, "nobody knows it")
        return self.payloads[task_id]

    def send(self, payload: Payload, new_id: str, *, retry_of: str, **more: Any) -> SendReceipt:
        self._call("send", retry_of)
        self.sent.append((retry_of, new_id))
        self.sent_with.append(payload)
        queue = more.get("queue") or payload.queue
        return SendReceipt(new_id, queue, "", queue or "", payload.source, (), (), ())

    def revoke(self, task_id: str, **_: Any) -> RevokeReceipt:
        self._call("revoke", task_id)
        return RevokeReceipt(("w1@test",), None, {})

    def terminate(self, task_id: str, **_: Any) -> TerminateReceipt:
        self._call("terminate", task_id)
        return TerminateReceipt("w1@test", "prefork", "SIGTERM", {})

    def state(self, task_id: str, **_: Any) -> TaskKnown:
        self._call("state", task_id)
        nothing = TaskKnown(None, {}, (Held("w1@test", "active", {}, "prefork"),), 1)
        return self.known.get(task_id, nothing)

    def purge_count(self, queue: str, **_: Any) -> PurgeReceipt:
        self._call("purge_count", queue)
        return PurgeReceipt(3, {"0": 3})

    def purge(self, queue: str, **_: Any) -> PurgeReceipt:
        self._call("purge", queue)
        return PurgeReceipt(3, {"0": 3})


@dataclass
class Office:
    """Engine, journal and audit log in a directory; everything that the API asks."""

    directory: Path
    engine: Engine
    journal: ActionJournal
    log: AuditLog
    tokens: Tokens
    access: AccessStats
    admission: Admission

    def audited(self) -> Report:
        """Verify the audit log."""
        return verify(self.directory / "audit", AUDIT_KEY, expected=self.log.head)

    def lines(self) -> list[str]:
        """Return the audit log."""
        return (self.directory / "audit").read_text().splitlines()


@contextlib.contextmanager
def office(
    directory: Path,
    *,
    performer: Performs | None = None,
    tasks: Any = None,
    groups: Any = None,
    chords: Any = None,
    tokens: Tokens | None = None,
    limits: EngineLimits | None = None,
    rate: float = 10_000.0,
    on_step: Callable[[str], None] = lambda _: None,
) -> Iterator[Office]:
    """An engine that was started; stopped and closed after the block."""
    tokens = tokens or Tokens()
    access = AccessStats()
    authorizer = Authorizer(tokens, access)
    journal = ActionJournal(directory / "journal")
    log = AuditLog(directory / "audit", AUDIT_KEY)
    engine = Engine(
        journal=journal,
        audit=log,
        performer=performer or Stub(),
        access=authorizer,
        tasks=tasks if tasks is not None else Remembered(),
        groups=groups,
        chords=chords,
        limits=limits or EngineLimits(bulk_rate=1000.0),
        on_step=on_step,
    )
    engine.start()
    try:
        yield Office(
            directory, engine, journal, log, tokens, access,
            Admission(authorizer, RateLimits(rate), access),
        )  # fmt: skip
    finally:
        engine.stop(5.0)
        journal.close()
        log.close()


@dataclass
class Served:
    """The API on a port."""

    listener: Listener
    office: Office
    verify: Any = True

    def ask(
        self, method: str, path: str, role: str | None = "operator", **more: Any
    ) -> httpx.Response:
        """Make a request with a role's token; none with None."""
        headers = dict(more.pop("headers", {}))
        if role is not None:
            headers["Authorization"] = f"Bearer {self.office.tokens.of[role]}"
        if key := more.pop("key", None):
            headers["Idempotency-Key"] = key
        with httpx.Client(verify=self.verify, timeout=20, cert=more.pop("cert", None)) as client:
            return client.request(method, self.listener.url + path, headers=headers, **more)

    def get(self, path: str, role: str | None = "viewer", **more: Any) -> httpx.Response:
        return self.ask("GET", path, role, **more)

    def post(self, path: str, role: str | None = "operator", **more: Any) -> httpx.Response:
        return self.ask("POST", path, role, **more)


@contextlib.contextmanager
def served(
    made: Office,
    *,
    alerts: TakesAlerts = no_rules,
    limits: Limits | None = None,
    web_config: WebPolicy | None = None,
) -> Iterator[Served]:
    """The API of an office on a free port."""
    stats = WebStats()
    api = Api(made.engine, made.admission, alerts=alerts, stats=stats)
    listener = actions_listener(
        api, "127.0.0.1:0", limits=limits, web_config=web_config, stats=stats
    )
    listener.start()
    try:
        yield Served(listener, made)
    finally:
        listener.stop(5.0)
        api.close()
        assert not listener.alive
