"""A task fails, Prometheus sees it, Alertmanager tells of it, the rule retries it, it succeeds.

Nothing is mocked: the installed exporter, broker, worker, Prometheus and two Alertmanagers.
"""

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import servers
from tests.support.actions import ActionsStage
from tests.support.alertmanager import Alertmanager, alerting, alertmanager
from tests.support.process import free_port, listening, scratch, wait_until
from tests.support.servers import run_command

TASK = "record.fail"
#: Fires while more runs failed than succeeded.
ALERT = f"""
groups:
  - name: tasks
    rules:
      - alert: TasksFail
        expr: >-
          sum by (task) (celery_task_failed_total{{task="{TASK}"}})
          > (sum by (task) (celery_task_succeeded_total{{task="{TASK}"}})
             or 0 * sum by (task) (celery_task_failed_total{{task="{TASK}"}}))
        labels: {{severity: critical}}
"""
RULES = """
rules:
  - name: retry-failed
    matchers: ['alertname="TasksFail"', 'severity=~"warning|critical"']
    enabled: %s
    action: {verb: bulk-retry, task: "{{ labels.task }}", since: 10m, max: 5}
    tasks: ["record.*"]
    cooldown: 1s
    max_per_hour: 100
"""


@dataclass
class Scene:
    """Broker, worker, exporter with actions and rules; ``exporter`` is the process of now."""

    stage: ActionsStage
    directory: Path
    tokens: dict[str, str]
    port: int
    exporter: servers.Exporter | None = None

    @property
    def webhook(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/alertmanager"

    def start(self) -> None:
        """Start the exporter, also after its end: its files are the same."""
        self.exporter = servers.exporter(
            "--broker-url", self.stage.broker, "--actions",
            "--actions-listen-address", f"127.0.0.1:{self.port}",
            "--actions-token-file", str(self.directory / "tokens.yml"),
            "--actions-journal-path", str(self.directory / "journal"),
            "--actions-audit-path", str(self.directory / "audit"),
            "--actions-rules-file", str(self.directory / "rules.yml"),
            env={"Z4J_EXPORTER_RESULT_BACKEND_URL": self.stage.backend},
        )  # fmt: skip
        wait_until(lambda: listening(self.port), 10)

    def get(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {self.tokens['viewer']}"}
        url = f"http://127.0.0.1:{self.port}/v1{path}"
        return httpx.get(url, headers=headers, timeout=10).json()

    def counted(self, decision: str) -> int:
        """Return how often the rule decided so, since the exporter was started."""
        assert self.exporter is not None
        line = (
            rf'celery_exporter_alert_rules_total{{rule="retry-failed",decision="{decision}"}} (\d+)'
        )
        found = re.search(line, self.exporter.scrape())
        return int(found[1]) if found else 0

    def calls(self) -> set[str]:
        """Return the ids under which the task was run."""
        found = self.stage.directory.glob("call-*")
        return {path.name.removeprefix("call-") for path in found}

    def fail(self, *args: object) -> str:
        """Let a task fail because what it needs is down; then bring that back."""
        down = self.stage.directory / "down"
        down.touch()
        task_id = self.stage.send(TASK, *args)
        self.stage.wait_for(task_id, "FAILURE")
        down.unlink()
        wait_until(lambda: self.get(f"/tasks/{task_id}").get("state") == "failed", 20)
        return task_id

    def retried(self, task_id: str) -> str:
        """Wait until the task is run once more, and return its new id."""
        wait_until(lambda: len(self.calls()) > 1, 20, "the task is retried")
        (new_id,) = self.calls() - {task_id}
        return new_id

    def watched(self, *receivers: Alertmanager) -> servers.Prometheus:
        assert self.exporter is not None
        rules = scratch("rules") / "alerts.yml"
        rules.write_text(ALERT)
        target = f"127.0.0.1:{self.exporter.port}"
        return servers.prometheus(target, rule_files=[rules], scrape=alerting(*receivers))


@contextlib.contextmanager
def scene(directory: Path, *, enabled: bool) -> Iterator[Scene]:
    tokens = {}
    for role in ("alert", "viewer"):
        file = str(directory / "tokens.yml")
        tokens[role] = run_command("token", "new", role, "--role", role, "--file", file).stdout
    tokens = {role: token.strip() for role, token in tokens.items()}
    (directory / "rules.yml").write_text(RULES % ("true" if enabled else "false"))
    with servers.redis_server() as redis:
        stage = ActionsStage(redis.url, f"{redis.url.removesuffix('/0')}/1")
        played = Scene(stage, directory, tokens, free_port())
        try:
            played.start()
            stage.worker()
            yield played
        finally:
            if played.exporter is not None:
                played.exporter.stop()
            stage.stop()


@pytest.mark.timeout(240)
def test_a_failed_task_is_retried_by_its_alert_once(tmp_path: Path) -> None:
    with scene(tmp_path, enabled=True) as played:
        task_id = played.fail("order", 7)
        assert played.calls() == {task_id}
        token = played.tokens["alert"]
        with (
            alertmanager(played.webhook, token, group_wait="1s") as first,
            alertmanager(played.webhook, token) as second,
            played.watched(first),
        ):
            (alert,) = wait_until(first.alerts, 20, "the alert fires")
            again = {name: alert[name] for name in ("labels", "annotations", "startsAt")}
            new_id = played.retried(task_id)
            call = played.stage.written("call", new_id)
            assert call["args"] == ("order", 7)
            assert (call["retry_of"], call["retry_count"]) == (task_id, 1)
            played.stage.wait_for(new_id, "SUCCESS")
            (retried,) = played.get(f"/tasks/{task_id}")["retried_as"]
            assert retried["task_id"] == new_id
            cause = played.get(f"/actions/{retried['action_id']}")["alert"]
            assert (cause["rule"], cause["fingerprint"]) == ("retry-failed", alert["fingerprint"])
            wait_until(lambda: not first.alerts(), 30, "the alert resolves")
            wait_until(lambda: played.counted("done") == 1, 10)
            assert played.counted("queued") == 1
            assert played.exporter is not None
            scraped = played.exporter.scrape().splitlines()
            assert 'celery_exporter_alert_rule_breaker_open{rule="retry-failed"} 0' in scraped
            assert 'celery_exporter_alert_notifications_total{code="202"} 1' in scraped
            # A second Alertmanager has the same alert, and posts it again and again.
            second.send(again)
            wait_until(lambda: played.counted("duplicate") >= 2, 20, "it is posted again")
            # It does so too when the exporter was killed and has only its journal left.
            played.exporter.kill()
            played.start()
            wait_until(lambda: played.counted("duplicate") >= 1, 40, "it is posted again")
            assert played.counted("queued") == 0
        assert played.calls() == {task_id, new_id}
    audit = run_command("audit", "verify", str(tmp_path / "audit"))
    assert audit.returncode == 0, audit.stdout


def test_a_rule_that_is_not_enabled_sends_nothing(tmp_path: Path) -> None:
    with scene(tmp_path, enabled=False) as played:
        task_id = played.fail()
        with (
            alertmanager(played.webhook, played.tokens["alert"]) as receiver,
            played.watched(receiver),
        ):
            wait_until(lambda: played.counted("dry_run") == 1, 20)
            wait_until(lambda: played.counted("duplicate") >= 1, 20)
            assert receiver.failed_posts() == 0
        assert played.calls() == {task_id}
        audit = (tmp_path / "audit").read_text()
        assert '"dry_run":true' in audit
        assert '"dry_run":false' not in audit


@pytest.mark.timeout(240)
def test_a_journal_that_is_locked_makes_alertmanager_send_again(tmp_path: Path) -> None:
    with scene(tmp_path, enabled=True) as played:
        task_id = played.fail()
        receiver = alertmanager(played.webhook, played.tokens["alert"])
        journal = sqlite3.connect(tmp_path / "journal", isolation_level=None)
        with receiver, contextlib.closing(journal):
            journal.execute("BEGIN IMMEDIATE")
            with played.watched(receiver):
                wait_until(lambda: receiver.failed_posts() >= 1, 40, "it is told to send again")
                assert played.calls() == {task_id}
                journal.execute("ROLLBACK")
                new_id = played.retried(task_id)
                wait_until(lambda: played.counted("done") == 1, 20)
        assert played.counted("queued") == 1
        assert played.calls() == {task_id, new_id}
