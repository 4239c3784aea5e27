"""A task fails, Prometheus sees it, Alertmanager tells of it, the rule retries it, it succeeds.

Nothing is mocked: broker, worker, Prometheus and two Alertmanagers are the real ones.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import servers
from tests.support.actions import ActionsStage
from tests.support.actions_api import Served, office, served
from tests.support.alertmanager import Alertmanager, alerting, alertmanager
from tests.support.process import scratch, wait_until
from z4j_exporter.actions.alert_rules import parse
from z4j_exporter.actions.alerts import AlertActions
from z4j_exporter.actions.engine_tasks import TrackedTasks
from z4j_exporter.actions.model import State
from z4j_exporter.app import Exporter
from z4j_exporter.config import Settings

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
    """Broker, worker, exporter with actions and rules."""

    stage: ActionsStage
    exporter: Exporter
    api: Served
    alerts: AlertActions

    @property
    def webhook(self) -> str:
        return f"{self.api.listener.url}/v1/alertmanager"

    @property
    def token(self) -> str:
        return self.api.office.tokens.of["alert"]

    def count(self, decision: str) -> int:
        return self.alerts.stats.counted().get(("retry-failed", decision), 0)

    def runs(self) -> int:
        """Return how often the task was run."""
        return len(list(self.stage.directory.glob("call-*")))

    def fail(self, *args: object) -> str:
        """Let a task fail because what it needs is down; then bring that back."""
        down = self.stage.directory / "down"
        down.touch()
        task_id = self.stage.send(TASK, *args)
        self.stage.wait_for(task_id, "FAILURE")
        down.unlink()
        facts = self.api.office.engine.tasks
        wait_until(lambda: (known := facts.get(task_id)) and known.state == "failed")
        return task_id


@contextlib.contextmanager
def scene(directory: Path, redis: servers.Redis, *, enabled: bool) -> Iterator[Scene]:
    stage = ActionsStage(redis.url, redis.url)
    exporter = Exporter(
        Settings(broker_url=redis.url, listen_address=f"127.0.0.1:{servers.free_port()}")
    )
    exporter.start()
    applier = exporter._applier
    tasks = TrackedTasks(applier.ask, lambda: applier.cluster)
    try:
        wait_until(lambda: exporter.ready().ready)
        stage.worker()
        with office(directory, performer=stage.performer(), tasks=tasks) as made:
            rules = parse(RULES % ("true" if enabled else "false"), name="rules")
            alerts = AlertActions(rules, made.engine, made.journal, tasks)
            alerts.start()
            with served(made, alerts=alerts) as api:
                yield Scene(stage, exporter, api, alerts)
            alerts.stop(5)
    finally:
        exporter.stop()
        stage.stop()


@pytest.fixture
def redis() -> Iterator[servers.Redis]:
    with servers.redis_server() as server:
        yield server


def watch(played: Scene, *receivers: Alertmanager) -> servers.Prometheus:
    rules = scratch("rules") / "alerts.yml"
    rules.write_text(ALERT)
    target = played.exporter.url.removeprefix("http://")
    return servers.prometheus(target, rule_files=[rules], scrape=alerting(*receivers))


def test_a_failed_task_is_retried_by_its_alert_once(tmp_path: Path, redis: servers.Redis) -> None:
    with scene(tmp_path, redis, enabled=True) as played:
        task_id = played.fail("order", 7)
        assert played.runs() == 1
        with (
            alertmanager(played.webhook, played.token, group_wait="1s") as first,
            alertmanager(played.webhook, played.token) as second,
            watch(played, first),
        ):
            (alert,) = wait_until(first.alerts, 20, "the alert fires")
            wait_until(lambda: played.runs() == 2, 20, "the task is retried")
            (action,) = played.api.office.journal.list()
            (item,) = played.api.office.journal.items.list(action.id)
            call = played.stage.written("call", item.new_id)
            assert call["args"] == ("order", 7)
            assert (call["retry_of"], call["retry_count"]) == (task_id, 1)
            played.stage.wait_for(item.new_id, "SUCCESS")
            wait_until(lambda: not first.alerts(), 30, "the alert resolves")
            # A second Alertmanager has the same alert, and posts it again and again.
            second.send({name: alert[name] for name in ("labels", "annotations", "startsAt")})
            wait_until(lambda: second.posts() >= 3, 20, "the alert is posted again")
            wait_until(lambda: played.count("duplicate") >= 3, 10)
            assert (first.failed_posts(), second.failed_posts()) == (0, 0)
        assert played.runs() == 2
        assert played.count("queued") == 1
        wait_until(lambda: played.count("done") == 1, 10)
        assert [one.state for one in played.api.office.journal.list()] == [State.DONE]
        assert played.alerts.work.breakers() == {"retry-failed": "closed"}
        assert played.api.office.audited().ok


def test_a_rule_that_is_not_enabled_sends_nothing(tmp_path: Path, redis: servers.Redis) -> None:
    with scene(tmp_path, redis, enabled=False) as played:
        task_id = played.fail()
        with alertmanager(played.webhook, played.token) as receiver, watch(played, receiver):
            wait_until(lambda: played.count("dry_run") == 1, 20)
            wait_until(lambda: played.count("duplicate") >= 1, 20)
            assert receiver.failed_posts() == 0
        journal = played.api.office.journal
        wait_until(lambda: [one.state for one in journal.list()] == [State.DONE], 10)
        (action,) = journal.list()
        assert action.dry_run
        assert action.result["task_ids"] == [task_id]
        assert played.runs() == 1


def test_a_journal_that_fails_makes_alertmanager_send_again(
    tmp_path: Path, redis: servers.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scene(tmp_path, redis, enabled=True) as played:
        played.fail()
        database = played.api.office.journal._database
        with (
            alertmanager(played.webhook, played.token) as receiver,
            watch(played, receiver),
        ):
            with monkeypatch.context() as patched:
                patched.setattr(database, "transaction", _refuse)
                wait_until(lambda: receiver.failed_posts() >= 2, 20, "it is told to send again")
            wait_until(lambda: played.runs() == 2, 20, "then the task is retried")
        assert played.count("queued") == 1


def _refuse() -> None:
    from z4j_exporter.actions.records import JournalUnavailable

    raise JournalUnavailable("disk full")
