"""Says who asks, and whether they may: tokens and certificates, roles, scopes, rates."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from z4j_exporter.actions.model import NEEDED_ROLE, ActionError, Actor, Role, Verb
from z4j_exporter.actions.rates import RateLimitedError, RateLimits
from z4j_exporter.actions.scopes import within
from z4j_exporter.actions.tokens import digest, is_whole
from z4j_exporter.actions.tokens_bearer import (
    AuthenticationError,
    authorization_of,
    bearer_token,
    unauthenticated,
)
from z4j_exporter.actions.tokens_schema import Entry
from z4j_exporter.actions.tokens_set import (
    TokenSet,
    actor_of,
    certificate_ended,
    standing,
)
from z4j_exporter.actions.tokens_stats import AccessStats, AuthReason, DenialReason

#: Each may do what those before it may. ``alert`` stands apart: it may do nothing of theirs.
_ORDER: tuple[Role, ...] = ("viewer", "operator", "admin")
#: What a rule may do on behalf of an alert: never terminate, never purge.
ALERT_VERBS = frozenset((Verb.RETRY, Verb.CANCEL, Verb.BULK_RETRY))

_REASONS: dict[str, AuthReason] = {"expired": "expired", "not yet": "not_yet"}


class TokenProvider(Protocol):
    """Says which entries hold at this moment; asked for each request, by any thread."""

    def tokens(self) -> TokenSet:
        """Return the entries in force."""


class Authorizer:
    """Who is it, and may they? Any thread may ask."""

    def __init__(
        self,
        provider: TokenProvider,
        stats: AccessStats,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``clock`` returns epoch seconds: entries have an end."""
        self._provider = provider
        self._stats = stats
        self._clock = clock

    def authenticate(
        self, authorization: bytes | str | None, certificate: Mapping[str, Any] | None
    ) -> Actor:
        """Return who asks: the Authorization header's token, or else the client certificate.

        A header is never passed over: with a wrong token, a good certificate does not help, since
        the caller believes to be somebody else. ``certificate`` is what ssl's ``getpeercert()``
        says of one that was verified.

        Raises AuthenticationError: 400 for a header that cannot be read, else 401, which never
        says why: unknown, expired, not yet good and revoked look alike.
        """
        try:
            if authorization is not None:
                entry = self._by_token(bearer_token(authorization))
            elif certificate:
                entry = self._by_certificate(certificate)
            else:
                raise unauthenticated("missing")
            state = standing(entry, self._clock())
            if state != "active":
                raise unauthenticated(_REASONS[state])
        except AuthenticationError as error:
            self._stats.count_authentication(error.reason)
            raise
        self._stats.count_authentication("accepted")
        return actor_of(entry)

    def still_holds(self, actor: Actor) -> bool:
        """Return whether an actor of an earlier request would be let in now, with the same rights.

        For what goes on long after it was asked: a bulk retry ends with the token that began it.
        """
        now = self._clock()
        for entry in self._provider.tokens().entries:
            known = actor_of(entry)
            if actor.via == "alert" and known.role == "alert":
                known = for_rule(known, actor.name)  # whoever posts alerts may change its name
            if known == actor and standing(entry, now) == "active":
                return True
        return False

    def permit_role(self, actor: Actor, verb: Verb) -> None:
        """Check the role alone, before anything is looked up; raises ActionError (403)."""
        if actor.role == "alert":
            allowed = actor.via == "alert" and verb in ALERT_VERBS
        else:
            allowed = _at_least(actor.role, NEEDED_ROLE[verb])
        if not allowed:
            raise self._denied(
                "role",
                "forbidden",
                f"The role {actor.role} may not do this.",
                f"It needs the role {NEEDED_ROLE[verb]}."
                if actor.role != "alert"
                else "Alerts can retry, cancel and retry in bulk, by rules alone.",
            )

    def permit(self, actor: Actor, verb: Verb, *, task_name: str | None, queue: str | None) -> None:
        """Check role and scope for one task, or for one queue to purge.

        Of a group or in bulk, each task is asked for by itself. When a task goes to another queue
        than it came from, both are asked for. ``None`` is a name that is not known: who has a
        scope is refused then.

        Raises ActionError (403).
        """
        self.permit_role(actor, verb)
        # A purge removes the messages of every task: a scope of tasks cannot hold for it.
        name = None if verb is Verb.PURGE else task_name
        denial = scope_denial(actor, task_name=name, queue=queue)
        if denial is not None:
            raise self._denied(denial, "out-of-scope", *_SCOPE_WORDS[denial])

    def permit_read(self, actor: Actor) -> None:
        """Check that an actor may see tasks, groups and actions; raises ActionError (403)."""
        if not _at_least(actor.role, "viewer"):
            raise self._denied(
                "role", "forbidden", f"The role {actor.role} may not do this.",
                "A token for alerts is good for the route of Alertmanager alone.",
            )  # fmt: skip

    def permit_alerts(self, actor: Actor) -> None:
        """Check that an actor may deliver alerts; raises ActionError (403)."""
        if actor.role != "alert":
            raise self._denied(
                "role", "forbidden", f"The role {actor.role} may not deliver alerts.",
                "Give Alertmanager a token of its own: `token new NAME --role alert`.",
            )  # fmt: skip

    def may_see(self, actor: Actor, *, task_name: str | None, queue: str | None) -> bool:
        """Return whether a task is within an actor's scope; what is not looks like none at all.

        Not a denial: lists leave out what may not be seen, one task is answered with 404.
        """
        readable = _at_least(actor.role, "viewer")
        return readable and scope_denial(actor, task_name=task_name, queue=queue) is None

    def _by_token(self, token: str) -> Entry:
        if not is_whole(token):
            raise unauthenticated("mistyped")
        entry = self._provider.tokens().of_token(digest(token))
        if entry is None:
            raise unauthenticated("unknown")
        return entry

    def _by_certificate(self, certificate: Mapping[str, Any]) -> Entry:
        found = self._provider.tokens().of_certificate(certificate)
        if not found:
            raise unauthenticated("certificate_unknown")
        if len(found) > 1:
            # One of its names would give more than another; nobody said which one counts.
            raise unauthenticated("certificate_ambiguous")
        if certificate_ended(certificate, self._clock()):
            raise unauthenticated("certificate_ended")
        return found[0]

    def _denied(self, reason: DenialReason, kind: str, detail: str, hint: str) -> ActionError:
        self._stats.count_denial(reason)
        return ActionError(kind, 403, detail, hint=hint)


