"""Tells the options of each command but ``run``, as click has them."""

import re
from collections.abc import Collection, Iterator

import click

from tools.reference_cells import cell, code, table
from z4j_exporter.cli import commands
from z4j_exporter.config import ENVIRONMENT_PREFIX, Settings

#: The pages that explain a command.
PAGES = {
    "doctor": "doctor.md",
    "events": "events.md",
    "replay": "events.md#replaying",
    "trace": "tracing.md",
    "action": "action-command.md",
    "token": "actions-access.md",
    "rules": "alertmanager.md",
    "audit": "actions.md#what-is-written-down",
    "metrics": "metrics.md",
}
HEAD = ("option", "default", "")
Row = tuple[str, str, str]


def all_commands() -> Iterator[tuple[str, click.Command]]:
    """Yield each command that does something, by its name: ``run``, ``token new``."""
    yield from _inside(commands, "")


def _inside(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _inside(command, f"{path}{name} ")
        elif command is not None:
            yield f"{path}{name}", command


def is_setting(parameter: click.Parameter) -> bool:
    """Return whether an option is one of ``run``'s, with its variable and key."""
    field = Settings.model_fields.get(parameter.name or "")
    description = (field.description or "") if field else ""
    told = getattr(parameter, "help", None) or ""
    return bool(field) and told.startswith(description)


def commands_text() -> str:
    """Return a section for each command, ``run`` left out."""
    groups: dict[str, dict[str, click.Command]] = {}
    for name, command in all_commands():
        if name != "run":
            groups.setdefault(name.split()[0], {})[name] = command
    return "\n\n".join(_group(name, found) for name, found in groups.items())


def _group(name: str, found: dict[str, click.Command]) -> str:
    """Return the sections of a group's commands; what all of them take is told once."""
    rows = [{_row(option) for option in _own(command)} for command in found.values()]
    common = set.intersection(*rows) if len(found) > 1 else set()
    parts = [_section(one, command, common) for one, command in found.items()]
    if common:
        first = next(iter(found.values()))
        shared = [row for row in map(_row, _own(first)) if row in common]
        head = f"### z4j-exporter {name}\n\nOptions of all its commands"
        parts.insert(0, f"{head}:\n\n{table(HEAD, shared)}")
    return "\n\n".join(parts)


def _own(command: click.Command) -> list[click.Option]:
    """Return the options that are not settings of ``run``."""
    options = [p for p in command.params if isinstance(p, click.Option)]
    return [p for p in options if not is_setting(p) and p.name != "config"]


def _section(name: str, command: click.Command, common: Collection[Row]) -> str:
    page = PAGES.get(name.split()[0])
    more = f" More: [{page.partition('#')[0]}]({page})." if page else ""
    parts = [f"### z4j-exporter {name}", cell((command.help or "").split("\n\n")[0]) + more]
    arguments = [p for p in command.params if isinstance(p, click.Argument)]
    usage = " ".join(p.make_metavar(click.Context(command)) for p in arguments)
    parts.append(code(f"z4j-exporter {name} {usage}".strip()))
    rows = [row for row in map(_row, _own(command)) if row not in common]
    if rows:
        parts.append(table(HEAD, rows))
    shared = [max(p.opts, key=len) for p in command.params if is_setting(p)]
    if shared:
        listed = ", ".join(map(code, shared))
        parts.append(f"And of `run`, with their variables and keys: `--config`, {listed}.")
    return "\n\n".join(parts)


def _row(option: click.Option) -> Row:
    value = "" if option.is_flag else f" {option.make_metavar(click.Context(click.Command('')))}"
    names = ", ".join(code(f"{name}{value}") for name in sorted(option.opts, key=len, reverse=True))
    if option.secondary_opts:
        names += ", " + ", ".join(code(name) for name in option.secondary_opts)
    told = (option.help or "").strip()
    named = option.envvar if isinstance(option.envvar, str) else None
    variables = [named] if named and named not in told else []
    # The default stands in a column of its own.
    default = re.search(r"\[default: ([^\]]*)\]", told)
    told = re.sub(r"\s*\[default: [^\]]*\]", "", told)
    if variables:
        told += f" Or set {code(variables[0])}."
    if option.required:
        shown = "needed"
    elif default:
        shown = cell(default.group(1))
    elif option.show_default and option.default is not None and not option.is_flag:
        shown = code(
            f"{option.default:g}" if isinstance(option.default, float) else str(option.default)
        )
    else:
        shown = "on" if option.is_flag and option.default is True else "none"
        shown = "off" if option.is_flag and shown == "none" else shown
    return names, shown, cell(_with_code(told))


def _with_code(text: str) -> str:
    """Mark options and variables that the help names in plain text as code."""
    marked = re.sub(rf"(?<![`\w-])({ENVIRONMENT_PREFIX}\w+|--[a-z][a-z-]+)(?![`\w])", r"`\1`", text)
    return marked if text.count("`") == 0 else text
