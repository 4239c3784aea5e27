"""Actions: who did what to tasks, who was refused, what alerts set off, and the audit log."""

from grafana_foundation_sdk.builders import stat, table, timeseries
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import links
from dashboards.board import Row, dashboard
from dashboards.panels import (
    GREEN,
    NONE_ALLOWED,
    NONE_EXPECTED,
    ORANGE,
    PLAIN,
    RED,
    YES_NO,
    Query,
    lines,
    number,
)
from dashboards.promql import increase, rate, series, total
from dashboards.promql import or_none as or_none_if_alive
from dashboards.promql import or_zero as or_zero_if_alive
from dashboards.tables import Column, rows_of

#: There where actions are on; without them nothing is shown, and not 0.
_ON = "celery_exporter_audit_entries"
_OFF = "actions are off"


def or_zero(expr: str) -> str:
    """Return ``expr``, and 0 where actions are on and nothing happened yet."""
    return or_zero_if_alive(expr, _ON)


def or_none(expr: str, label: str) -> str:
    """Return ``expr``, and one series of 0 where actions are on and nothing happened yet."""
    return or_none_if_alive(expr, label, _ON)


def build() -> Dashboard:
    """Return the dashboard."""
    return dashboard(
        links.ACTIONS,
        "Celery / Actions",
        "Retries, cancellations and purges: by whom, with what outcome; alerts; the audit log.",
        [],
        [
            Row("Is anything wrong?", _verdicts()),
            Row("What was done", _done()),
            Row("Who was refused", _refused()),
            Row("Alerts that act", [_rules(), *_alerts()]),
            Row("Audit log", _audit()),
        ],
    )


def _verdicts() -> list[stat.Panel]:
    return [
        number(
            "Actions",
            "Actions in the time shown, whatever came of them.",
            or_zero(increase("celery_exporter_actions_total")),
            "short",
            PLAIN,
            absent=_OFF,
            decimals=0,
        ),
        number(
            "Sender unknown",
            "Requests in the time shown whose sender could not be told: a wrong, expired or"
            " missing token. In numbers: somebody guesses. By reason: below.",
            or_zero(increase("celery_exporter_action_auth_failures_total")),
            "short",
            NONE_EXPECTED,
            absent=_OFF,
            decimals=0,
        ),
        number(
            "Denied",
            "Actions in the time shown that somebody known was not allowed to do: a scope is"
            " missing in the token file, or somebody tries.",
            or_zero(increase("celery_exporter_action_denials_total")),
            "short",
            NONE_EXPECTED,
            absent=_OFF,
            decimals=0,
        ),
        number(
            "Token file in force",
            "No: the file as it is now is broken, and an older state of it holds. A token that was"
            " revoked since may still be good. The exporter's log says what is wrong.",
            total("celery_exporter_action_tokens_current", how="min"),
            "short",
            (RED, (1, GREEN)),
            texts=YES_NO,
            absent=_OFF,
        ),
        number(
            "Rules stopped",
            "Rules whose breaker is open: what they retried failed again, so they retry no more."
            " Mend the cause first.",
            or_zero(f"sum({series('celery_exporter_alert_rule_breaker_open')})"),
            "short",
            NONE_ALLOWED,
            absent=_OFF,
        ),
        number(
            "Waiting",
            "Actions that alerts asked for and that wait for their turn.",
            or_zero(f"sum({series('celery_exporter_alert_actions_waiting')})"),
            "short",
            PLAIN,
            absent=_OFF,
        ),
        number(
            "Audit failures",
            "Entries in the time shown that the audit log could not take. What they were about was"
            " refused, so nothing happened unseen: look at its disk.",
            or_zero(increase("celery_exporter_audit_failures_total")),
            "short",
            NONE_ALLOWED,
            absent=_OFF,
            decimals=0,
        ),
        number(
            "Audit log cut",
            "Times in the time shown that the number of its last entry went back, which it never"
            " does by itself: somebody cut the log, or put an older one back. Run z4j-exporter"
            " audit verify.",
            f"sum(resets({series(_ON)}[$__range]))",
            "short",
            NONE_ALLOWED,
            absent=_OFF,
        ),
    ]


def _done() -> list[timeseries.Panel]:
    name = "celery_exporter_actions_total"
    return [
        lines(
            "Actions by kind",
            "By what they were, a second.",
            [Query(or_none(rate(name, by=("action",)), "action"), "{{action}}")],
            "ops",
            width=8,
            stacked=True,
        ),
        lines(
            "Outcomes",
            "What came of them: a state, or why they were refused. unknown: the exporter ended"
            " before it knew; look whether it happened.",
            [Query(or_none(rate(name, by=("outcome",)), "outcome"), "{{outcome}}")],
            "ops",
            width=8,
            stacked=True,
        ),
        lines(
            "Answers of the listener",
            "By status. 429: too many requests. 5xx: the log says why.",
            [
                Query(
                    or_none(
                        rate("celery_exporter_action_http_requests_total", by=("code",)), "code"
                    ),
                    "{{code}}",
                )
            ],
            "reqps",
            width=8,
        ),
    ]


