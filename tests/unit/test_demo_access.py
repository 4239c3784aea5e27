"""Who may act in the demo, and where."""

import shlex
import stat
from pathlib import Path

import pytest

from z4j_exporter.actions.alert_rules import read as read_rules
from z4j_exporter.actions.tokens import digest
from z4j_exporter.actions.tokens_file import read as read_tokens
from z4j_exporter.actions.tokens_schema import TokenEntry
from z4j_exporter.cli.action import action
from z4j_exporter.demo.access import Access, actions_address, make_access
from z4j_exporter.web.address import Address, bind


@pytest.fixture
def access(tmp_path: Path) -> Access:
    tmp_path.chmod(0o700)
    return make_access(
        tmp_path, Address("127.0.0.1", 41234), operator_file=tmp_path / "operator.token"
    )


def test_the_files_are_what_the_exporter_reads_and_nobody_elses(access: Access) -> None:
    entries = read_tokens(access.token_file).entries
    assert {entry.name: entry.role for entry in entries} == {
        "operator": "operator", "visitor": "viewer", "alertmanager": "alert"
    }  # fmt: skip
    assert access.operator_file.read_text().strip() == access.tokens["operator"]
    for path in (access.token_file, access.operator_file):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    hashes = {entry.digest for entry in entries if isinstance(entry, TokenEntry)}
    assert hashes == {digest(token) for token in access.tokens.values()}


def test_one_rule_acts_and_the_other_says_what_it_would_do(access: Access) -> None:
    assert [rule.enabled for rule in read_rules(access.rules_file)] == [True, False]


def test_no_token_is_shown(access: Access) -> None:
    shown = repr(access) + access.example + access.rules_file.read_text()
    assert not [token for token in access.tokens.values() if token in shown]


def test_the_example_is_a_command_that_there_is(access: Access) -> None:
    program, group, verb, *rest = shlex.split(access.example)
    assert (program, group) == ("z4j-exporter", "action")
    command = action.commands[verb]
    parsed = command.make_context(verb, rest).params
    assert parsed["url"] == "http://127.0.0.1:41234"
    assert str(parsed["token_file"]) == str(access.operator_file)


def test_the_usual_address_needs_no_option(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    usual = make_access(tmp_path, Address("127.0.0.1", 9809), operator_file=tmp_path / "token")
    assert "--url" not in usual.example


@pytest.mark.parametrize("port", [0, 19808])
def test_beside_another_port_the_actions_have_a_free_one(port: int) -> None:
    address = actions_address(Address("127.0.0.1", port))
    assert (address.host, address.port == 9809) == ("127.0.0.1", False)
    for each in bind(address):
        each.close()
