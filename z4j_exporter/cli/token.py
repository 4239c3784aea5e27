"""The commands ``z4j-exporter token …``: make, list and revoke the tokens of the actions."""

import json
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import click

from z4j_exporter.actions.model import Role
from z4j_exporter.actions.scopes import check_glob
from z4j_exporter.actions.tokens import make_token, stored
from z4j_exporter.actions.tokens_edit import with_token, without_entry
from z4j_exporter.actions.tokens_file import read
from z4j_exporter.actions.tokens_schema import Entry, TokenEntry, check_name
from z4j_exporter.actions.tokens_set import standing
from z4j_exporter.actions.tokens_write import change
from z4j_exporter.cli.output import output_option
from z4j_exporter.cli.say import say
from z4j_exporter.cli.show import printable
from z4j_exporter.cli.streams import lenient_output, quiet_pipe
from z4j_exporter.config import ENVIRONMENT_PREFIX
from z4j_exporter.errors import FileError

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = re.compile(r"([1-9][0-9]{0,5})([mhdw])")
#: Hexadecimal digits of a hash that tell two tokens apart, and are of no other use.
_SHOWN_HASH = 8

_file = click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path),
    envvar=f"{ENVIRONMENT_PREFIX}ACTIONS_TOKEN_FILE",
    required=True,
    help=f"The token file; or set {ENVIRONMENT_PREFIX}ACTIONS_TOKEN_FILE.",
)


def _a_name(_: click.Context, __: click.Parameter, value: str) -> str:
    try:
        return check_name(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None


def _some_globs(_: click.Context, __: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(check_glob(glob) for glob in value)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None


def _an_end(_: click.Context, __: click.Parameter, value: str | None) -> datetime | None:
    """Read a duration from now, or a time."""
    if value is None:
        return None
    now = datetime.fromtimestamp(time.time(), UTC)
    try:
        if match := _DURATION.fullmatch(value):
            return now + timedelta(**{_UNITS[match[2]]: int(match[1])})
        end = datetime.fromisoformat(value)
        if end.tzinfo is not None and end > now:
            return end.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise click.BadParameter(
        "write 30m, 12h, 90d or 4w, or a time to come with its zone, such as 2099-01-31T00:00:00Z."
    )


@click.group()
def token() -> None:
    """Make, list and revoke the tokens that the actions ask for."""


@token.command("new")
@click.argument("name", callback=_a_name)
@click.option(
    "--role",
    type=click.Choice(get_args(Role)),
    required=True,
    help="viewer sees, operator retries and cancels, admin purges too; alert delivers alerts and"
    " nothing else.",
)
@click.option(
    "--tasks",
    multiple=True,
    callback=_some_globs,
    metavar="GLOB",
    help="Tasks it may touch, such as 'shop.*'; may be given several times.  [default: all]",
)
@click.option(
    "--queues",
    multiple=True,
    callback=_some_globs,
    metavar="GLOB",
    help="Queues it may touch; may be given several times.  [default: all]",
)
@click.option(
    "--expires",
    callback=_an_end,
    metavar="DURATION",
    help="When it ends: 30m, 12h, 90d, 4w, or a time with its zone.  [default: never]",
)
@click.option("--comment", metavar="TEXT", help="Words to keep beside it.")
@_file
@output_option
def new(
    *,
    name: str,
    role: str,
    tasks: tuple[str, ...],
    queues: tuple[str, ...],
    expires: datetime | None,
    comment: str | None,
    path: Path,
    form: str,
) -> None:
    """Make a token: it is printed on standard output, once, and only its hash is kept.

    A running exporter takes it within a second. The file is made when it is not there.
    """
    secret = make_token()
    entry: dict[str, Any] = {"name": name, "role": role, "hash": stored(secret)}
    if tasks:
        entry["tasks"] = list(tasks)
    if queues:
        entry["queues"] = list(queues)
    if expires is not None:
        entry["not_after"] = _written(expires)
    entry["created"] = _written(datetime.fromtimestamp(time.time(), UTC))
    if comment is not None:
        entry["comment"] = printable(comment)
    change(path, lambda text: with_token(text, entry, name=str(path)), create=True)
    shown = json.dumps({"token": secret, **entry}, indent=2) if form == "json" else secret
    _print_or_withdraw(shown, name, path)
    end = f"until {entry['not_after']}" if expires is not None else "without an end"
    say(f"{path} has the hash of {name}, {role}, {end}; the token is not shown again")


@token.command("list")
@_file
@output_option
def list_(*, path: Path, form: str) -> None:
    """List tokens and client certificates: names, roles, scopes, whether they are good now."""
    now = time.time()
    rows = [_row(entry, now) for entry in read(path).entries]
    out = lenient_output()
    with quiet_pipe():
        out.write(json.dumps(rows, indent=2) + "\n" if form == "json" else _table(rows))


@token.command("revoke")
@click.argument("name")
@_file
@output_option
def revoke(*, name: str, path: Path, form: str) -> None:
    """Take a token or a client certificate out of the file; it ends within a second."""
    change(path, lambda text: without_entry(text, name, name=str(path)))
    if form == "json":
        with quiet_pipe():
            click.echo(json.dumps({"revoked": name}))
    say(f"{path} has {name} no more")


def _print_or_withdraw(text: str, name: str, path: Path) -> None:
    """Print the token; one that nobody saw must not stay good."""
    try:
        # Not quiet_pipe: that a pipe closes matters here.
        click.echo(text)
    except OSError as error:
        change(path, lambda content: without_entry(content, name, name=str(path)))
        raise FileError(
            f"standard output cannot be written: {error.strerror}; the token was withdrawn"
        ) from None


def _written(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _row(entry: Entry, now: float) -> dict[str, Any]:
    if isinstance(entry, TokenEntry):
        kind, key = "token", f"sha256:{entry.digest.hex()[:_SHOWN_HASH]}…"
    else:
        san = getattr(entry, "san", ("", ""))
        kind, key = "certificate", ":".join(san)
    return {
        "name": entry.name,
        "kind": kind,
        "role": entry.role,
        "state": standing(entry, now),
        "tasks": list(entry.tasks),
        "queues": list(entry.queues),
        "not_before": _written(entry.not_before) if entry.not_before else None,
        "not_after": _written(entry.not_after) if entry.not_after else None,
        "created": _written(entry.created) if entry.created else None,
        "comment": entry.comment,
        "known_by": key,
    }


def _table(rows: list[dict[str, Any]]) -> str:
    heads = ("NAME", "ROLE", "STATE", "TASKS", "QUEUES", "ENDS", "KNOWN BY", "COMMENT")
    cells = [
        (
            row["name"],
            row["role"],
            row["state"],
            ", ".join(row["tasks"]) or "all",
            ", ".join(row["queues"]) or "all",
            row["not_after"] or "never",
            row["known_by"],
            row["comment"] or "",
        )
        for row in rows
    ]
    lines = [heads, *(tuple(printable(cell) for cell in line) for line in cells)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        + "\n"
        for line in lines
    )
