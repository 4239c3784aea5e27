"""The rules in alerts/ speak of what exists, fit the life of its series, and have runbooks."""

import re
from datetime import timedelta

import promql_parser as promql
import pytest
import yaml

from tests.support.rules import (
    DIRECTORY,
    FILES,
    ROOT,
    RUNBOOKS,
    Rule,
    alerts,
    cases,
    nodes,
    recorded,
    rules,
    selectors,
)
from z4j_exporter.actions.alert_matchers import parse
from z4j_exporter.config import Settings
from z4j_exporter.metrics.catalogue import CATALOGUE

HOME = "https://github.com/z4j/z4j-exporter/blob/main/docs/runbooks"
#: Labels that Prometheus gives to a target; the last two are Kubernetes'.
TARGET = frozenset({"job", "instance", "namespace", "pod"})
FAMILIES = {family.name: family for family in CATALOGUE}
#: Groups by severity: what wakes somebody is apart from what does not.
GROUPS = {
    "celery-wakes-somebody": "critical",
    "celery-look-today": "warning",
    "celery-worth-knowing": "info",
}
DASHBOARDS = {
    "celery-overview", "celery-task", "celery-workers", "celery-queues", "celery-exporter",
    "celery-actions",
}  # fmt: skip
SECTIONS = [
    "Meaning",
    "Impact",
    "What to look at first",
    "What to do",
    "When it is a false alarm",
]
#: Seconds between two scrapes, at most, and how many of them a window needs.
SCRAPE_SECONDS, SCRAPES = 60, 4
#: The duration in a rule's ``for``.
_FOR = re.compile(r"(\d+)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

each_rule = pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.name)
each_alert = pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule.name)


def seconds(text: str) -> int:
    """Return a ``for`` in seconds."""
    found = _FOR.fullmatch(text)
    assert found, text
    return int(found[1]) * _SECONDS[found[2]]


def family_labels(name: str) -> frozenset[str]:
    """Return the labels that a series of this name has; KeyError for one that nobody makes."""
    if name == "up":
        return TARGET
    if name in recorded():
        return labels_of(next(rule for rule in rules() if rule.name == name).tree)
    plain = re.sub(r"_(bucket|sum|count)$", "", name)
    if name in FAMILIES:
        assert FAMILIES[name].type != "histogram", f"{name} has no samples under its own name"
        return frozenset(FAMILIES[name].labels) | TARGET
    assert FAMILIES[plain].type == "histogram", name
    le = {"le"} if name.endswith("_bucket") else set()
    return frozenset(FAMILIES[plain].labels) | le | TARGET


def labels_of(expression: promql.Expr) -> frozenset[str]:
    """Return the labels that the result of an expression may have."""
    match expression:
        case promql.VectorSelector():
            return family_labels(expression.name)
        case promql.MatrixSelector():
            return family_labels(expression.vector_selector.name)
        case promql.ParenExpr() | promql.UnaryExpr():
            return labels_of(expression.expr)
        case promql.AggregateExpr():
            return _aggregated(expression)
        case promql.Call():
            return _called(expression)
        case promql.BinaryExpr():
            left, right = labels_of(expression.lhs), labels_of(expression.rhs)
            return left or right  # one side may be a number
    assert isinstance(expression, promql.NumberLiteral), type(expression)
    return frozenset()


def _aggregated(expression: promql.AggregateExpr) -> frozenset[str]:
    inside = labels_of(expression.expr)
    if expression.modifier is None:
        return frozenset()
    named = frozenset(expression.modifier.labels)
    if expression.modifier.type == promql.AggModifierType.Without:
        return inside - named
    return inside & named


def _called(expression: promql.Call) -> frozenset[str]:
    inside = labels_of(expression.args[-1])
    match expression.func.name:
        case "absent":
            return frozenset()
        case "histogram_quantile":
            return inside - {"le"}
        case "clamp_min":
            return labels_of(expression.args[0])
    return inside


# -- expressions ----------------------------------------------------------------------------------


@each_rule
def test_metrics_and_labels_exist(rule: Rule) -> None:
    assert selectors(rule.tree)
    for selector in selectors(rule.tree):
        known = family_labels(selector.name)  # KeyError: nobody makes it
        assert {m.name for m in selector.matchers.matchers} <= known, selector.prettify()


