"""The commands ``z4j-exporter action …``: ask a running exporter to act on tasks and queues."""

from typing import Any

import click

from z4j_exporter.cli import action_jobs, action_show
from z4j_exporter.cli.action_answers import ActionSaid, understood
from z4j_exporter.cli.action_client import ActionsClient
from z4j_exporter.cli.action_do import Asked, carry_out, path_of, show
from z4j_exporter.cli.action_follow import raise_for
from z4j_exporter.cli.action_options import How, acts, filled, from_state_option, sends
from z4j_exporter.cli.action_text import value_text
from z4j_exporter.cli.action_values import a_coming_time, a_name, json_option


@click.group()
def action() -> None:
    """Ask a running exporter to retry, cancel or purge, as its tokens allow.

    Exit codes: 0 done; 15 refused, 16 not possible (nothing was done); 17 done in part; 18 not
    known: it may have happened; 19 nobody answers; 20 not confirmed; 130 Ctrl-C while a job runs
    on.
    """


@action.command("retry")
@click.argument("task_id", callback=a_name)
@click.option(
    "--args",
    callback=json_option(list),
    metavar="JSON",
    help="What it was sent with, where nobody else knows it: an array, or @FILE. With --kwargs.",
)
@click.option(
    "--kwargs",
    callback=json_option(dict),
    metavar="JSON",
    help="What it was sent with: an object, or @FILE. With --args.",
)
@click.option("--name", metavar="NAME", help="The task's name, where no event told it.")
@click.option(
    "--eta",
    callback=a_coming_time,
    metavar="TIME",
    help="Not before: 10m from now, or a time with its zone.  [default: now]",
)
@sends
@acts
def retry(
    *,
    client: ActionsClient,
    how: How,
    task_id: str,
    args: list[Any] | None,
    kwargs: dict[str, Any] | None,
    name: str | None,
    eta: str | None,
    sending: dict[str, Any],
) -> None:
    """Send a task again, with the same arguments, under a new id."""
    if (args is None) != (kwargs is None):
        raise click.UsageError("--args and --kwargs go together: give both, or none.")
    body = sending | filled({"name": name, "eta": eta})
    if args is not None:
        body |= {"args": args, "kwargs": kwargs}
    question = f"Send task {value_text(task_id)} again?"
    _single(client, Asked(question, path_of("tasks", task_id, "retry"), body), how)


@action.command("cancel")
@click.argument("task_id", callback=a_name)
@from_state_option
@acts
def cancel(*, client: ActionsClient, how: How, task_id: str, from_state: tuple[str, ...]) -> None:
    """Keep a task from starting; one that runs finishes."""
    question = f"Revoke task {value_text(task_id)}?"
    body = filled({"from_state": from_state})
    _single(client, Asked(question, path_of("tasks", task_id, "cancel"), body), how)


@action.command("terminate")
@click.argument("task_id", callback=a_name)
@from_state_option
@acts
def terminate(
    *, client: ActionsClient, how: How, task_id: str, from_state: tuple[str, ...]
) -> None:
    """End a running task: SIGTERM to the process that runs it."""
    question = f"End task {value_text(task_id)} where it runs?"
    body = filled({"from_state": from_state}) | {"terminate": True}
    _single(client, Asked(question, path_of("tasks", task_id, "cancel"), body), how)


@action.command("purge")
@click.argument("queue", callback=a_name)
@click.option(
    "--confirm",
    metavar="TOKEN",
    help="What --dry-run printed, not older than five minutes: do exactly the second step.",
)
@acts
def purge(*, client: ActionsClient, how: How, queue: str, confirm: str | None) -> None:
    """Empty a queue: count its messages first, then remove them.

    The messages that workers hold already are not touched.
    """
    if how.dry_run and confirm is not None:
        raise click.UsageError("--confirm is for the second step, --dry-run is the first.")
    asked = Asked(
        f"Remove the messages of queue {value_text(queue)} for good?",
        path_of("queues", queue, "purge"),
        filled({"confirm": confirm}),
        needs_key=True,
        two_steps=True,
    )
    _single(client, asked, how)


def _single(client: ActionsClient, asked: Asked, how: How) -> None:
    answer = carry_out(client, asked, how)
    if answer is not None:
        show(answer.document, how.form)
        raise_for(understood(answer.document, ActionSaid))


for _command in (*action_jobs.COMMANDS, action_show.show_command):
    action.add_command(_command)
