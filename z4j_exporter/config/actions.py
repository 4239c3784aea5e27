"""The settings of the actions; a part of Settings. Off unless ``actions`` is set."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, Field, model_validator

from z4j_exporter.errors import ConfigError

#: This machine only: what can send and revoke tasks is opened to others on purpose.
DEFAULT_ACTIONS_ADDRESS = "127.0.0.1:9809"
#: Tasks of one bulk retry that no setting can go beyond.
BULK_LIMIT = 10_000

PerSecond = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ActionSettings(BaseModel):
    """Who may act on tasks, where that is asked, and how much at once."""

    actions: bool = Field(
        False,
        description="Serve the actions (retry, cancel, purge, …). They need a token file, a "
        "journal and an audit log.",
    )
    actions_listen_address: str = Field(
        DEFAULT_ACTIONS_ADDRESS,
        description="Where to serve the actions: HOST:PORT, :PORT or unix:/path.",
    )
    actions_insecure_listen: bool = Field(
        False,
        description="Serve the actions to other machines without TLS, where a proxy in front has "
        "it.",
    )
    actions_token_file: Path | None = Field(
        None,
        description="Tokens and client certificates, their roles and scopes (YAML, mode 0600); "
        "made by `z4j-exporter token new`.",
    )
    actions_web_config_file: Path | None = Field(
        None,
        description="TLS and client certificates of the actions, in exporter-toolkit's format.",
    )
    actions_journal_path: Path | None = Field(
        None, description="Journal of the actions (SQLite): what was asked and what came of it."
    )
    actions_audit_path: Path | None = Field(
        None, description="Audit log of the actions (JSON lines); each line seals the one before."
    )
    actions_audit_key_file: Path | None = Field(
        None, description="Key of the audit log; by default made beside the log."
    )
    actions_rules_file: Path | None = Field(
        None, description="Rules that turn alerts of Alertmanager into actions (YAML)."
    )
    actions_rate: PerSecond = Field(
        10.0,
        description="Requests a second of each token, five times as many at once; more are "
        "answered with 429.",
    )
    actions_max_retries_chain: int = Field(
        3,
        ge=1,
        le=1000,
        description="Retries of retries of one task; one more is refused.",
    )
    actions_bulk_cap: int = Field(
        1000, ge=1, le=BULK_LIMIT, description="Tasks that one bulk retry may have; at most 10000."
    )
    actions_bulk_rate: PerSecond = Field(
        10.0, description="Tasks that a bulk retry sends in a second."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needed = ("actions_token_file", "actions_journal_path", "actions_audit_path")
        missing = [f"--{n.replace('_', '-')}" for n in needed if getattr(self, n) is None]
        if self.actions and missing:
            # Not a ValueError: pydantic would not say which settings it is about.
            raise ConfigError(
                f"--actions cannot be on without {', '.join(missing)}",
                hint="The token file is made by `z4j-exporter token new`, the others by the "
                "exporter.",
            )
        return self
