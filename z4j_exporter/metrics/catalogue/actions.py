"""The families about the actions, as data; there only where actions are on."""

from z4j_exporter.metrics.store import Family

ACTIONS = Family(
    "celery_exporter_actions_total",
    "counter",
    "Actions, by what they were and what came of them: a state, or why they were refused.",
    ("action", "outcome"),
    counts="action",
)
ACTION_AUTH_FAILURES = Family(
    "celery_exporter_action_auth_failures_total",
    "counter",
    "Requests to the actions whose sender could not be told, by why not.",
    ("reason",),
    counts="request",
)
ACTION_DENIALS = Family(
    "celery_exporter_action_denials_total",
    "counter",
    "Actions that somebody known was not allowed to do.",
    ("reason",),
    counts="action",
)
ACTION_RATE_LIMITED = Family(
    "celery_exporter_action_rate_limited_total",
    "counter",
    "Requests to the actions that were too many: of somebody known, or failures of one address.",
    ("by",),
    counts="request",
)
ACTION_TOKENS = Family(
    "celery_exporter_action_tokens",
    "gauge",
    "Entries of the token file that are in force.",
    ("kind",),
    counts="entry",
)
ACTION_TOKEN_RELOADS = Family(
    "celery_exporter_action_token_reloads_total",
    "counter",
    "Changes of the token file that took effect, or were refused.",
    ("outcome",),
    counts="change",
)
ACTION_TOKENS_CURRENT = Family(
    "celery_exporter_action_tokens_current",
    "gauge",
    "1 while the token file as it is now is in force, 0 while it is broken and an older one holds.",
)
ALERT_RULES = Family(
    "celery_exporter_alert_rules_total",
    "counter",
    "Alerts by the rule that matched and what was decided.",
    ("rule", "decision"),
    counts="alert",
)
ALERTS_WAITING = Family(
    "celery_exporter_alert_actions_waiting",
    "gauge",
    "Actions that alerts asked for and that wait for their turn.",
    counts="action",
)
ALERT_BREAKER_OPEN = Family(
    "celery_exporter_alert_rule_breaker_open",
    "gauge",
    "1 while a rule is stopped since what it retried failed again, else 0.",
    ("rule",),
)
ALERT_NOTIFICATIONS = Family(
    "celery_exporter_alert_notifications_total",
    "counter",
    "Messages of Alertmanager's by the status of the answer: after 503 it sends them again.",
    ("code",),
    counts="message",
)
ALERTS_TRUNCATED = Family(
    "celery_exporter_truncated_alerts_total",
    "counter",
    "Alerts that Alertmanager left out of a message.",
    counts="alert",
)
AUDIT_ENTRIES = Family(
    "celery_exporter_audit_entries",
    "gauge",
    "Number of the audit log's last entry: it only grows, unless the log was cut.",
    counts="entry",
)
AUDIT_HEAD = Family(
    "celery_exporter_audit_head_info",
    "gauge",
    "Always 1: the beginning of the seal of the audit log's last entry.",
    ("mac",),
)
AUDIT_RECOVERED = Family(
    "celery_exporter_audit_recovered_total",
    "counter",
    "Torn ends of the audit log that were found and vouched for.",
    counts="end",
)
AUDIT_FAILURES = Family(
    "celery_exporter_audit_failures_total",
    "counter",
    "Entries that the audit log could not take: what they were about was refused.",
    counts="entry",
)
ACTION_HTTP_REQUESTS = Family(
    "celery_exporter_action_http_requests_total",
    "counter",
    "Answers of the actions' listener, by route (/v1/tasks/{task_id}); what is none is other.",
    ("path", "code"),
    counts="request",
)

ACTION_FAMILIES = (
    ACTIONS, ACTION_AUTH_FAILURES, ACTION_DENIALS, ACTION_RATE_LIMITED, ACTION_TOKENS,
    ACTION_TOKEN_RELOADS, ACTION_TOKENS_CURRENT, ALERT_RULES, ALERTS_WAITING, ALERT_BREAKER_OPEN,
    ALERT_NOTIFICATIONS, ALERTS_TRUNCATED, AUDIT_ENTRIES, AUDIT_HEAD, AUDIT_RECOVERED,
    AUDIT_FAILURES, ACTION_HTTP_REQUESTS,
)  # fmt: skip
