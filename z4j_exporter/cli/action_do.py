"""How each ``action`` command goes: look first, ask the person, do it once, tell what came."""

import sys
import uuid
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import quote

import click
import msgspec

from z4j_exporter.actions.api_door import BODY_BYTES
from z4j_exporter.cli.action_answers import ActionSaid, understood
from z4j_exporter.cli.action_client import ActionsClient, Answer
from z4j_exporter.cli.action_errors import ActionUnknownError, NotConfirmedError
from z4j_exporter.cli.action_options import How, print_json
from z4j_exporter.cli.action_text import action_lines
from z4j_exporter.cli.say import say
from z4j_exporter.cli.streams import lenient_output, quiet_pipe
from z4j_exporter.errors import ConfigError

#: Bytes that the members a command adds itself may have: dry_run and confirm.
_ADDED_BYTES: Final = 300


@dataclass(frozen=True, slots=True)
class Asked:
    """One action that is to be asked for."""

    #: What the person agrees to, as a question.
    question: str
    path: str
    body: dict[str, Any] = field(default_factory=dict)
    #: Whether the API demands an idempotency key.
    needs_key: bool = False
    #: Of a purge: its dry run gives a token that the second step shows.
    two_steps: bool = False


def carry_out(client: ActionsClient, asked: Asked, how: How) -> Answer | None:
    """Do what is asked, or only look (``how.dry_run``: then what was seen is printed).

    Returns the answer of what was done, None after a dry run. Raises ActionCommandError, and
    click.UsageError where nobody can be asked.
    """
    _check_size(asked)
    if how.dry_run:
        show(_look(client, asked).document, how.form)
        return None
    _check_askable(yes=how.yes)
    unconfirmed = asked.two_steps and "confirm" not in asked.body
    if unconfirmed or not how.yes:
        looked = understood(_look(client, asked).document, ActionSaid)
        for line in action_lines(_without_token(looked)):
            click.echo(line, err=True)
        if unconfirmed:
            asked = replace(asked, body={**asked.body, "confirm": looked.result.get("confirm")})
    confirmed(asked.question, yes=how.yes)
    return _act(client, asked, how)


def confirmed(question: str, *, yes: bool) -> None:
    """Ask the person, unless ``yes``. Raises NotConfirmedError, or click.UsageError."""
    _check_askable(yes=yes)
    if not yes and not click.confirm(question, err=True):
        raise NotConfirmedError("nothing was done")


def path_of(kind: str, name: str, verb: str = "") -> str:
    """Return the path of a task, group, queue or action, or of what is to be done to it."""
    return f"/v1/{kind}/{quote(name, safe='')}" + (f"/{verb}" if verb else "")


def show(document: dict[str, Any], form: str) -> None:
    """Print an action, on standard output."""
    if form == "json":
        print_json(document)
        return
    action = understood(document, ActionSaid)
    with quiet_pipe():
        lenient_output().writelines(f"{line}\n" for line in action_lines(action))


def _look(client: ActionsClient, asked: Asked) -> Answer:
    # The API wants a key here too; a dry run leaves it unused.
    key = str(uuid.uuid4()) if asked.needs_key else None
    body = {name: value for name, value in asked.body.items() if name != "confirm"}
    return client.post(asked.path, {**body, "dry_run": True}, key=key, acts=False)


def _without_token(looked: ActionSaid) -> ActionSaid:
    result = {k: v for k, v in looked.result.items() if not k.startswith("confirm")}
    return msgspec.structs.replace(looked, result=result)


def _act(client: ActionsClient, asked: Asked, how: How) -> Answer:
    key = how.idempotency_key or str(uuid.uuid4())
    again = f"--idempotency-key {key}"
    if asked.two_steps:
        again += f" --confirm {asked.body['confirm']}"
    if asked.needs_key:
        say(f"idempotency key: {key}")
    try:
        answer = client.post(asked.path, asked.body, key=key, acts=True)
    except ActionUnknownError as error:
        told = f"The same command with {again} tells what came of it, and does nothing twice."
        error.hint = "\n  ".join(filter(None, (error.hint, told)))
        raise
    if answer.replayed:
        say("it was done before, under this key; nothing was done now")
    return answer


def _check_size(asked: Asked) -> None:
    size = len(msgspec.json.encode(asked.body)) + _ADDED_BYTES
    if size > BODY_BYTES:
        raise ConfigError(
            f"this request has {size} bytes, and the API takes {BODY_BYTES}",
            hint="Ask for fewer tasks at once: some 1600 ids fit.",
        )


def _check_askable(*, yes: bool) -> None:
    if not yes and not _at_terminal():
        raise click.UsageError(
            "there is no terminal to ask at: say --yes to do it, or --dry-run to look first."
        )


def _at_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()
