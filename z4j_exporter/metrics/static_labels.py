"""Declares families that carry a user's static labels beside their own."""

from collections.abc import Collection, Mapping

from z4j_exporter.errors import ConfigError
from z4j_exporter.metrics.store import Family


class Declare:
    """Declares families: the prefix, the static labels, and prometheus_client's order of labels."""

    def __init__(self, prefix: str, static: frozenset[str]) -> None:
        self._prefix = prefix
        self._static = static

    def __call__(self, name: str, kind: str, text: str, *labels: str) -> Family:
        """Return the declaration of one family."""
        names = tuple(sorted((*labels, *self._static)))
        counts = "event" if kind == "counter" else ""
        return Family(self._prefix + name, kind, text, names, fixed=self._static, counts=counts)  # type: ignore[arg-type]  # the callers' literals


def check_static(static: Mapping[str, str], taken: Collection[str]) -> None:
    """Raise ConfigError for a static label that the families have already."""
    for name in static:
        if name in (*taken, "le"):
            raise ConfigError(
                f"--static-label: {name!r} is a label that the metrics have already",
                hint="Choose another name, such as environment or region.",
            )
