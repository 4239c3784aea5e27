"""The schema of the web configuration file, that of Prometheus's exporter-toolkit.

The schema is that of
https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md. What Python's
ssl module cannot do is refused with the reason, never ignored: a file that asks for safety and
silently gets less is worse than an error.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from z4j_exporter.web.ciphers import CIPHER_SUITES, CURVES

#: Only these may be set, as in exporter-toolkit; values where it allows a few only.
_HEADERS: dict[str, tuple[str, ...]] = {
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
    "Content-Security-Policy": (),
}

_BCRYPT = re.compile(r"\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")

#: Go's time.Duration units, in seconds.
_DURATION_UNITS = {
    "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9,
}  # fmt: skip
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|us|µs|ns|m|s)")

ClientAuth = Literal[
    "NoClientCert",
    "RequestClientCert",
    "RequireAnyClientCert",
    "RequireClientCert",
    "VerifyClientCertIfGiven",
    "RequireAndVerifyClientCert",
]
TlsVersion = Literal["TLS10", "TLS11", "TLS12", "TLS13"]


def _parse_duration(value: object) -> object:
    """Read Go's notation for a duration ("1s", "1m30s", "500ms") into seconds."""
    if not isinstance(value, str):
        return value
    if value == "0":
        return 0.0
    if not re.fullmatch(f"({_DURATION_PART.pattern})+", value):
        raise ValueError('write a duration such as "1s", "500ms" or "1m30s", or 0')
    return sum(
        float(number) * _DURATION_UNITS[unit] for number, unit in _DURATION_PART.findall(value)
    )


class _Section(BaseModel):
    # hide_input_in_errors: what was entered may be a key or a password.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _without_blanks(cls, value: Any) -> Any:
        """Take a blank value as "not set", as the toolkit does."""
        if value == "":
            return {}
        if isinstance(value, dict):
            return {key: item for key, item in value.items() if item != ""}
        return value


class TlsServerConfig(_Section):
    """`tls_server_config`: the certificate, and who may connect."""

    cert: str = ""
    key: SecretStr = SecretStr("")
    client_ca: str = ""
    cert_file: str = ""
    key_file: str = ""
    client_ca_file: str = ""
    client_auth_type: ClientAuth = "NoClientCert"
    client_allowed_sans: list[str] | None = None
    min_version: TlsVersion = "TLS12"
    max_version: TlsVersion = "TLS13"
    cipher_suites: list[str] = []
    prefer_server_cipher_suites: bool = True
    curve_preferences: list[str] = []

    @property
    def enabled(self) -> bool:
        """Whether the file asks for TLS (by the toolkit's rule)."""
        return bool(
            self.cert_file
            or self.cert
            or self.key_file
            or self.key.get_secret_value()
            or self.client_ca_file
            or self.client_ca
            or "client_auth_type" in self.model_fields_set
        )

    @model_validator(mode="after")
    def _complete(self) -> "TlsServerConfig":
        """Refuse what is incomplete, contradicts itself, or Python cannot do."""
        if self.enabled:
            self._check_certificate()
            self._check_client_auth()
        elif self.model_fields_set:
            raise ValueError("TLS is configured, but cert_file and key_file are missing")
        self._check_versions()
        self._check_ciphers()
        return self

    def _check_certificate(self) -> None:
        for name in ("cert", "key", "client_ca"):
            inline = getattr(self, name)
            text = inline.get_secret_value() if isinstance(inline, SecretStr) else inline
            both = text and getattr(self, f"{name}_file")
            if both:
                raise ValueError(f"{name} and {name}_file are both set: choose one")
            if name != "client_ca" and not text and not getattr(self, f"{name}_file"):
                raise ValueError(f"{name}_file (or {name}) is missing")

    def _check_client_auth(self) -> None:
        has_ca = bool(self.client_ca or self.client_ca_file)
        match self.client_auth_type:
            case "RequestClientCert" | "RequireAnyClientCert" | "RequireClientCert" as kind:
                raise ValueError(
                    f"client_auth_type {kind} is not supported: it takes certificates without "
                    "verifying them, which Python's ssl module cannot do (and which proves "
                    "nothing). Use RequireAndVerifyClientCert or VerifyClientCertIfGiven"
                )
            case "NoClientCert" if has_ca:
                raise ValueError(
                    "a client CA is set but client_auth_type is not, so that no client "
                    "certificate would be asked for. Use RequireAndVerifyClientCert"
                )
            case "VerifyClientCertIfGiven" | "RequireAndVerifyClientCert" if not has_ca:
                raise ValueError(
                    "client_ca_file is missing: without it, every certificate that any public "
                    "authority has issued would be taken"
                )
        if self.client_allowed_sans is not None:
            if self.client_auth_type != "RequireAndVerifyClientCert":
                raise ValueError(
                    "client_allowed_sans needs client_auth_type RequireAndVerifyClientCert"
                )
            if not self.client_allowed_sans:
                raise ValueError("client_allowed_sans is empty: no client could connect")

    def _check_versions(self) -> None:
        for name in ("min_version", "max_version"):
            if getattr(self, name) in ("TLS10", "TLS11"):
                raise ValueError(
                    f"{name} {getattr(self, name)} is not supported: the OpenSSL of today's "
                    "systems does not speak it. Use TLS12 or TLS13"
                )
        if self.min_version > self.max_version:
            raise ValueError("min_version is above max_version")

    def _check_ciphers(self) -> None:
        for suite in self.cipher_suites:
            if suite not in CIPHER_SUITES:
                raise ValueError(f"cipher_suites: {suite!r} is not known")
        for curve in self.curve_preferences:
            if curve not in CURVES:
                raise ValueError(f"curve_preferences: {curve!r} is not known")
        if self.curve_preferences and (
            len(self.curve_preferences) > 1 or CURVES[self.curve_preferences[0]] is None
        ):
            raise ValueError(
                "curve_preferences is not supported as a list or with X25519: Python's ssl module "
                "sets one NIST curve only. Leave it out, or name one of "
                + ", ".join(name for name, curve in CURVES.items() if curve)
            )


