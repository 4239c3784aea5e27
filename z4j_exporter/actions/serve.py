"""Serves the actions on a listener of their own: other threads, other limits than the metrics."""

import ipaddress

from z4j_exporter.errors import ConfigError
from z4j_exporter.web.address import Address, parse_address
from z4j_exporter.web.asgi import App
from z4j_exporter.web.connections import Limits
from z4j_exporter.web.gate import TlsPolicy
from z4j_exporter.web.guard import AccessPolicy
from z4j_exporter.web.listener import Listener, WebPolicy
from z4j_exporter.web.stats import WebStats

#: The door counts the bodies, and answers in problem+json; this is only for what it does not read.
_LIMITS = Limits(body_bytes=1 << 40)


class _TlsAlone:
    """A web configuration without its passwords: the Authorization header is the tokens'."""

    def __init__(self, config: WebPolicy) -> None:
        self._config = config

    def tls(self) -> TlsPolicy | None:
        """Return how the next connection is encrypted."""
        return self._config.tls()

    def access(self) -> AccessPolicy:
        """Return the headers of the configuration; everybody comes as far as the door."""
        return AccessPolicy(headers=self._config.access().headers)


def actions_listener(
    app: App,
    address: str,
    *,
    web_config: WebPolicy | None = None,
    insecure: bool = False,
    limits: Limits | None = None,
    stats: WebStats | None = None,
) -> Listener:
    """Return a listener for the API of the actions, not started.

    ``insecure``: serve others than this machine without TLS, because something in front of it
    has it. Raises ConfigError without that, or for a web configuration with passwords; ListenError
    for an address that is none.
    """
    encrypted = web_config is not None and web_config.tls() is not None
    check_exposure(parse_address(address), encrypted=encrypted, insecure=insecure)
    if web_config is not None and web_config.access().users:
        raise ConfigError(
            "the web configuration of the actions has basic_auth_users, and they take tokens",
            hint="Leave basic_auth_users out of it; --actions-token-file says who may ask.",
        )
    return Listener(
        app,
        address,
        name="actions",
        web_config=_TlsAlone(web_config) if web_config is not None else None,
        limits=limits if limits is not None else _LIMITS,
        stats=stats,
    )


def check_exposure(address: Address, *, encrypted: bool, insecure: bool) -> None:
    """Refuse to take tokens in the clear over a network. Raises ConfigError."""
    if encrypted or insecure or address.unix_path is not None or _is_loopback(address.host):
        return
    raise ConfigError(
        f"the actions would listen on {address} without TLS: tokens would go over the network"
        " in the clear",
        hint="Give --actions-web-config-file a certificate, listen on 127.0.0.1 or a Unix socket,"
        " or say --actions-insecure-listen where a proxy in front of it has TLS.",
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"  # other names lead wherever a resolver says
