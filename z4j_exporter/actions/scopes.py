"""Tells whether a name lies within a scope: one of several globs must match the whole name.

``*`` is any number of characters, dots and line ends too; ``?`` is one; ``[ab]``, ``[a-z]`` and
``[!ab]`` are one of, or none of, several; ``[*]`` is a star itself. Case counts everywhere. That is
Python's ``fnmatch.fnmatchcase``, whose patterns take time that grows with the name's length, not
with its powers: between two stars it never goes back.
"""

import fnmatch
import functools
import re
from collections.abc import Iterable

#: Characters of one glob.
MOST_CHARACTERS = 256


def within(name: str | None, globs: Iterable[str]) -> bool:
    """Return whether a scope allows a name.

    No globs allow every name, also an unknown one (None); else an unknown name is not allowed,
    since nobody can say that it may be touched.
    """
    patterns = tuple(globs)
    if not patterns:
        return True
    return name is not None and any(_compiled(glob).match(name) for glob in patterns)


@functools.lru_cache(maxsize=4096)
def _compiled(glob: str) -> re.Pattern[str]:
    # translate() ends the pattern with an anchor, match() begins at the name's first character.
    return re.compile(fnmatch.translate(glob))


def check_glob(glob: str) -> str:
    """Return a glob that may stand in a token file; raises ValueError that does not quote it."""
    if not glob:
        raise ValueError("a glob must not be empty")
    if len(glob) > MOST_CHARACTERS:
        raise ValueError(f"a glob has at most {MOST_CHARACTERS} characters")
    if not glob.isprintable():
        raise ValueError("a glob must not have control characters")
    if glob != glob.strip():
        raise ValueError("a glob must not begin or end with a space")
    return glob
