"""Reads the ids of a bulk retry from a file or from standard input, and says which one is wrong."""

import sys
from pathlib import Path
from typing import Final

import click

from z4j_exporter.cli.action_values import name_of
from z4j_exporter.config.actions import BULK_LIMIT
from z4j_exporter.errors import ConfigError, FileError

#: Bytes of all ids: ten thousand of 255 characters, of up to four bytes each.
_MOST_BYTES: Final = 11 * 1024 * 1024


def read_ids(path: Path) -> list[str]:
    """Return the ids of a file, ``-`` for standard input; empty lines are left out.

    Raises FileError, and ConfigError for what is no list of ids.
    """
    where = "standard input" if str(path) == "-" else str(path)
    ids = []
    for number, line in enumerate(_text(path, where).splitlines(), 1):
        if not (task_id := line.strip()):
            continue
        try:
            ids.append(name_of(task_id))
        except click.BadParameter:
            raise ConfigError(
                f"{where}, line {number}: this is no id of a task",
                hint="Write one id on each line, and nothing else.",
            ) from None
    if not ids:
        raise ConfigError(f"{where} has no ids")
    if len(ids) > BULK_LIMIT:
        raise ConfigError(f"{where} has {len(ids)} ids, and one job takes {BULK_LIMIT}")
    return ids


def _text(path: Path, where: str) -> str:
    try:
        if str(path) == "-":
            data = sys.stdin.buffer.read(_MOST_BYTES + 1)
        else:
            with path.open("rb") as file:
                data = file.read(_MOST_BYTES + 1)
        text = data.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise FileError(f"{where} cannot be read: {reason}") from None
    if len(data) > _MOST_BYTES:
        raise ConfigError(f"{where} is no list of ids: it has more than {_MOST_BYTES} bytes")
    return text
