"""The commands ``z4j-exporter rules …``: check a rules file, and try it on an alert."""

import json
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from z4j_exporter.actions import alert_rules
from z4j_exporter.actions.alert_judge import Judged
from z4j_exporter.actions.alert_payload import Alert, Notification, parse
from z4j_exporter.actions.alert_request import shown
from z4j_exporter.actions.alert_schema import Rule
from z4j_exporter.actions.alerts import AlertActions
from z4j_exporter.actions.engine_parts import Outcome, Planned
from z4j_exporter.actions.engine_request import Request
from z4j_exporter.actions.engine_tasks import TaskFacts
from z4j_exporter.actions.model import Action, ActionError, Actor, Target
from z4j_exporter.actions.records import ActionJournal
from z4j_exporter.cli.output import output_option
from z4j_exporter.cli.show import printable
from z4j_exporter.cli.streams import lenient_output, quiet_pipe
from z4j_exporter.config import ENVIRONMENT_PREFIX
from z4j_exporter.errors import ConfigError, FileError

#: The exit code of ``rules test`` when no rule would act, nor say what it would do.
EXIT_NOTHING = 14
_MOST_BYTES = 1024 * 1024
#: Characters of a label's value that are shown.
_SHOWN = 100


@click.group()
def rules() -> None:
    """Check the rules that turn alerts into actions, and try them on an alert."""


@rules.command("check")
@click.argument(
    "path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    envvar=f"{ENVIRONMENT_PREFIX}ACTIONS_RULES_FILE",
)
@output_option
def check(*, path: Path, form: str) -> None:
    """Read a rules file as the exporter does, and list its rules.

    Exit code: 0 when it is right, 3 when it is wrong, 5 when it cannot be read.
    """
    read = alert_rules.read(path)
    out = lenient_output()
    with quiet_pipe():
        if form == "json":
            out.write(json.dumps([_rule(rule) for rule in read], indent=2) + "\n")
            return
        for rule in read:
            state = "enabled" if rule.enabled else "dry run"
            conditions = ", ".join(str(one) for one in rule.matchers)
            out.write(
                printable(f"{rule.name} ({state}): {rule.action.verb} on {conditions}") + "\n"
            )


@rules.command("test")
@click.argument("alert", metavar="ALERT.json", type=click.Path(path_type=Path))
@click.option(
    "--rules",
    "path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    envvar=f"{ENVIRONMENT_PREFIX}ACTIONS_RULES_FILE",
    required=True,
    help=f"The rules file; or set {ENVIRONMENT_PREFIX}ACTIONS_RULES_FILE.",
)
@output_option
def test_command(*, alert: Path, path: Path, form: str) -> None:
    """Show what the rules would make of what Alertmanager posts, and why. Nothing is done.

    ALERT.json is a webhook's body (version 4), or what `amtool alert query -o json` prints; -
    reads standard input. Cooldowns, limits and breakers are those of an exporter that has just
    begun. What tasks there are, and whether a token may touch them, only a running one knows.

    Exit code: 0 when some rule would act (or would say what it would do, while it is not enabled),
    14 when none would, 3 and 5 when a file is wrong or cannot be read.
    """
    read = alert_rules.read(path)
    notification = _notification(alert)
    judged = rehearse(read, notification)
    acts = any(one.decision in ("queued", "dry_run") for one in judged)
    out = lenient_output()
    with quiet_pipe():
        if form == "json":
            document = {
                "judged": [_document(one, read) for one in judged],
                "resolved": sum(one.status == "resolved" for one in notification.alerts),
                "unusable": notification.unusable,
                "truncated": notification.truncated,
            }
            out.write(json.dumps(document, indent=2) + "\n")
        else:
            out.write(_text(judged, read, notification))
    sys.exit(0 if acts else EXIT_NOTHING)


def rehearse(read: Sequence[Rule], notification: Notification) -> list[Judged]:
    """Return what rules decide about alerts, by the code and the journal that really decide."""
    with tempfile.TemporaryDirectory(prefix="z4j-rules-") as directory:
        journal = ActionJournal(Path(directory) / "journal.db")
        try:
            # The clock stands still: nobody waits for the answer.
            actions = AlertActions(
                read, _Rehearsal(), journal, _NoTasks(), most_waiting=100_000, monotonic=float
            )
            alerts = Notification(notification.alerts)
            return actions.receive(Actor("rules-test", "alert", "token"), alerts)
        finally:
            journal.close()


