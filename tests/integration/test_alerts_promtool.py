"""promtool, which users have too, checks the rules of alerts/ and plays their tests."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.process import require
from tests.support.rules import DIRECTORY, FILES, TEST_FILES


def promtool(*words: str | Path, cwd: Path = DIRECTORY) -> subprocess.CompletedProcess[str]:
    command = [require("promtool"), *map(str, words)]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=170, check=False
    )


def test_the_rules_are_rules() -> None:
    checked = promtool("check", "rules", "--lint=all", "--lint-fatal", *FILES)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.count("SUCCESS") == len(FILES)
    assert checked.stderr == ""


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should(path: Path) -> None:
    played = promtool("test", "rules", path)
    assert played.returncode == 0, played.stdout + played.stderr


#: What makes an alert wrong, and the file of tests that must notice.
FAULTS = {
    "the window of a dead worker is too long": (
        "(job:celery_worker_up:median1h - job:celery_worker_up:sum)",
        "(max_over_time(job:celery_worker_up:sum[5m]) - job:celery_worker_up:sum)",
        "workers",
    ),
    "a queue without consumer is known by its 0 alone": (
        "unless (max without (instance, pod) (celery_queue_workers) > 0)",
        "and (max without (instance, pod) (celery_queue_workers) == 0)",
        "queues",
    ),
    "one of one pages": (
        "and (task:celery_task_failed:rate1h * 3600 >= 10)", "", "tasks"
    ),
    "one of two exporters pages": (
        "unless ignoring (instance, pod, source) celery_exporter_source_connected", "", "exporter"
    ),
    "a backlog that is worked off pages": (
        "unless (queue:celery_task_started:rate15m > 0)", "", "queues"
    ),
    "finished tasks are missed": (
        "_total{state=~\"waiting|reserved|running|worker\"}",
        "_total",
        "exporter",
    ),
    "what the audit log had is not remembered": (
        "max_over_time(celery_exporter_audit_entries[1d])",
        "celery_exporter_audit_entries",
        "actions",
    ),
    "a worker that is not heard of is no worker": (
        "unless (job:celery_worker_up:sum > 0)\n          unless (count without (worker)",
        "unless (job:celery_worker_up:sum > 1)\n          unless (count without (worker)",
        "workers",
    ),
    "anybody's target is an exporter": (
        "and on (job, instance) max_over_time(celery_exporter_build_info[1d])",
        "",
        "exporter",
    ),
    "being connected is trouble": (
        "(celery_exporter_source_connected == 0)\n          unless ignoring (instance, pod) (",
        "(celery_exporter_source_connected >= 0)\n          unless ignoring (instance, pod) (0 * ",
        "at-rest",
    ),
}  # fmt: skip


def only(alert: str, file: str) -> str:
    """Return a file of tests with those of one alert only: they take a second, all of them ten."""
    document = yaml.safe_load((DIRECTORY / "tests" / f"{file}.yaml").read_text(encoding="utf-8"))
    document["tests"] = [
        test | {"alert_rule_test": mine}
        for test in document["tests"]
        if (mine := [case for case in test["alert_rule_test"] if case["alertname"] == alert])
    ]
    return yaml.safe_dump(document)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_rule_is_noticed(fault: str, tmp_path: Path) -> None:
    right, wrong, file = FAULTS[fault]
    for path in FILES:
        shutil.copy(path, tmp_path)
    text = (tmp_path / "alerts.yaml").read_text(encoding="utf-8")
    assert text.count(right) == 1
    (alert,) = re.findall(r"- alert: (\w+)", text[: text.index(right)])[-1:]
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / f"{file}.yaml").write_text(only(alert, file), encoding="utf-8")
    (tmp_path / "alerts.yaml").write_text(text.replace(right, wrong), encoding="utf-8")
    assert promtool("check", "rules", tmp_path / "alerts.yaml").returncode == 0
    played = promtool("test", "rules", f"tests/{file}.yaml", cwd=tmp_path)
    assert played.returncode != 0
    assert "FAILED" in played.stdout + played.stderr


def test_recording_rules_come_first_in_every_test() -> None:
    """Else promtool chooses an order, each time another, and values are a minute old or not."""
    groups = [g["name"] for path in FILES for g in yaml.safe_load(path.read_text())["groups"]]
    for path in TEST_FILES:
        assert yaml.safe_load(path.read_text())["group_eval_order"] == groups


def test_alertmanager_takes_the_configuration_of_the_readme(tmp_path: Path) -> None:
    text = (DIRECTORY / "README.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"```yaml\n# alertmanager.yml\n(.*?)```", text, re.DOTALL)
    conf = tmp_path / "alertmanager.yml"
    conf.write_text(found, encoding="utf-8")
    command = [require("amtool"), "check-config", str(conf)]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "5 inhibit rules" in checked.stdout
