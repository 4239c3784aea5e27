"""A typo in the name of a variable is told, and nothing that is meant is."""

import pytest
from click import Option

from tools.reference_commands import all_commands
from z4j_exporter.actions.audit_key import ENVIRONMENT_VARIABLE
from z4j_exporter.cli.action_target import TOKEN_FILE_VARIABLE, TOKEN_VARIABLE, URL_VARIABLE
from z4j_exporter.cli.unknown_variables import known_variables, unknown_variables
from z4j_exporter.config import ENVIRONMENT_PREFIX


def told(**variables: str) -> list[tuple[str, str]]:
    return list(unknown_variables({f"{ENVIRONMENT_PREFIX}{n}": v for n, v in variables.items()}))


def test_a_typo_is_told_with_what_was_meant_and_never_its_value() -> None:
    found = told(BROKR_URL="redis://:secret-word@h", MAX_SERIES="5", QUITE_ANOTHER_THING="1")
    assert found == [
        ("Z4J_EXPORTER_BROKR_URL", "Z4J_EXPORTER_BROKER_URL"),
        ("Z4J_EXPORTER_QUITE_ANOTHER_THING", ""),
    ]
    assert "secret-word" not in str(found)


def test_only_secrets_come_from_files() -> None:
    assert told(BROKER_URL_FILE="/run/secrets/b") == []
    assert told(MAX_SERIES_FILE="/x") == [
        ("Z4J_EXPORTER_MAX_SERIES_FILE", "Z4J_EXPORTER_MAX_SERIES")
    ]


def test_other_programs_variables_are_theirs() -> None:
    assert (
        list(unknown_variables({"PATH": "/bin", "Z4J_EXPORTERX": "1", "z4j_exporter_x": ""})) == []
    )


def test_what_any_command_reads_is_known() -> None:
    read = {URL_VARIABLE, TOKEN_VARIABLE, TOKEN_FILE_VARIABLE, ENVIRONMENT_VARIABLE}
    for _, command in all_commands():
        for option in command.params:
            if isinstance(option, Option) and isinstance(option.envvar, str):
                read.add(option.envvar)
    assert len(read) > 6
    assert {name.removeprefix(ENVIRONMENT_PREFIX) for name in read} <= known_variables()


#: As a kubelet sets them for the Services z4j-exporter and z4j-exporter-actions.
SERVICES = {
    "SERVICE_HOST": "10.0.0.1",
    "SERVICE_PORT": "9808",
    "SERVICE_PORT_HTTP_METRICS": "9808",
    "PORT": "tcp://10.0.0.1:9808",
    "PORT_9808_TCP": "tcp://10.0.0.1:9808",
    "PORT_9808_TCP_PROTO": "tcp",
    "PORT_9808_TCP_PORT": "9808",
    "PORT_9808_TCP_ADDR": "10.0.0.1",
}


@pytest.mark.parametrize("service", ["", "ACTIONS_"])
def test_what_kubernetes_adds_for_a_service_is_no_typo(service: str) -> None:
    assert told(**{service + name: value for name, value in SERVICES.items()}) == []


def test_a_persons_port_is_none_of_a_service() -> None:
    assert [name for name, _ in told(PORT="9808", LISTEN_PORT="9808")] == [
        "Z4J_EXPORTER_LISTEN_PORT",
        "Z4J_EXPORTER_PORT",
    ]


def test_kubernetes_sets_no_setting() -> None:
    taken = {name for name in known_variables() if name.endswith(tuple(SERVICES))}
    assert taken == set()


def test_an_odd_name_does_not_reach_the_log_as_it_is() -> None:
    ((name, _),) = told(**{"X\n\x1b[31m\udcff" + "y" * 500: ""})
    assert name.isascii()
    assert name.isprintable()
    assert len(name) < 150