@each_rule
def test_what_is_aggregated_away_or_matched_is_there(rule: Rule) -> None:
    target = TARGET - {"job", "instance"}  # may be absent
    for node in nodes(rule.tree):
        if isinstance(node, promql.AggregateExpr) and node.modifier:
            named = set(node.modifier.labels)
            # A label that --task-worker-label adds.
            known = labels_of(node.expr) | target | {"worker"}
            assert named <= known, node.prettify()
        if isinstance(node, promql.BinaryExpr) and node.modifier and node.modifier.matching:
            both = labels_of(node.lhs) | labels_of(node.rhs)
            assert set(node.modifier.matching.labels) <= both, node.prettify()


@each_rule
def test_replicas_are_taken_once_and_processes_by_themselves(rule: Rule) -> None:
    """What exporters of one job count alike has neither instance nor pod; their own state has."""
    own = all(
        selector.name.startswith(("celery_exporter_", "up"))
        or selector.name in ("celery_queue_poll_success", "celery_fleet_inspect_success")
        for selector in selectors(rule.tree)
    )
    labels = labels_of(rule.tree)
    # Who it is about does not depend on which pod says so.
    shared = {"CeleryAuditLogCut", "CeleryExporterAbsent"}
    if own and rule.name not in shared:
        assert "instance" in labels
    else:
        assert not labels & {"instance", "pod"}
    assert "job" in labels


def ranges(rule: Rule) -> list[timedelta]:
    """Return all windows of an expression."""
    return [n.range for n in nodes(rule.tree) if isinstance(n, promql.MatrixSelector)]


@each_rule
def test_windows_hold_four_scrapes(rule: Rule) -> None:
    assert all(r.total_seconds() >= SCRAPES * SCRAPE_SECONDS for r in ranges(rule))


@each_alert
def test_for_is_shorter_than_the_window_of_an_increase(rule: Rule) -> None:
    """One event is in the window for as long as that: a longer ``for`` would never be over."""
    windows = [
        argument.range.total_seconds()
        for node in nodes(rule.tree)
        if isinstance(node, promql.Call) and node.func.name == "increase"
        for argument in node.args
    ]
    assert seconds(rule.for_) < min(windows, default=float("inf"))


@each_alert
def test_it_fires_while_a_dead_workers_series_live(rule: Rule) -> None:
    """They stay for --purge-offline-worker-metrics; half of that is left to be notified in."""
    of_workers = any(
        selector.name.startswith(("celery_worker_", "job:celery_worker", "celery_queue_workers"))
        for selector in selectors(rule.tree)
    )
    if of_workers:
        assert seconds(rule.for_) <= Settings().purge_offline_worker_metrics / 2


def test_a_missing_worker_is_missed_as_long_as_its_series_live() -> None:
    """Half of the median's window after it went, fewer workers are the usual number."""
    (rule,) = (rule for rule in rules() if rule.name == "job:celery_worker_up:median1h")
    (window,) = ranges(rule)
    assert window.total_seconds() / 2 == Settings().purge_offline_worker_metrics


@pytest.mark.parametrize("name", ["CeleryTaskStuck", "CeleryTaskWaitsTooLong"])
def test_a_task_is_too_old_before_it_is_given_up(name: str) -> None:
    (rule,) = (rule for rule in alerts() if rule.name == name)
    (threshold,) = (n for n in nodes(rule.tree) if isinstance(n, promql.NumberLiteral))
    assert threshold.val + seconds(rule.for_) < Settings().task_give_up_seconds / 2


# -- alerts ---------------------------------------------------------------------------------------


def test_names() -> None:
    names = [rule.name for rule in rules()]
    assert len(set(names)) == len(names)
    assert len(alerts()) > 30
    assert all(re.fullmatch(r"Celery([A-Z][a-z]+)+", rule.name) for rule in alerts())
    level = r"(task|queue|job):celery_[a-z_]+:[a-z]+(_rate)?(\d+[mh])?"
    assert all(re.fullmatch(level, name) for name in recorded())


def test_what_is_recorded_is_used() -> None:
    used = {selector.name for rule in rules() for selector in selectors(rule.tree)}
    assert recorded() <= used


@each_alert
def test_an_alert_says_what_it_is(rule: Rule) -> None:
    assert seconds(rule.for_) >= 0
    assert rule.labels == {"severity": GROUPS[rule.group]}
    assert list(rule.annotations) == ["summary", "description", "runbook_url", "dashboard_uid"]
    assert rule.annotations["runbook_url"] == f"{HOME}/{rule.name}.md"
    assert rule.annotations["dashboard_uid"] in DASHBOARDS
    assert len(rule.annotations["summary"]) < 130