class _Rehearsal:
    """An engine that permits everything, knows of no task, and does nothing."""

    jobs: Any = None

    def plan(self, request: Request) -> Planned:
        """See alert_work.Engine."""
        target = Target(task_id=request.task_id)
        action = Action(
            str(uuid.uuid4()), request.verb, target, request.actor, 0.0, dry_run=request.dry_run
        )
        return Planned(action, request)

    def carry_out(self, planned: Planned) -> Outcome:
        """See alert_work.Engine."""
        raise NotImplementedError


class _NoTasks:
    def get_all(self, task_ids: Sequence[str]) -> dict[str, TaskFacts]:  # noqa: ARG002 - as Facts
        return {}


def _notification(path: Path) -> Notification:
    try:
        if str(path) == "-":
            data = sys.stdin.buffer.read(_MOST_BYTES + 1)
        else:
            with path.open("rb") as file:
                data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise FileError(f"{path}: the alert cannot be read: {reason}") from None
    if len(data) > _MOST_BYTES:
        raise ConfigError(f"{path}: the alert has more than {_MOST_BYTES} bytes")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise ConfigError(f"{path}: the alert is not JSON") from None
    if isinstance(document, list):
        document = {"version": "4", "alerts": [_of_api(one) for one in document]}
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: the alert is not what Alertmanager sends")
    try:
        return parse(document)
    except ActionError as error:
        raise ConfigError(f"{path}: {error.detail}", hint=error.hint) from None


def _of_api(alert: Any) -> Any:
    """Return an alert of Alertmanager's own API as the webhook has it."""
    if not isinstance(alert, dict):
        return alert
    return {**alert, "status": "firing"}


def _rule(rule: Rule) -> dict[str, Any]:
    action = {
        name: value if isinstance(value, (int, float)) else str(value)
        for name in type(rule.action).model_fields
        if (value := getattr(rule.action, name)) is not None
    }
    return {
        "name": rule.name,
        "enabled": rule.enabled,
        "matchers": [str(one) for one in rule.matchers],
        "action": action,
        "tasks": list(rule.tasks),
        "queues": list(rule.queues),
        **_guards(rule),
    }


def _guards(rule: Rule) -> dict[str, Any]:
    return {
        "cooldown_seconds": rule.cooldown,
        "max_per_hour": rule.max_per_hour,
        "max_in_flight": rule.max_in_flight,
        "breaker": rule.breaker.model_dump(),
    }


def _document(one: Judged, read: Sequence[Rule]) -> dict[str, Any]:
    rule = next(rule for rule in read if rule.name == one.rule)
    return {
        "alert": {"fingerprint": one.alert.fingerprint, "labels": one.alert.labels},
        "rule": one.rule,
        "decision": one.decision,
        "why": one.why,
        "action": shown(one.request) if one.request is not None else None,
        "guards": _guards(rule),
    }


_WORDS = {
    "unmatched": "does not match",
    "unfilled": "cannot act",
    "out_of_scope": "may not act",
    "queued": "would act",
    "dry_run": "would say what it would do (it is not enabled)",
}


def _text(judged: Sequence[Judged], read: Sequence[Rule], notification: Notification) -> str:
    lines = []
    for alert in notification.alerts:
        if alert.status == "resolved":
            lines.append(f"{_labels(alert)}: resolved; takes back what waits, and causes nothing")
            continue
        lines.append(_labels(alert))
        for one in judged:
            if one.alert is alert:
                lines += _lines(one, next(rule for rule in read if rule.name == one.rule))
    if notification.unusable:
        lines.append(f"{notification.unusable} alerts cannot be used: no labels or no startsAt")
    if notification.truncated:
        lines.append(f"{notification.truncated} alerts were left out (max_alerts of the receiver)")
    counts = Counter(str(one.decision) for one in judged)
    lines.append(", ".join(f"{count} {name}" for name, count in counts.items()) or "no alert fires")
    return "".join(f"{printable(line)}\n" for line in lines)


def _lines(one: Judged, rule: Rule) -> list[str]:
    words = _WORDS.get(one.decision, f"would not act ({one.decision})")
    lines = [f"  {one.rule}: {words}{': ' + one.why if one.why else ''}"]
    if one.decision in ("queued", "dry_run") and one.request is not None:
        filled = shown(one.request)
        parameters = ", ".join(f"{name}={value}" for name, value in filled.items())
        lines.append(f"    {parameters}")
        lines.append(
            f"    limits: cooldown {rule.cooldown:g} s, {rule.max_per_hour} an hour,"
            f" {rule.max_in_flight} in flight, breaker after {rule.breaker.failures} failures"
        )
    return lines


def _labels(alert: Alert) -> str:
    labels = ", ".join(
        f'{name}="{value[:_SHOWN]}{"…" if len(value) > _SHOWN else ""}"'
        for name, value in sorted(alert.labels.items())
    )
    return f"{alert.name or 'alert'} {{{labels}}}"
