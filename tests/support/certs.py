"""A certificate authority with a server and a client certificate, for one test session."""

import functools
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.support.process import scratch


@dataclass(frozen=True)
class Certificates:
    """Paths of PEM files."""

    #: The authority's certificate: what clients and servers must trust.
    ca: Path
    #: For localhost and 127.0.0.1.
    server_certificate: Path
    server_key: Path
    #: For a client that has to show who it is.
    client_certificate: Path
    client_key: Path
    #: The certificate of another authority: trusting it must not be enough.
    other_ca: Path


@functools.cache
def certificates() -> Certificates:
    """Return the session's certificates, made at the first call."""
    directory = scratch("certs")
    authority = trustme.CA()
    made = Certificates(
        ca=directory / "ca.pem",
        server_certificate=directory / "server.pem",
        server_key=directory / "server.key",
        client_certificate=directory / "client.pem",
        client_key=directory / "client.key",
        other_ca=directory / "other-ca.pem",
    )
    authority.cert_pem.write_to_path(str(made.ca))
    trustme.CA().cert_pem.write_to_path(str(made.other_ca))
    server = authority.issue_cert("localhost", "127.0.0.1")
    server.private_key_pem.write_to_path(str(made.server_key))
    _write_chain(server, made.server_certificate)
    client = authority.issue_cert("client@example.org", common_name="client")
    client.private_key_pem.write_to_path(str(made.client_key))
    _write_chain(client, made.client_certificate)
    for path in directory.iterdir():
        path.chmod(0o644)
    return made


def _write_chain(leaf: trustme.LeafCert, path: Path) -> None:
    path.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
