"""The options that the ``action`` commands share, and what they become."""

import functools
import json
import re
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from z4j_exporter.actions.engine_request import TASK_STATES
from z4j_exporter.cli.action_client import DEFAULT_TIMEOUT_SECONDS, ActionsClient
from z4j_exporter.cli.action_errors import ActionCommandError
from z4j_exporter.cli.action_target import (
    DEFAULT_URL,
    TOKEN_FILE_VARIABLE,
    TOKEN_VARIABLE,
    URL_VARIABLE,
    target_of,
)
from z4j_exporter.cli.output import output_option
from z4j_exporter.cli.streams import lenient_output, quiet_pipe

Command = Callable[..., Any]

#: Visible characters, as the API takes them.
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class How:
    """How a command asks and answers."""

    dry_run: bool
    yes: bool
    #: "text" or "json".
    form: str
    idempotency_key: str | None


def _a_key(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and not _KEY.fullmatch(value):
        raise click.BadParameter("write 1 to 255 visible ASCII characters.")
    return value


def _apply(command: Command, options: Sequence[Callable[[Command], Command]]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


_connection_options = (
    click.option(
        "--url",
        envvar=URL_VARIABLE,
        default=DEFAULT_URL,
        show_default=True,
        help=f"Where the exporter serves the actions; or set {URL_VARIABLE}.",
    ),
    click.option(
        "--token-file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help=f"File that holds the token alone; or set {TOKEN_VARIABLE} to the token or"
        f" {TOKEN_FILE_VARIABLE} to the file.",
    ),
    click.option(
        "--ca-file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="CA certificates to trust for --url (PEM).",
    ),
    click.option(
        "--client-certificate",
        type=click.Path(path_type=Path),
        nargs=2,
        metavar="CERT KEY",
        help="Certificate and key to show to --url (PEM).",
    ),
    click.option(
        "--insecure",
        is_flag=True,
        help="Send the token to another machine without TLS.",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(min=1, max=3600),
        default=DEFAULT_TIMEOUT_SECONDS,
        show_default=True,
        metavar="SECONDS",
        help="How long one answer may take.",
    ),
)


def asks(command: Command) -> Command:
    """Give a command the options of whom to ask: it gets ``client`` and ``form``."""

    @functools.wraps(command)
    def run(
        *,
        url: str,
        token_file: Path | None,
        ca_file: Path | None,
        client_certificate: tuple[Path, Path] | None,
        insecure: bool,
        timeout: float,
        **given: Any,
    ) -> None:
        target = target_of(
            url,
            token_file=token_file,
            ca_file=ca_file,
            certificate=client_certificate,
            insecure=insecure,
        )
        with closing(ActionsClient(target, timeout=timeout)) as client:
            try:
                command(client=client, **given)
            except ActionCommandError as error:
                if given["form"] == "json" and error.problem is not None:
                    print_json(error.problem)
                raise

    return _apply(run, (*_connection_options, output_option))


def print_json(document: Any) -> None:
    """Print a document in ASCII, with nothing in it that a terminal obeys."""
    with quiet_pipe():
        lenient_output().write(json.dumps(document, indent=2).replace("\x7f", "\\u007f") + "\n")


_acting_options = (
    click.option("--dry-run", is_flag=True, help="Say what would happen; do nothing."),
    click.option(
        "--yes", "-y", is_flag=True, help="Do not ask; needed where there is no terminal."
    ),
    click.option(
        "--idempotency-key",
        callback=_a_key,
        metavar="KEY",
        help="Ask for the same once more: what was done under this key is not done again."
        "  [default: a new one]",
    ),
)


def acts(command: Command) -> Command:
    """Give a command the options of an action: it gets ``client`` and ``how``."""

    @functools.wraps(command)
    def run(
        *, dry_run: bool, yes: bool, idempotency_key: str | None, form: str, **given: Any
    ) -> None:
        command(how=How(dry_run, yes, form, idempotency_key), **given)

    @functools.wraps(command)
    def with_form(**given: Any) -> None:
        run(**given)

    return asks(_apply(with_form, _acting_options))


from_state_option = click.option(
    "--from-state",
    type=click.Choice(TASK_STATES),
    multiple=True,
    help="Only if the task is in this state; may be given several times.",
)

_sending_options = (
    from_state_option,
    click.option("--to-queue", metavar="NAME", help="Send to this queue instead of its own."),
    click.option(
        "--new-queue", is_flag=True, help="On Redis: also to a queue that nobody is known to use."
    ),
    click.option("--priority", type=click.IntRange(0, 255), metavar="N", help="Another priority."),
    click.option(
        "--time-limit",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="Another hard time limit.",
    ),
    click.option(
        "--soft-time-limit",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="Another soft time limit.",
    ),
    click.option(
        "--unverified",
        is_flag=True,
        help="Take the result backend's arguments even where nobody can tell whether the task"
        " changed them.",
    ),
    click.option("--again", is_flag=True, help="Send also what was sent again before."),
)


def sends(command: Command) -> Command:
    """Give a command the options of how tasks are sent: it gets ``sending``, for the body."""

    @functools.wraps(command)
    def run(*, to_queue: str | None, **given: Any) -> None:
        names = (
            "from_state", "new_queue", "priority", "time_limit", "soft_time_limit", "unverified",
            "again",
        )  # fmt: skip
        sending = {name: given.pop(name) for name in names} | {"queue": to_queue}
        command(sending=filled(sending), **given)

    return _apply(run, _sending_options)


def filled(body: dict[str, Any]) -> dict[str, Any]:
    """Return what was given: the API has its own defaults."""
    return {name: value for name, value in body.items() if value not in (None, False, ())}
