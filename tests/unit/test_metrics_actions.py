"""What the actions' families show, and what is there before anything was counted."""

from typing import Any

from z4j_exporter.metrics.actions import ActionReadings, action_snapshots


def shown(**readings: Any) -> dict[str, dict[str, Any]]:
    """The samples of each family by their labels."""
    nothing: dict[str, Any] = {
        "actions": {}, "authentications": {}, "denials": {}, "rate_limited": {},
        "token_entries": {}, "token_reloads_ok": 0, "token_reloads_failed": 0,
        "last_token_reload_ok": True, "alert_rules": {}, "alerts_waiting": None,
        "truncated_alerts": 0, "breakers_open": {}, "notifications": {}, "audit_seq": 0,
        "audit_mac": "", "audit_recovered": 0, "audit_failures": 0, "http_requests": {},
    }  # fmt: skip
    snapshots = action_snapshots(ActionReadings(**{**nothing, **readings}))
    return {one.family.name: dict(one.samples) for one in snapshots}


def test_alerts_are_shown_where_there_are_rules() -> None:
    assert not [name for name in shown() if "alert" in name]
    families = shown(
        alerts_waiting=2,
        truncated_alerts=3,
        alert_rules={("retry", "queued"): 1},
        breakers_open={"retry": True, "other": False},
        notifications={200: 5},
    )
    alerts = {name: samples for name, samples in families.items() if "alert" in name}
    assert alerts == {
        "celery_exporter_alert_rules_total": {'rule="retry",decision="queued"': 1},
        "celery_exporter_alert_actions_waiting": {"": 2},
        "celery_exporter_alert_rule_breaker_open": {'rule="other"': 0, 'rule="retry"': 1},
        "celery_exporter_alert_notifications_total": {
            'code="200"': 5,
            'code="202"': 0,
            'code="503"': 0,
        },
        "celery_exporter_truncated_alerts_total": {"": 3},
    }


def test_the_first_of_each_is_an_increase() -> None:
    families = shown(actions={("retry", "done"): 1})
    actions = families["celery_exporter_actions_total"]
    assert actions['action="retry",outcome="done"'] == 1
    assert actions['action="purge",outcome="refused"'] == 0
    assert families["celery_exporter_action_denials_total"]['reason="role"'] == 0