@each_alert
def test_labels_in_annotations_are_the_alerts_own(rule: Rule) -> None:
    text = rule.annotations["summary"] + rule.annotations["description"]
    named = set(re.findall(r"\$labels\.(\w+)", text))
    assert named <= labels_of(rule.tree)
    # A value is shown as somebody reads it.
    shown = re.findall(r"\{\{ (\$value[^}]*) \}\}", text)
    assert all("humanize" in each or 'printf "%.0f"' in each for each in shown), shown


@each_alert
def test_it_has_a_case_where_it_fires_and_one_where_it_nearly_does(rule: Rule) -> None:
    mine = [case for case in cases() if case.alert == rule.name and case.file != "at-rest"]
    assert any(case.fires for case in mine)
    firing = {case.test for case in mine if case.fires}
    assert any(not case.fires and case.test not in firing for case in mine)
    resting = [case for case in cases() if case.alert == rule.name and case.file == "at-rest"]
    assert len(resting) == 3
    assert not any(case.fires for case in resting)


@each_alert
def test_the_whole_of_a_firing_alert_is_expected(rule: Rule) -> None:
    for case in cases():
        if case.alert == rule.name:
            for expected in case.expected:
                assert set(expected["exp_annotations"]) == set(rule.annotations)
                assert expected["exp_labels"]["severity"] == rule.labels["severity"]


def test_cases_are_about_alerts_that_exist() -> None:
    assert {case.alert for case in cases()} == {rule.name for rule in alerts()}


# -- pages ----------------------------------------------------------------------------------------


@each_alert
def test_the_runbook_has_its_sections(rule: Rule) -> None:
    text = (RUNBOOKS / f"{rule.name}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {rule.name}\n\nSeverity {rule.labels['severity']}: ")
    assert f"Dashboard `{rule.annotations['dashboard_uid']}`" in text
    parts = dict(re.findall(r"^## (.*)\n\n?((?:(?!## ).*\n)*)", text, re.M))
    assert list(parts) == SECTIONS
    assert all(part.strip() for part in parts.values())
    assert "`" in parts["What to look at first"], "something to type"
    assert "It resolves" in parts["What to do"]


@each_alert
def test_queries_in_the_runbook_can_be_asked(rule: Rule) -> None:
    text = (RUNBOOKS / f"{rule.name}.md").read_text(encoding="utf-8")
    known = {"up", "scrape_duration_seconds", *recorded()}
    for code in re.findall(r"`([^`\n]+)`|^ {4,}(.+)$", text, re.M):
        query = "".join(code).strip()
        if not re.search(r"\bcelery_\w", query):
            continue
        for selector in selectors(promql.parse(query)):
            if selector.name not in known and not selector.name.startswith("process_"):
                family_labels(selector.name)  # KeyError: nobody makes it


def test_every_page_belongs_to_an_alert_and_is_in_the_table() -> None:
    names = {rule.name for rule in alerts()}
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == names | {"README"}
    table = (RUNBOOKS / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[(\w+)\]\((\w+)\.md\) \| (\w+) \| (.+)\. \|$", table, re.M)
    assert [(name, page, severity) for name, page, severity, _ in rows] == [
        (rule.name, rule.name, rule.labels["severity"]) for rule in alerts()
    ]


def test_the_readme_names_alerts_that_exist() -> None:
    text = (DIRECTORY / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\bCelery[A-Z]\w+(?![\w.…+])", text)) - {"CeleryAction", "CeleryAudit"}
    assert named - {"CeleryTask", "CeleryQueue"} <= {rule.name for rule in alerts()}
    assert len(named) > 15


# -- whoever relies on them -----------------------------------------------------------------------


def test_the_examples_for_actions_name_alerts_that_exist() -> None:
    """A rule's matchers can be met: alert, severity and labels are those of an alert here."""
    document = yaml.safe_load((ROOT / "examples" / "rules.yaml").read_text(encoding="utf-8"))
    by_name = {rule.name: rule for rule in alerts()}
    for rule in document["rules"]:
        matchers = {m.label: m for text in rule["matchers"] for m in parse(text)}
        alert = by_name[matchers["alertname"].value]
        labels = labels_of(alert.tree) | {"alertname", "severity"}
        assert set(matchers) <= labels
        filled = set(re.findall(r"\{\{ labels\.(\w+) \}\}", yaml.safe_dump(rule["action"])))
        assert filled <= labels
        if "severity" in matchers:
            assert matchers["severity"].matches(alert.labels)


def test_the_files_are_plain_rule_files() -> None:
    for path in FILES:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert list(document) == ["groups"]
        for group in document["groups"]:
            assert set(group) == {"name", "rules"}
