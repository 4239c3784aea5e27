"""Writes docs/configuration.md and the table of docs/metrics.md from the code.

``python -m tools.reference`` writes; with ``--check`` it writes nothing, and exits with 1 when a
file is not what the code says.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from click.testing import CliRunner

from tools.reference_commands import commands_text
from tools.reference_exits import exits_text
from tools.reference_settings import settings_text
from tools.reference_words import CONFIGURATION, EXAMPLE
from z4j_exporter.cli.metrics import metrics

DOCS = Path(__file__).parents[1] / "docs"
FAMILIES_BEGIN = "<!-- families: written by python -m tools.reference -->"
FAMILIES_END = "<!-- end of families -->"


def configuration() -> str:
    """Return docs/configuration.md: settings, commands and exit codes as the code has them."""
    parts = {
        "@example@": EXAMPLE,
        "@settings@": settings_text(),
        "@commands@": commands_text(),
        "@exits@": exits_text(),
    }
    text = CONFIGURATION
    for place, part in parts.items():
        text = text.replace(place, part)
    return text


def catalogue() -> str:
    """Return what ``z4j-exporter metrics --format markdown`` prints."""
    result = CliRunner().invoke(metrics, ["--format", "markdown"], catch_exceptions=False)
    return result.output.strip()


def with_families(document: str) -> str:
    """Return docs/metrics.md with the table between its markers replaced.

    Raises ValueError when a marker is missing.
    """
    before, begin, rest = document.partition(FAMILIES_BEGIN)
    _, end, after = rest.partition(FAMILIES_END)
    if not begin or not end:
        raise ValueError(f"docs/metrics.md lacks {FAMILIES_BEGIN} or {FAMILIES_END}")
    return f"{before}{begin}\n\n{catalogue()}\n\n{end}{after}"


def documents() -> dict[Path, str]:
    """Return each file that is written here, with the text that it must have."""
    metrics_page = DOCS / "metrics.md"
    return {
        DOCS / "configuration.md": configuration(),
        metrics_page: with_families(metrics_page.read_text(encoding="utf-8")),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Write what is not as it must be, or with ``--check`` only say so; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if a file is old")
    check = parser.parse_args(arguments).check
    old = [
        (path, text)
        for path, text in documents().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path, text in old:
        if not check:
            path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{path.name} {'is not in step' if check else 'written'}\n")
    return 1 if check and old else 0


if __name__ == "__main__":
    sys.exit(main())