class Admission:
    """Authenticates a request within the limits of its rate. Any thread may ask."""

    def __init__(
        self,
        authorizer: Authorizer,
        limits: RateLimits,
        stats: AccessStats,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._authorizer = authorizer
        self._limits = limits
        self._stats = stats
        self._clock = clock

    def admit(
        self,
        headers: Iterable[tuple[bytes, bytes]],
        query: bytes,
        certificate: Mapping[str, Any] | None,
        peer: str | None,
        *,
        limited: bool = True,
    ) -> Actor:
        """Return who asks. Headers and query are in ASGI's form, ``peer`` is the client's address.

        A valid token is let in however many failures its address has seen: others may share it.

        Raises AuthenticationError, and RateLimitedError (429) unless ``limited`` is false: that is
        for the route of Alertmanager, which would drop alerts that are answered with 429. There, a
        failure beyond the limit is ``quiet``: it is to be counted, not written down.
        """
        try:
            authorization = self._authorization(headers, query)
            actor = self._authorizer.authenticate(authorization, certificate)
        except AuthenticationError as error:
            self._failed(error, peer, limited=limited)
            raise
        if limited and (wait := self._limits.request(actor.name, self._clock())):
            self._stats.count_rate_limited("actor")
            raise RateLimitedError("actor", wait)
        return actor

    def _authorization(self, headers: Iterable[tuple[bytes, bytes]], query: bytes) -> bytes | None:
        try:
            return authorization_of(headers, query)
        except AuthenticationError as error:
            self._stats.count_authentication(error.reason)
            raise

    def _failed(self, error: AuthenticationError, peer: str | None, *, limited: bool) -> None:
        wait = self._limits.failure(peer, self._clock())
        error.quiet = wait > 0
        if wait and limited:
            self._stats.count_rate_limited("peer")
            raise RateLimitedError("peer", wait) from None


def for_rule(poster: Actor, rule: str) -> Actor:
    """Return the actor that a rule acts as: the rule's name, within the scope of who posted."""
    return Actor(rule, "alert", "alert", poster.tasks, poster.queues)


def scope_denial(actor: Actor, *, task_name: str | None, queue: str | None) -> DenialReason | None:
    """Return why a task or queue is not within an actor's scope; None when it is."""
    if not within(task_name, actor.tasks):
        return "task_unknown" if task_name is None else "task_scope"
    if not within(queue, actor.queues):
        return "queue_unknown" if queue is None else "queue_scope"
    return None


_SCOPE_WORDS: dict[DenialReason, tuple[str, str]] = {
    "task_scope": ("The task is not among those that this token may touch.", ""),
    "queue_scope": ("The queue is not among those that this token may touch.", ""),
    "task_unknown": (
        "This token may touch some tasks only, and which one this is about is not known.",
        "A purge touches every task of its queue; the name of a task is known from its events. A "
        "token without a scope of tasks may do it.",
    ),
    "queue_unknown": (
        "This token may touch some queues only, and which one this is about is not known.",
        "The queue is known from the event task-sent (task_send_sent_event), or can be given. A "
        "token without a scope of queues may do it.",
    ),
}


def _at_least(role: Role, needed: Role) -> bool:
    return role in _ORDER and _ORDER.index(role) >= _ORDER.index(needed)
