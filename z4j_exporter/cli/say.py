"""Says things on standard error, one line each, apart from what a command prints."""

import click

from z4j_exporter.cli.show import printable
from z4j_exporter.sources.recording import BadLine

#: Bad lines of one file that are told one by one.
_BAD_LINES_TOLD = 5


def say(sentence: str) -> None:
    """Print one line to standard error; nothing in it can forge another."""
    click.echo(f"z4j-exporter: {printable(sentence)}", err=True)


class BadLines:
    """Tells the first bad lines of a recording, counts them all."""

    def __init__(self, location: str) -> None:
        self._location = location
        self.count = 0

    def tell(self, line: BadLine) -> None:
        """Take note of a line."""
        self.count += 1
        if self.count <= _BAD_LINES_TOLD:
            say(f"{self._location}, line {line.number}: {line.reason}")
        elif self.count == _BAD_LINES_TOLD + 1:
            say("more bad lines are only counted")
