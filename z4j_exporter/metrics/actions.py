"""Turns what the actions say of themselves into metric families."""

from collections.abc import Mapping
from dataclasses import dataclass

from z4j_exporter.metrics.catalogue import actions as c
from z4j_exporter.metrics.labels import clean
from z4j_exporter.metrics.store import Family, FamilySnapshot, label_text

#: There from the start, at 0: the first of each is to be seen as an increase.
_VERBS = ("retry", "cancel", "terminate", "retry-group", "bulk-retry", "purge")
_OUTCOMES = ("done", "refused", "failed", "unknown")
_AUTH_REASONS = (
    "missing", "malformed", "scheme", "token_in_url", "mistyped", "unknown", "expired", "not_yet",
    "certificate_unknown", "certificate_ambiguous", "certificate_ended",
)  # fmt: skip
_DENIALS = ("role", "task_scope", "queue_scope", "task_unknown", "queue_unknown")
#: Digits of the audit log's last seal that are shown: enough to tell two apart.
_MAC_DIGITS = 16


@dataclass(frozen=True)
class ActionReadings:
    """What the parts of the actions count, at one moment."""

    #: By verb and outcome: a state, or the kind of a problem.
    actions: Mapping[tuple[str, str], int]
    #: By result; ``accepted`` is among them.
    authentications: Mapping[str, int]
    denials: Mapping[str, int]
    rate_limited: Mapping[str, int]
    token_entries: Mapping[str, int]
    token_reloads_ok: int
    token_reloads_failed: int
    last_token_reload_ok: bool
    #: By rule ("" where none matched) and decision.
    alert_rules: Mapping[tuple[str, str], int]
    #: None where there are no rules.
    alerts_waiting: int | None
    truncated_alerts: int
    #: By rule, whether its breaker is open.
    breakers_open: Mapping[str, bool]
    #: By the status of the answer.
    notifications: Mapping[int, int]
    audit_seq: int
    audit_mac: str
    audit_recovered: int
    audit_failures: int
    http_requests: Mapping[tuple[str, int], int]


def action_snapshots(r: ActionReadings) -> list[FamilySnapshot]:
    """Return all families."""
    actions = {(verb, outcome): 0 for verb in _VERBS for outcome in _OUTCOMES} | dict(r.actions)
    failures = {k: n for k, n in r.authentications.items() if k != "accepted"}
    snapshots = [
        _each(c.ACTIONS, _pairs(actions)),
        _each(c.ACTION_AUTH_FAILURES, _named(dict.fromkeys(_AUTH_REASONS, 0) | failures)),
        _each(c.ACTION_DENIALS, _named(dict.fromkeys(_DENIALS, 0) | dict(r.denials))),
        _each(c.ACTION_RATE_LIMITED, _named({"actor": 0, "peer": 0} | dict(r.rate_limited))),
        _each(c.ACTION_TOKENS, _named(r.token_entries)),
        _each(
            c.ACTION_TOKEN_RELOADS,
            _named({"applied": r.token_reloads_ok, "refused": r.token_reloads_failed}),
        ),
        FamilySnapshot(c.ACTION_TOKENS_CURRENT, [("", int(r.last_token_reload_ok))]),
        FamilySnapshot(c.AUDIT_ENTRIES, [("", r.audit_seq)]),
        _each(c.AUDIT_HEAD, {(r.audit_mac[:_MAC_DIGITS],): 1}),
        FamilySnapshot(c.AUDIT_RECOVERED, [("", r.audit_recovered)]),
        FamilySnapshot(c.AUDIT_FAILURES, [("", r.audit_failures)]),
        _each(
            c.ACTION_HTTP_REQUESTS, {(p, str(code)): n for (p, code), n in r.http_requests.items()}
        ),
    ]
    if r.alerts_waiting is not None:
        snapshots += [
            _each(c.ALERT_RULES, _pairs(r.alert_rules)),
            FamilySnapshot(c.ALERTS_WAITING, [("", r.alerts_waiting)]),
            _each(c.ALERT_BREAKER_OPEN, _named({k: int(v) for k, v in r.breakers_open.items()})),
            _each(
                c.ALERT_NOTIFICATIONS,
                {(str(code),): n for code, n in ({202: 0, 503: 0} | dict(r.notifications)).items()},
            ),
            FamilySnapshot(c.ALERTS_TRUNCATED, [("", r.truncated_alerts)]),
        ]
    return snapshots


def _named(values: Mapping[str, int]) -> dict[tuple[str, ...], int]:
    return {(name,): value for name, value in values.items()}


def _pairs(values: Mapping[tuple[str, str], int]) -> dict[tuple[str, ...], int]:
    return {(*pair,): value for pair, value in values.items()}


def _each(family: Family, values: Mapping[tuple[str, ...], int]) -> FamilySnapshot:
    return FamilySnapshot(
        family,
        [
            (label_text(family.labels, tuple(clean(label) for label in labels)), value)
            for labels, value in sorted(values.items())
        ],
    )