def _refused() -> list[timeseries.Panel]:
    refusals = {
        "Senders that could not be told": (
            "celery_exporter_action_auth_failures_total",
            "reason",
            "Requests by why not: no token, a wrong or an expired one, a certificate that is not"
            " known.",
        ),
        "Denied, by reason": (
            "celery_exporter_action_denials_total",
            "reason",
            "Actions that somebody known was not allowed to do, by reason.",
        ),
        "Too many requests": (
            "celery_exporter_action_rate_limited_total",
            "by",
            "By whose limit: of somebody known (--actions-rate), or of one address that failed"
            " again and again.",
        ),
        "Changes of the token file": (
            "celery_exporter_action_token_reloads_total",
            "outcome",
            "Refused: the file was broken, and what held before still holds.",
        ),
    }
    return [
        lines(
            title,
            text,
            [Query(or_none(rate(name, by=(label,)), label), f"{{{{{label}}}}}")],
            "ops",
        )
        for title, (name, label, text) in refusals.items()
    ]


def _rules() -> table.Panel:
    ruled = 'rule!=""'
    name = "celery_exporter_alert_rules_total"
    decided = increase(name, ruled, by=("rule",))
    acted = increase(name, ruled, 'decision=~"done|partial"', by=("rule",))
    breaker = total("celery_exporter_alert_rule_breaker_open", by=("rule",), how="max")
    return rows_of(
        "rule",
        "Rule",
        "Rules",
        "The rules of --actions-rules-file, in the time shown: decisions about alerts that matched,"
        " those that ended in an action, and whether the breaker has stopped the rule, since what"
        " it retried failed again. z4j-exporter rules test says what an alert would cause.",
        [
            Column("Decisions", or_none(decided, "rule"), decimals=0),
            Column("Acted", or_none(f"{acted} or on (rule) 0 * {decided}", "rule"), decimals=0),
            Column(
                "Breaker",
                or_none(breaker, "rule"),
                texts={"0": ("closed", GREEN), "1": ("open: stopped", RED)},
            ),
        ],
        sort="Decisions",
        height=7,
    )


def _alerts() -> list[timeseries.Panel]:
    return [
        lines(
            "Decisions",
            "What was decided about alerts, a second.",
            [
                Query(
                    or_none(
                        rate("celery_exporter_alert_rules_total", by=("decision",)), "decision"
                    ),
                    "{{decision}}",
                )
            ],
            "ops",
            width=8,
        ),
        lines(
            "Alertmanager's messages",
            "By the status of the answer. 401: its token is wrong. 503: it sends them again.",
            [
                Query(
                    or_none(
                        rate("celery_exporter_alert_notifications_total", by=("code",)), "code"
                    ),
                    "{{code}}",
                )
            ],
            "ops",
            width=8,
        ),
        lines(
            "Alerts left out",
            "Alerts that Alertmanager cut off a message (max_alerts): no rule saw them.",
            [Query(or_zero(rate("celery_exporter_truncated_alerts_total")), "left out")],
            "ops",
            width=8,
            steps=(GREEN, (0.001, ORANGE)),
        ),
    ]


def _audit() -> list[timeseries.Panel | table.Panel]:
    heads = series("celery_exporter_audit_head_info")
    return [
        lines(
            "Entries",
            "Number of the last entry: it only grows. A fall: the log was cut.",
            [Query(total(_ON, by=("instance",), how="max"), "{{instance}}")],
            "short",
            width=6,
            lowest=None,
        ),
        lines(
            "Trouble",
            "Failures: entries that it could not take. Recovered: torn ends after a crash that"
            " were found and vouched for.",
            [
                Query(or_zero(rate("celery_exporter_audit_failures_total")), "failures"),
                Query(or_zero(rate("celery_exporter_audit_recovered_total")), "recovered"),
            ],
            "ops",
            width=6,
        ),
        rows_of(
            "mac",
            "Seal of the last entry",
            "Head of the log",
            "The beginning of the last entry's seal, kept by Prometheus where whoever cuts the log"
            " cannot reach it: z4j-exporter audit verify compares.",
            [
                Column("Exporters", f"count by (mac) ({heads})", decimals=0),
            ],
            sort="Exporters",
            width=6,
            height=9,
        ),
        lines(
            "Tokens",
            "Entries of the token file that are in force, by kind.",
            [Query(total("celery_exporter_action_tokens", by=("kind",)), "{{kind}}")],
            "short",
            width=6,
        ),
    ]
