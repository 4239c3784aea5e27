"""``z4j-exporter rules`` as people run it before they enable a rule: words and exit codes."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import PROJECT, run_command

EXAMPLES = PROJECT / "examples"
ACTS, CONFIG, FILE, NOTHING = 0, 3, 5, 14

RULES = """
rules:
  - name: retry
    matchers: ['alertname="Fail"', 'severity=~"warning|critical"']
    enabled: true
    action: {verb: bulk-retry, task: "{{ labels.task }}", since: 30m, max: 10}
    tasks: ["shop.*"]
    max_in_flight: 2
  - name: look
    matchers: ['alertname="Fail"', 'queue!="slow"']
    action: {verb: cancel, task_id: "{{ labels.task_id }}"}
"""


def alert(status: str = "firing", **labels: str) -> dict[str, Any]:
    known = {"alertname": "Fail", "severity": "critical", "task": "shop.pay"}
    return {"status": status, "labels": known | labels, "startsAt": "2026-11-20T10:00:00Z"}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "rules.yaml").write_text(RULES)
    return tmp_path


def try_rules(
    files: Path, document: Any, *args: str, rules: str = "rules.yaml"
) -> "subprocess.CompletedProcess[str]":
    path = files / "alert.json"
    path.write_text(json.dumps(document))
    return run_command("rules", "test", str(path), "--rules", str(files / rules), *args)


def message(*alerts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"version": "4", "alerts": list(alerts), **more}


def test_what_would_happen_and_why(files: Path) -> None:
    result = try_rules(files, message(alert(), alert(severity="page"), alert("resolved")))
    assert (result.returncode, result.stderr) == (ACTS, "")
    lines = result.stdout.splitlines()
    assert lines[:4] == [
        'Fail {alertname="Fail", severity="critical", task="shop.pay"}',
        "  retry: would act",
        "    verb=bulk-retry, limit=10, task=shop.pay, state=failed, since=1795167000.0",
        "    limits: cooldown 3600 s, 10 an hour, 2 in flight, breaker after 3 failures",
    ]
    assert lines[4] == "  look: cannot act: the alert has no label task_id"
    assert '  retry: does not match: severity=~"warning|critical"' in lines
    assert lines[-2].endswith("resolved; takes back what waits, and causes nothing")
    assert lines[-1] == "1 queued, 2 unfilled, 1 unmatched"


def test_limits_are_those_of_a_fresh_exporter(files: Path) -> None:
    several = [alert(task=f"shop.{number}") for number in range(4)]
    result = try_rules(files, message(*several, several[0]), "--output", "json")
    assert result.returncode == ACTS
    judged = json.loads(result.stdout)["judged"]
    decisions = [one["decision"] for one in judged if one["rule"] == "retry"]
    assert decisions == ["queued", "queued", "in_flight", "in_flight", "duplicate"]
    assert judged[0]["action"]["task"] == "shop.0"
    assert judged[0]["guards"]["breaker"] == {"failures": 3, "half_open_after": 1800.0}


def test_no_rule_acts(files: Path) -> None:
    result = try_rules(files, message(alert(alertname="Other"), {"labels": {}}, truncatedAlerts=3))
    assert (result.returncode, result.stderr) == (NOTHING, "")
    assert '  retry: does not match: alertname="Fail"' in result.stdout
    assert "1 alerts cannot be used" in result.stdout
    assert "3 alerts were left out" in result.stdout


def test_hostile_labels_do_not_reach_the_terminal(files: Path) -> None:
    hostile = alert(task="\x1b]0;x\x07*", note="n" * 5000)
    result = try_rules(files, message(hostile))
    assert result.returncode == NOTHING
    assert "\x1b" not in result.stdout
    assert "retry: cannot act: the label task has control characters" in result.stdout
    assert max(map(len, result.stdout.splitlines())) < 500


def test_a_label_is_no_glob(files: Path) -> None:
    result = try_rules(files, message(alert(task="shop.*")), "--output", "json")
    assert json.loads(result.stdout)["judged"][0]["action"]["task"] == "shop.[*]"


def test_what_amtool_prints(files: Path) -> None:
    of_api = {**alert(), "status": {"state": "active", "silencedBy": []}, "fingerprint": "ab12"}
    result = try_rules(files, [of_api], "--output", "json")
    assert result.returncode == ACTS
    assert json.loads(result.stdout)["judged"][0]["alert"]["fingerprint"] == "ab12"


@pytest.mark.parametrize("document", [{}, 7, {"version": "3", "alerts": []}])
def test_what_is_no_alert(files: Path, document: Any) -> None:
    result = try_rules(files, document)
    assert (result.returncode, result.stdout) == (CONFIG, "")
    assert result.stderr.startswith(f"z4j-exporter: {files}/alert.json: ")


def test_files_that_are_not_there(files: Path) -> None:
    assert try_rules(files, message(), rules="missing").returncode == FILE
    missing = run_command("rules", "test", str(files / "no"), "--rules", str(files / "rules.yaml"))
    assert missing.returncode == FILE
    assert run_command("rules", "check", str(files / "missing")).returncode == FILE


def test_check(files: Path) -> None:
    result = run_command("rules", "check", str(files / "rules.yaml"))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        'retry (enabled): bulk-retry on alertname="Fail", severity=~"warning|critical"',
        'look (dry run): cancel on alertname="Fail", queue!="slow"',
    ]
    as_json = run_command("rules", "check", str(files / "rules.yaml"), "--output", "json")
    assert [rule["enabled"] for rule in json.loads(as_json.stdout)] == [True, False]


def test_check_of_a_rule_that_goes_too_far(files: Path) -> None:
    path = files / "rules.yaml"
    path.write_text(RULES.replace("verb: cancel", "verb: terminate"))
    result = run_command("rules", "check", str(path))
    assert (result.returncode, result.stdout) == (CONFIG, "")
    assert "rule 2 (look): an alert can retry, bulk-retry and cancel" in result.stderr


def test_the_examples(tmp_path: Path) -> None:
    # Every alert of the examples has a rule, and fills it.
    filled = {"task": "shop.pay", "queue": "shop", "exception": "ConnectionError"}
    for name in (
        "CeleryTasksFailedInAnOutage",
        "CeleryTaskFailureRatioHigh",
        "CeleryTasksLost",
        "CeleryQueueGrows",
    ):
        path = tmp_path / "alert.json"
        labels = {"task": "mail.send"} if name == "CeleryTasksLost" else {}
        one = alert(**(filled | labels | {"alertname": name}))
        path.write_text(json.dumps(message(one)))
        rules = str(EXAMPLES / "rules.yaml")
        result = run_command("rules", "test", str(path), "--rules", rules)
        assert result.returncode == ACTS, result.stdout
        assert "would say what it would do" in result.stdout
