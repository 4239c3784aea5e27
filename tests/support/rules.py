"""The rule files of alerts/: their rules, the selectors in them, and promtool's test files."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser as promql
import yaml

ROOT = Path(__file__).parents[2]
DIRECTORY = ROOT / "alerts"
FILES = (DIRECTORY / "recording.yaml", DIRECTORY / "alerts.yaml")
TEST_FILES = tuple(sorted((DIRECTORY / "tests").glob("*.yaml")))
RUNBOOKS = ROOT / "docs" / "runbooks"


@dataclass(frozen=True)
class Rule:
    """One rule; ``name`` is the alert's or the recorded series'."""

    name: str
    group: str
    expr: str
    for_: str
    labels: dict[str, str]
    annotations: dict[str, str]
    is_alert: bool

    @property
    def tree(self) -> promql.Expr:
        """The expression, parsed."""
        return promql.parse(self.expr)


@dataclass(frozen=True)
class Case:
    """One expectation in a test file of promtool's: this alert, at that moment, fires or not."""

    file: str
    test: str
    alert: str
    fires: bool
    expected: list[dict[str, Any]]


def _load(path: Path) -> Iterator[Rule]:
    for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            yield Rule(
                name=rule.get("alert") or rule["record"],
                group=group["name"],
                expr=rule["expr"],
                for_=str(rule.get("for", "")),
                labels=rule.get("labels", {}),
                annotations=rule.get("annotations", {}),
                is_alert="alert" in rule,
            )


@cache
def rules() -> tuple[Rule, ...]:
    """Return all rules, recording ones first."""
    return tuple(rule for path in FILES for rule in _load(path))


def alerts() -> tuple[Rule, ...]:
    """Return the alerts."""
    return tuple(rule for rule in rules() if rule.is_alert)


def recorded() -> frozenset[str]:
    """Return the names that recording rules make."""
    return frozenset(rule.name for rule in rules() if not rule.is_alert)


@cache
def cases() -> tuple[Case, ...]:
    """Return what the test files expect."""
    return tuple(case for path in TEST_FILES for case in _cases(path))


def _cases(path: Path) -> Iterator[Case]:
    for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
        for check in test["alert_rule_test"]:
            expected = check["exp_alerts"]
            yield Case(path.stem, test["name"], check["alertname"], bool(expected), expected)


def nodes(expression: promql.Expr) -> list[promql.Expr]:
    """Return all parts of an expression, itself among them."""
    found: list[promql.Expr] = []

    def visit(node: promql.Expr) -> bool:
        found.append(node)
        return True

    promql.walk(expression, pre_visit=visit)
    return found


def selectors(expression: promql.Expr) -> list[promql.VectorSelector]:
    """Return the vector selectors of an expression, those inside of ranges too."""
    return [node for node in nodes(expression) if isinstance(node, promql.VectorSelector)]


def plain(selector: promql.VectorSelector) -> str:
    """Return a selector as an instant query: name and matchers, without offset."""
    return f"{selector.name}{selector.matchers}"
