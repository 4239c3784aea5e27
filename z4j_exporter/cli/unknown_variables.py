"""Finds the variables that look like settings and are none: a typo would go unnoticed."""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from z4j_exporter.config import ENVIRONMENT_PREFIX, Settings, is_secret

#: Variables, without the prefix, that are no settings of ``run``: those of other commands, and what
#: may not stand in a file. Names, not imports: they load much that ``run`` can do without.
_OTHERS = frozenset(
    {
        "CONFIG",
        "URL",
        "ACTIONS_URL",
        "ACTIONS_TOKEN",
        "ACTIONS_BEARER_TOKEN_FILE",
        "ACTIONS_AUDIT_KEY",
    }
)
#: What Kubernetes adds for a Service whose name begins with z4j-exporter, unless the pod has
#: ``enableServiceLinks: false``. The value tells such a PORT from a person's.
_SERVICE = re.compile(
    r"(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_SERVICE_PORT = re.compile(r"(\w+_)?PORT")
_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://")
#: Characters of a name that are shown.
_SHOWN = 100


def unknown_variables(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield each variable that no command reads, and the nearest known one, "" if none is near.

    Only names: a value may be a secret.
    """
    known = known_variables()
    for variable, value in sorted(environment.items()):
        name = variable.removeprefix(ENVIRONMENT_PREFIX)
        if name == variable or name in known or _of_a_service(name, value):
            continue
        near = get_close_matches(name, known, n=1)
        shown = variable[:_SHOWN].encode("unicode_escape").decode("ascii")
        yield shown, ENVIRONMENT_PREFIX + near[0] if near else ""


def known_variables() -> set[str]:
    """Return the names, without the prefix, that some command reads."""
    names = {field.upper() for field in Settings.model_fields}
    files = {f"{field.upper()}_FILE" for field in Settings.model_fields if is_secret(field)}
    return names | files | _OTHERS


def _of_a_service(name: str, value: str) -> bool:
    if _SERVICE.fullmatch(name):
        return True
    return bool(_SERVICE_PORT.fullmatch(name) and _SERVICE_URL.match(value))
