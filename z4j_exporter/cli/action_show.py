"""The command ``action show``: what is known of a task, a group or an action."""

from typing import Any, Final

import click

from z4j_exporter.cli.action_answers import ActionSaid, understood
from z4j_exporter.cli.action_client import ActionsClient
from z4j_exporter.cli.action_do import path_of, show
from z4j_exporter.cli.action_errors import ActionRefusedError
from z4j_exporter.cli.action_follow import follow, progress_bar, raise_for, whole
from z4j_exporter.cli.action_options import asks, print_json
from z4j_exporter.cli.action_text import fact_lines, value_text
from z4j_exporter.cli.action_values import a_name
from z4j_exporter.cli.streams import lenient_output, quiet_pipe

#: What an id is looked for as, in this order.
_KINDS: Final = ("action", "task", "group")
#: Statuses that say only that it is nothing of this kind, or that this kind is not known here.
_NOT_THIS: Final = (404, 422)


@click.command("show")
@click.argument("wanted", metavar="ID", callback=a_name)
@click.option(
    "--as",
    "kind",
    type=click.Choice(_KINDS),
    help="What ID is the id of.  [default: the first of these that is known]",
)
@click.option("--ask", is_flag=True, help="Of a task: ask result backend and workers too.")
@click.option("--follow", "following", is_flag=True, help="Of a job: wait for its end.")
@asks
def show_command(
    *,
    client: ActionsClient,
    form: str,
    wanted: str,
    kind: str | None,
    ask: bool,
    following: bool,
) -> None:
    """Show what is known of a task, a group or an action.

    Exit code 0 when it was shown, whatever it is; with --follow, as the job ends.
    """
    if ask and kind not in (None, "task"):
        raise click.UsageError("--ask goes with --as task.")
    if following and (ask or kind not in (None, "action")):
        raise click.UsageError("--follow goes with --as action.")
    if following:
        with progress_bar("sending again") as on_look:
            document = follow(client, wanted, on_look)
        show(document, form)
        raise_for(understood(document, ActionSaid))
        return
    kinds = ("task",) if ask else (kind,) if kind is not None else _KINDS
    found, document = _find(client, wanted, kinds, ask=ask)
    if form == "json":
        print_json(document)
    elif found == "action":
        show(document, form)
    else:
        with quiet_pipe():
            lenient_output().writelines(f"{line}\n" for line in _lines(found, document))


def _find(
    client: ActionsClient, wanted: str, kinds: tuple[str, ...], *, ask: bool
) -> tuple[str, dict[str, Any]]:
    for kind in kinds:
        try:
            if kind == "action":
                return kind, whole(client, wanted)
            path = path_of(f"{kind}s", wanted) + ("?ask=true" if ask else "")
            return kind, client.look(path).document
        except ActionRefusedError as error:
            # With one kind its own reason is the best one.
            if len(kinds) == 1 or error.status not in _NOT_THIS or error.problem is None:
                raise
    raise ActionRefusedError(
        "nothing is known of an action, a task or a group of this id",
        hint="With --ask, the result backend and the workers are asked for a task too.",
        status=404,
    )


def _lines(kind: str, document: dict[str, Any]) -> list[str]:
    rest = {name: value for name, value in document.items() if name != f"{kind}_id"}
    return [f"{kind} {value_text(document.get(f'{kind}_id'))}", *fact_lines(rest)]
