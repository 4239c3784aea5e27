"""The commands ``action bulk-retry|retry-group|stop|resume``: jobs, which outlast the answer."""

from pathlib import Path
from typing import Any, Final

import click

from z4j_exporter.actions.engine_request import TASK_STATES
from z4j_exporter.cli.action_answers import ENDED, ActionSaid, understood
from z4j_exporter.cli.action_client import ActionsClient
from z4j_exporter.cli.action_do import Asked, carry_out, confirmed, path_of, show
from z4j_exporter.cli.action_follow import follow, progress_bar, raise_for
from z4j_exporter.cli.action_ids import read_ids
from z4j_exporter.cli.action_options import How, acts, asks, filled, sends
from z4j_exporter.cli.action_text import number_of, value_text
from z4j_exporter.cli.action_values import a_name, a_past_time
from z4j_exporter.cli.say import say
from z4j_exporter.config.actions import BULK_LIMIT

_rate_option = click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True, max=1000),
    metavar="N",
    help="Tasks a second.  [default: the exporter's --actions-bulk-rate]",
)
_wait_option = click.option(
    "--wait/--no-wait",
    "wait",
    default=True,
    help="Wait for the job's end, and tell what came of each task.  [default: wait]",
)
_yes_option = click.option(
    "--yes", "-y", is_flag=True, help="Do not ask; needed where there is no terminal."
)


@click.command("bulk-retry")
@click.option("--task", metavar="GLOB", help="Tasks of this name, such as 'shop.*'.")
@click.option("--queue", metavar="NAME", help="Tasks of this queue.")
@click.option("--state", type=click.Choice(TASK_STATES), help="Tasks in this state.  [failed]")
@click.option("--exception", metavar="CLASS", help="Tasks that failed with this exception.")
@click.option(
    "--since",
    callback=a_past_time,
    metavar="TIME",
    help="Tasks that ended at or after: 2h ago, or a time with its zone.",
)
@click.option(
    "--until", callback=a_past_time, metavar="TIME", help="Tasks that ended before; as --since."
)
@click.option(
    "--ids-file",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="These tasks alone: an id on each line; - is standard input.",
)
@click.option(
    "--max",
    "limit",
    type=click.IntRange(1, BULK_LIMIT),
    metavar="N",
    help="Tasks at most.  [default: the exporter's --actions-bulk-cap]",
)
@_rate_option
@_wait_option
@sends
@acts
def bulk_retry(
    *,
    client: ActionsClient,
    how: How,
    ids_file: Path | None,
    limit: int | None,
    rate: float | None,
    wait: bool,
    sending: dict[str, Any],
    **chosen: str | None,
) -> None:
    """Send many tasks again: those that the filter takes, or those of a file.

    The list is sealed when the exporter takes the job; each task is checked again at its turn.
    """
    wanted = filled(chosen)
    if (ids_file is None) == (not wanted):
        raise click.UsageError(
            "say which tasks: with one of --task, --queue, --state, --exception, --since, --until,"
            " or with --ids-file alone."
        )
    body = sending | filled({"limit": limit, "rate": rate})
    if ids_file is not None:
        body["task_ids"] = read_ids(ids_file)
    else:
        body["filter"] = wanted
    asked = Asked("Send these tasks again?", "/v1/bulk-retry", body, needs_key=True)
    _job(client, asked, how, wait=wait)


@click.command("retry-group")
@click.argument("group_id", callback=a_name)
@click.option(
    "--whole",
    is_flag=True,
    help="The whole chord, header and body, under a new id; not the failed members alone.",
)
@_rate_option
@_wait_option
@sends
@acts
def retry_group(
    *,
    client: ActionsClient,
    how: How,
    group_id: str,
    whole: bool,
    rate: float | None,
    wait: bool,
    sending: dict[str, Any],
) -> None:
    """Send the failed members of a group again."""
    asked = Asked(
        f"Send these members of group {value_text(group_id)} again?",
        path_of("groups", group_id, "retry"),
        sending | filled({"whole": whole, "rate": rate}),
        needs_key=True,
    )
    _job(client, asked, how, wait=wait)


@click.command("stop")
@click.argument("action_id", callback=a_name)
@asks
def stop(*, client: ActionsClient, form: str, action_id: str) -> None:
    """Stop a job before its next task; what was sent stays sent."""
    show(
        client.post(path_of("actions", action_id, "cancel"), {}, key=None, acts=True).document, form
    )


@click.command("resume")
@click.argument("action_id", callback=a_name)
@_yes_option
@_wait_option
@asks
def resume(*, client: ActionsClient, form: str, action_id: str, yes: bool, wait: bool) -> None:
    """Go on with a job that was interrupted: with the tasks that were never begun alone."""
    confirmed(f"Go on with job {value_text(action_id)}?", yes=yes)
    answer = client.post(path_of("actions", action_id, "resume"), {}, key=None, acts=True)
    finish(client, answer.document, form, wait=wait)


def _job(client: ActionsClient, asked: Asked, how: How, *, wait: bool) -> None:
    answer = carry_out(client, asked, how)
    if answer is not None:
        finish(client, answer.document, how.form, wait=wait)


def finish(client: ActionsClient, document: dict[str, Any], form: str, *, wait: bool) -> None:
    """Follow a job that was taken, if asked to; print it. Raises ActionCommandError."""
    action = understood(document, ActionSaid)
    if not wait and action.state not in ENDED:
        show(document, form)
        return
    say(f"job {action.id}: {number_of(action.total, 'task')}")
    with progress_bar("sending again") as on_look:
        document = follow(client, action.id, on_look)
    show(document, form)
    raise_for(understood(document, ActionSaid))


COMMANDS: Final = (bulk_retry, retry_group, stop, resume)
