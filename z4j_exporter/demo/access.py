"""Who may act in the demo: tokens made at its start, the rules for alerts, and a free port."""

import shlex
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from socket import socket

from z4j_exporter.actions.model import Role
from z4j_exporter.actions.tokens import make_token, stored
from z4j_exporter.actions.tokens_edit import with_token
from z4j_exporter.actions.tokens_write import change
from z4j_exporter.config.actions import DEFAULT_ACTIONS_ADDRESS
from z4j_exporter.demo.alerts import OUTAGE, RATIO
from z4j_exporter.errors import ListenError
from z4j_exporter.web.address import Address, bind, parse_address

#: This machine only, whatever address the pages have.
_HOST = "127.0.0.1"
#: The port of the pages beside which the actions have theirs.
_USUAL_PAGES_PORT = 9808
#: The task that people retry: it fails again, since its arguments are wrong.
FAILING_TASK = "orders.validate"
#: Tokens by their owner's name, and the owner's role.
_TOKENS: dict[str, Role] = {"operator": "operator", "visitor": "viewer", "alertmanager": "alert"}

#: After an outage what it broke is sent again; the other rule says only what it would do.
_RULES = f"""\
rules:
  - name: retry-after-an-outage
    matchers: ['alertname="{OUTAGE}"']
    action:
      verb: bulk-retry
      task: "{{{{ labels.task }}}}"
      exception: "{{{{ labels.exception }}}}"
      since: 5m
      max: 50
    tasks: ["mail.*"]
    cooldown: 20s
    max_per_hour: 0
    breaker: {{failures: 10, half_open_after: 1m}}
    enabled: true
  - name: retry-some-of-many-failed
    matchers: ['alertname="{RATIO}"']
    action:
      verb: bulk-retry
      task: "{{{{ labels.task }}}}"
      since: 5m
      max: 5
    tasks: ["crawl.*"]
    cooldown: 20s
    max_per_hour: 0
    enabled: false
"""


@dataclass(frozen=True, slots=True)
class Access:
    """The files of those who act, and where the actions are to listen."""

    address: Address
    token_file: Path
    rules_file: Path
    #: Tokens by their owner's name; they are in files, and in no log.
    tokens: dict[str, str] = field(repr=False)
    #: File with the token of the operator alone, for the command ``action``.
    operator_file: Path

    @property
    def url(self) -> str:
        """Where the actions are asked for."""
        return f"http://{self.address}"

    @property
    def example(self) -> str:
        """A command that acts, to be tried in another terminal."""
        url = [] if str(self.address) == DEFAULT_ACTIONS_ADDRESS else ["--url", self.url]
        command = ["z4j-exporter", "action", "bulk-retry", "--task", FAILING_TASK, *url]
        return shlex.join([*command, "--token-file", str(self.operator_file)])


def make_access(directory: Path, address: Address, *, operator_file: Path) -> Access:
    """Make tokens and rules in ``directory``, and ``operator_file``. Raises FileError."""
    token_file, rules_file = directory / "tokens.yaml", directory / "rules.yaml"
    tokens = {name: make_token() for name in _TOKENS}
    for name, role in _TOKENS.items():
        entry = {"name": name, "role": role, "hash": stored(tokens[name])}
        change(token_file, lambda text, e=entry: with_token(text, e, name="tokens"), create=True)  # type: ignore[misc]
    rules_file.write_text(_RULES)
    operator_file.touch(0o600)
    operator_file.write_text(tokens["operator"] + "\n")
    return Access(address, token_file, rules_file, tokens, operator_file)


def actions_address(pages: Address) -> Address:
    """Return where the actions listen: the usual port beside the usual one, else a free one.

    So demos that run at the same time never want the same. Raises ListenError.
    """
    if pages.port == _USUAL_PAGES_PORT:
        usual = parse_address(DEFAULT_ACTIONS_ADDRESS)
        with suppress(ListenError):
            _close(bind(usual))
            return usual
    free = bind(Address(_HOST, 0))
    port = free[0].getsockname()[1]
    _close(free)
    return Address(_HOST, port)


def _close(sockets: list[socket]) -> None:
    for each in sockets:
        each.close()
