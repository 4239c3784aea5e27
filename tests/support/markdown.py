"""Reads the project's Markdown: its links, headings and commands, as GitHub shows them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^ *(```+|~~~+) *([^\n`]*)\n(.*?)^ *\1 *$", re.M | re.S)
_LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\[\]]*\])*\]\(<?([^()\s>]+)>?(?: \"[^\"]*\")?\)")
_REFERENCE = re.compile(r"^ {0,3}\[[^\]]+\]: *(\S+)", re.M)
_HTML = re.compile(r"<(?:a|img|source)\b[^>]*\b(?:href|src|srcset)=\"([^\"]+)\"")
_INDENTED = re.compile(r"(?:(?<=\n\n)|^)(?:(?: {4,}|\t).*(?:\n|$)|\n(?= {4,}))+", re.M)
_CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.S)


@dataclass(frozen=True)
class Page:
    """One Markdown file."""

    path: Path
    text: str

    @property
    def name(self) -> str:
        """Its path within the project."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def prose(self) -> str:
        """The text without fenced blocks."""
        return _FENCE.sub("", self.text)

    @property
    def blocks(self) -> list[str]:
        """Fenced and indented blocks of code."""
        fenced = [found[3] for found in _FENCE.finditer(self.text)]
        return fenced + [found[0] for found in _INDENTED.finditer(self.prose)]

    @property
    def inline(self) -> list[str]:
        """What stands in backticks, in one line each."""
        plain = _INDENTED.sub("\n", self.prose)
        return [" ".join(found[2].split()).replace("\\|", "|") for found in _CODE.finditer(plain)]

    @property
    def links(self) -> list[str]:
        """The targets of links and pictures."""
        plain = _CODE.sub("", self.prose)
        with_code = _LINK.findall(self.prose)  # code may stand in a link's text
        return [*with_code, *_REFERENCE.findall(plain), *_HTML.findall(plain)]

    @property
    def anchors(self) -> set[str]:
        """What ``#…`` can lead to: headings, by GitHub's rule, and ``id`` attributes."""
        found: set[str] = set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", self.prose))
        for heading in re.findall(r"^#{1,6} +(.+?) *#*$", self.prose, re.M):
            wanted = anchor = anchor_of(heading)
            number = 0
            while anchor in found:
                number += 1
                anchor = f"{wanted}-{number}"
            found.add(anchor)
        return found


def anchor_of(heading: str) -> str:
    """Return GitHub's anchor of a heading: small letters, hyphens, no other punctuation."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)  # a link's text
    text = re.sub(r"[^\w\- ]", "", text.replace("`", "").lower())
    return text.strip().replace(" ", "-")


@cache
def pages() -> tuple[Page, ...]:
    """Return every Markdown file of the project; hidden and installed directories left out."""
    skipped = {"node_modules", "build", "dist", "fixtures"}
    found = [
        path
        for path in ROOT.rglob("*.md")
        if not any(p.startswith(".") or p in skipped for p in path.relative_to(ROOT).parts[:-1])
    ]
    return tuple(Page(path, path.read_text(encoding="utf-8")) for path in sorted(found))


def commands_in(text: str, program: str) -> Iterator[list[str]]:
    """Yield the arguments of each call of a program in a block or piece of code.

    Prompts, variables before it, pipes and comments are taken off; so are the brackets of a
    synopsis.
    """
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    for line in lines:
        line = (
            re.sub(r"[\[\]]", " ", line)
            .replace("...", "…")
            .replace("$(", " ; ")
            .replace("<(", " ; ")
        )
        if program not in line:
            continue
        lexer = shlex.shlex(line.replace(")", " ; "), posix=True, punctuation_chars=";|&<>")
        lexer.whitespace_split = True
        try:
            words = list(lexer)
        except ValueError:  # a quote that is an apostrophe: this is no command
            continue
        yield from _calls(words, program)


def _calls(words: list[str], program: str) -> Iterator[list[str]]:
    call: list[str] | None = None
    first, of_option = True, False
    for word in [*words, ";"]:
        if set(word) <= set(";|&<>"):
            if call is not None:
                yield call
            call, first, of_option = None, word[0] not in "<>", False
        elif call is not None:
            call.append(word)
        elif of_option:  # a user's name, which may be the program's
            of_option = False
        elif first and (word == program or word.endswith(f"/{program}")):
            call = []
        elif word in ("-u", "--user"):
            of_option = True
        elif not re.match(r"^[A-Z_][A-Z0-9_]*=|^\$$|^(sudo|exec)$", word):
            first = False
