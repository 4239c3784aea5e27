"""A real RabbitMQ, started once for the test session; every test gets a vhost of its own."""

import os
import signal
import uuid
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx

from tests.support.certs import certificates
from tests.support.process import (
    Process,
    free_port,
    listening,
    require,
    scratch,
    stands_still,
    start,
    wait_ready,
    wait_until,
)

# The program in sbin switches to the user rabbitmq, which cannot read our directory.
_INNER_SCRIPT = "/usr/lib/rabbitmq/bin/rabbitmq-server"

_CONF = """\
listeners.tcp.1 = 127.0.0.1:{port}
listeners.ssl.1 = 127.0.0.1:{tls_port}
ssl_options.cacertfile = {certs.ca}
ssl_options.certfile = {certs.server_certificate}
ssl_options.keyfile = {certs.server_key}
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = false
management.tcp.ip = 127.0.0.1
management.tcp.port = {management_port}
loopback_users = none
collect_statistics_interval = 1000
"""


@dataclass(frozen=True)
class Vhost:
    """A virtual host and the URLs that lead into it."""

    name: str
    port: int
    tls_port: int
    management_url: str

    def url_at(
        self,
        port: int,
        *,
        scheme: str = "amqp",
        user: str = "guest",
        password: str = "guest",  # noqa: S107 - RabbitMQ's own default
    ) -> str:
        """Return the broker URL of this vhost through another port (a proxy's).

        ``user`` and ``password`` are put in as they are: encode what has to be.
        """
        path = quote(self.name, safe="")
        return f"{scheme}://{user}:{password}@127.0.0.1:{port}/{path}"

    @property
    def url(self) -> str:
        """The broker URL over plain TCP, as guest."""
        return self.url_at(self.port)

    @property
    def tls_url(self) -> str:
        """The broker URL over TLS, as guest; the CA is in ``certificates().ca``."""
        return self.url_at(self.tls_port, scheme="amqps")


@dataclass
class Rabbit:
    """A running RabbitMQ."""

    process: Process
    epmd: Process
    directory: Path
    port: int
    tls_port: int
    management_port: int

    @property
    def management_url(self) -> str:
        """The management API with its credentials."""
        return f"http://guest:guest@127.0.0.1:{self.management_port}/api"

    @property
    def _beam_pid(self) -> int:
        return int((self.directory / "pid").read_text())

    def vhost(self, name: str | None = None) -> Vhost:
        """Make a vhost in which guest may do everything."""
        name = name or f"test-{uuid.uuid4().hex[:8]}"
        self.api("PUT", f"/vhosts/{quote(name, safe='')}")
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        self.api("PUT", f"/permissions/{quote(name, safe='')}/guest", everything)
        return Vhost(name, self.port, self.tls_port, self.management_url)

    def drop(self, vhost: Vhost) -> None:
        """Remove a vhost with all that is in it; its connections are closed."""
        self.api("DELETE", f"/vhosts/{quote(vhost.name, safe='')}")

    def add_user(self, name: str, password: str, vhost: Vhost, **permissions: str) -> None:
        """Add a user with the given permissions in ``vhost`` (patterns; everything by default)."""
        self.api("PUT", f"/users/{quote(name, safe='')}", {"password": password, "tags": ""})
        rights = {"configure": ".*", "write": ".*", "read": ".*", **permissions}
        path = f"/permissions/{quote(vhost.name, safe='')}/{quote(name, safe='')}"
        self.api("PUT", path, rights)

    def queues(self, vhost: Vhost) -> list[str]:
        """Return the names of the queues in a vhost, asked from the broker now."""
        found = self.api("GET", f"/queues/{quote(vhost.name, safe='')}").json()
        return [queue["name"] for queue in found]

    def delete_queue(self, vhost: Vhost, queue: str) -> None:
        """Delete a queue under its consumers."""
        self.api("DELETE", f"/queues/{quote(vhost.name, safe='')}/{quote(queue, safe='')}")

    def api(self, method: str, path: str, body: object = None) -> httpx.Response:
        """Call the management API; raises for an answer that is an error."""
        answer = httpx.request(method, self.management_url + path, json=body, timeout=10)
        answer.raise_for_status()
        return answer

    def pause(self) -> None:
        """Stop it as a hung machine would: sockets stay open, nothing is answered."""
        os.kill(self._beam_pid, signal.SIGSTOP)
        wait_until(lambda: stands_still(self._beam_pid), message="RabbitMQ goes on")

    def resume(self) -> None:
        """Let a paused broker go on."""
        os.kill(self._beam_pid, signal.SIGCONT)

    def stop(self) -> None:
        """Stop it; what it held is lost (kill: a clean end takes six seconds)."""
        self.process.kill()
        self.epmd.kill()


def rabbitmq() -> Rabbit:
    """Start RabbitMQ with management and a TLS listener: takes about six seconds."""
    server = require("rabbitmq-server-script", _INNER_SCRIPT)
    epmd_program = require("epmd")
    directory = scratch("rabbitmq")
    port, tls_port, management_port, dist_port, epmd_port = (free_port() for _ in range(5))
    (directory / "enabled_plugins").write_text("[rabbitmq_management].\n")
    (directory / "rabbitmq.conf").write_text(
        _CONF.format(
            port=port, tls_port=tls_port, management_port=management_port, certs=certificates()
        )
    )
    env = {
        "HOME": str(directory),
        # Two test sessions on one machine must not find each other.
        "RABBITMQ_NODENAME": f"t{port}@localhost",
        "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
        "RABBITMQ_LOG_BASE": str(directory / "log"),
        "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
        "RABBITMQ_PID_FILE": str(directory / "pid"),
        "RABBITMQ_DIST_PORT": str(dist_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(epmd_port),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
    }
    # Started here rather than by Erlang, whose own epmd is a daemon that outlives the broker.
    epmd = start("epmd", [epmd_program, "-address", "127.0.0.1", "-port", str(epmd_port)])
    wait_ready(epmd, lambda: listening(epmd_port), 5)
    process = start("rabbitmq", [server], directory=directory, env=env)
    process.stop_seconds = 20
    rabbit = Rabbit(process, epmd, directory, port, tls_port, management_port)
    try:
        wait_ready(process, lambda: rabbit.api("GET", "/overview"), 90)
        wait_until(lambda: listening(tls_port), 20, "RabbitMQ's TLS listener")
    except BaseException:
        epmd.kill()
        raise
    return rabbit
