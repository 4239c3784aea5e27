"""Fixtures: the servers that tests share, and their logs beneath a failed test."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest

from tests.support import servers
from tests.support.process import LOGS, remove_scratch
from tests.support.proxy import Proxy
from tests.support.rabbitmq import Rabbit, Vhost

# The gate judges the change before it, with the same examples each time; on a person's machine
# hypothesis goes on looking for new ones.
hypothesis.settings.register_profile("gate", derandomize=True, database=None)
if os.environ.get("CI") == "true":
    hypothesis.settings.load_profile("gate")

#: How much of a server's log is shown beneath a failed test.
_LOG_TAIL_CHARACTERS = 4000


#: Longer parameters do not make good names, and may hold what each run makes anew: a token, a path.
_NAME_CHARACTERS = 40


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name tests of long parameters by a number: the processes must agree on every name."""
    if isinstance(val, str | bytes) and len(val) > _NAME_CHARACTERS:
        return argname
    return None


@pytest.fixture(scope="session")
def rabbit() -> Iterator[Rabbit]:
    """RabbitMQ, started once; use ``vhost`` unless the test is about the broker itself."""
    running = servers.rabbitmq()
    yield running
    running.stop()


@pytest.fixture
def vhost(rabbit: Rabbit) -> Iterator[Vhost]:
    """An empty vhost of the session's RabbitMQ."""
    made = rabbit.vhost()
    yield made
    rabbit.drop(made)


@pytest.fixture(scope="session")
def shared_valkey() -> Iterator[servers.Redis]:
    """A Valkey for the whole session; ``valkey`` gives it to a test with nothing in it."""
    with servers.valkey() as running:
        yield running


@pytest.fixture
def valkey(shared_valkey: servers.Redis) -> servers.Redis:
    """The session's Valkey, flushed. Not for tests that stop or configure it."""
    shared_valkey.client().flushall()
    return shared_valkey


@pytest.fixture
def proxied() -> Iterator[Callable[[int], Proxy]]:
    """``proxied(port)``: a faulty network in front of a port, closed after the test."""
    made: list[Proxy] = []

    def make(port: int) -> Proxy:
        made.append(Proxy(port))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: "pytest.CallInfo[None]") -> Iterator[None]:
    """Show the ends of the servers' logs beneath a failed test."""
    outcome: Any = yield
    report = outcome.get_result()
    if report.failed:
        for name, path in LOGS:
            if path.exists() and (text := path.read_text(errors="replace")):
                report.sections.append((f"log of {name}", text[-_LOG_TAIL_CHARACTERS:]))


def pytest_sessionfinish() -> None:
    """Leave nothing behind in the temporary directory."""
    remove_scratch()
