"""The commands ``z4j-exporter audit …``: tell whether the audit log is as it was written."""

import json
import sys
from pathlib import Path

import click

from z4j_exporter.actions.audit_chain import START, Head
from z4j_exporter.actions.audit_key import beside, existing_key
from z4j_exporter.actions.audit_verify import Report, as_document, verify
from z4j_exporter.cli.show import printable
from z4j_exporter.cli.streams import lenient_output, quiet_pipe

#: The exit code of a log that is not as it was written.
EXIT_NOT_INTACT = 13


@click.group()
def audit() -> None:
    """Look into the audit log of actions."""


@audit.command("verify")
@click.argument(
    "log",
    metavar="PATH",
    type=click.Path(path_type=Path),
    envvar="Z4J_EXPORTER_ACTIONS_AUDIT_PATH",
    required=True,
)
@click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    envvar="Z4J_EXPORTER_ACTIONS_AUDIT_KEY_FILE",
    help="The key that the log is written with.  [default: the environment variable"
    " Z4J_EXPORTER_ACTIONS_AUDIT_KEY, else PATH.key]",
)
@click.option(
    "--head",
    "expected",
    metavar="SEQ:MAC",
    help="An entry that the log must have, as the exporter told it: entries that were cut off at"
    " the end show against nothing else.",
)
@click.option(
    "--after",
    metavar="SEQ:MAC",
    help="The last entry of older files that are archived elsewhere; without it the log must begin"
    " with entry 1.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="For people, or for programs.",
)
def verify_command(
    log: Path, key_file: Path | None, expected: str | None, after: str | None, form: str
) -> None:
    """Find any change to the audit log: a byte, or a line changed, lost, moved or doubled.

    Reads the log's numbered files (PATH.000001 …) and PATH itself. Exit code: 0 when everything is
    as it was written, 13 when it is not, 2 to 5 when it could not be told.
    """
    report = verify(
        log,
        existing_key(log, key_file=key_file),
        expected=Head.parse(expected) if expected is not None else None,
        after=Head.parse(after) if after is not None else START,
    )
    out = lenient_output()
    with quiet_pipe():
        if form == "json":
            out.write(json.dumps(as_document(report), indent=2) + "\n")
        else:
            out.write(as_text(report, key_was_beside=key_file is None and beside(log).exists()))
    sys.exit(0 if report.ok else EXIT_NOT_INTACT)


def as_text(report: Report, *, key_was_beside: bool = False) -> str:
    """Return a report for people."""
    lines = []
    if report.fault is not None:
        fault = report.fault
        place = f"{fault.file}, line {fault.line}" if fault.line else fault.file
        lines += [f"NOT INTACT: {place}: {fault.reason}"]
        lines += [f"in order before it: {report.entries} entries, the last is {report.head}"]
    else:
        files = f"{len(report.files)} file{'s' if len(report.files) != 1 else ''}"
        lines += [f"intact: {report.entries} entries in {files}", f"head: {report.head}"]
    for torn in report.recovered:
        lines += [
            f"torn: {torn.file}, line {torn.line}: {torn.bytes} bytes that a crash or a full"
            f" disk left; entry {torn.seq} tells of them"
        ]
    more = report.recovered_total - len(report.recovered)
    if more:
        lines += [f"torn: {more} more places"]
    if report.ok and key_was_beside:
        lines += ["note: the key lies beside the log; who can read it can forge the log"]
    return "".join(f"{printable(line)}\n" for line in lines)