class HttpServerConfig(_Section):
    """`http_server_config`: headers for every answer; `http2` has no effect here."""

    http2: bool = True
    headers: dict[str, str] = {}

    @field_validator("headers")
    @classmethod
    def _known_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if name not in _HEADERS:
                raise ValueError(f"header {name!r} cannot be set; only {', '.join(_HEADERS)} can")
            if value and _HEADERS[name] and value not in _HEADERS[name]:
                raise ValueError(f"{name} must be one of {', '.join(_HEADERS[name])}")
            if not (value.isascii() and (value.isprintable())):
                raise ValueError(f"{name} has characters that no header may have")
        return {name: value for name, value in headers.items() if value}


class RateLimit(_Section):
    """`rate_limit`: a token bucket for all requests together."""

    #: Seconds until one more request is allowed; 0 switches the limit off.
    interval: Annotated[float, BeforeValidator(_parse_duration), Field(ge=0)] = 0.0
    #: Requests that may come at once.
    burst: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _usable(self) -> "RateLimit":
        if self.interval > 0 and self.burst == 0:
            raise ValueError("burst must be at least 1, or every request is refused")
        return self


class WebConfigFile(_Section):
    """The whole file."""

    tls_server_config: TlsServerConfig = TlsServerConfig()
    http_server_config: HttpServerConfig = HttpServerConfig()
    rate_limit: RateLimit = RateLimit()
    #: User name → bcrypt hash of the password. Empty: nobody is asked for one.
    basic_auth_users: dict[str, SecretStr] = {}

    @field_validator("basic_auth_users")
    @classmethod
    def _hashed(cls, users: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for user, stored in users.items():
            if not user or ":" in user:
                raise ValueError(f"{user!r} cannot be a user name: it is empty or has a colon")
            if not _BCRYPT.fullmatch(stored.get_secret_value()):
                raise ValueError(
                    f"the password of {user!r} is not a bcrypt hash (htpasswd -nBC 10 makes one)"
                )
        return users
