"""Tells the exit codes, as the exceptions and the commands of the package have them."""

import importlib
import pkgutil
from collections import defaultdict
from collections.abc import Iterator

import z4j_exporter
from tools.reference_cells import cell, table
from z4j_exporter.cli.audit import EXIT_NOT_INTACT
from z4j_exporter.cli.rules import EXIT_NOTHING
from z4j_exporter.doctor.model import EXIT_PROBLEM, EXIT_WARNING
from z4j_exporter.errors import ExporterError

#: Modules that are no part of the commands, and do something when they are imported.
_NOT_IMPORTED = ("z4j_exporter.capture.django", "z4j_exporter.demo.sample_app")
#: Exceptions that never end a command: they become an answer of the actions.
_NO_END = ("StoreError",)
#: Codes that no exception has.
_OTHERS = (
    (0, "It did what was asked, or was stopped by SIGTERM or Ctrl-C."),
    (1, "An error that nobody foresaw; a second signal while it stops."),
    (2, "Wrong usage: an option or argument that is not there, or lacks."),
    (EXIT_WARNING, "`doctor`: warnings."),
    (EXIT_PROBLEM, "`doctor`: problems."),
    (EXIT_NOT_INTACT, "`audit verify`: the log is not as it was written."),
    (EXIT_NOTHING, "`rules test`: no rule would act."),
    (130, "`events`, `replay`: ended by Ctrl-C."),
    (143, "`events`: ended by SIGTERM."),
)


def error_classes() -> Iterator[type[ExporterError]]:
    """Yield each exception of the package that has an exit code of its own."""
    for module in pkgutil.walk_packages(z4j_exporter.__path__, "z4j_exporter."):
        if module.name not in _NOT_IMPORTED and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    waiting: list[type[ExporterError]] = list(ExporterError.__subclasses__())
    while waiting:
        found = waiting.pop(0)
        waiting.extend(found.__subclasses__())
        if "exit_code" in vars(found) and found.__name__ not in _NO_END:
            yield found


def exits_text() -> str:
    """Return the table of exit codes."""
    meanings: defaultdict[int, list[str]] = defaultdict(list)
    for code, meaning in _OTHERS:
        meanings[code].append(meaning)
    for found in error_classes():
        meanings[found.exit_code].append(cell((found.__doc__ or "").split("\n")[0]))
    return table(("code", "meaning"), [(str(c), " ".join(m)) for c, m in sorted(meanings.items())])
