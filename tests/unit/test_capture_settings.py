"""The hook's settings: where they come from, which comes first, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from z4j_exporter.capture.settings import Settings, SettingsError, resolve


def test_the_environment_stands_before_keywords_and_these_before_the_configuration() -> None:
    conf = {"payload": "none", "max_payload_bytes": 1, "queue_items": 7}
    options = {"max_payload_bytes": 2, "flush_seconds": 0.1}
    environ = {"Z4J_CAPTURE_MAX_PAYLOAD_BYTES": "3", "Z4J_CAPTURE_SIGNALS": "run, end"}
    settings = resolve(options, conf, environ)
    assert settings.payload == "none"
    assert settings.queue_items == 7
    assert settings.flush_seconds == 0.1
    assert settings.max_payload_bytes == 3
    assert settings.signals == ("run", "end")


def test_secrets_may_stand_in_files(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret\n")
    settings = resolve({}, {}, {"Z4J_CAPTURE_STORE_KEY_FILE": str(tmp_path / "key")})
    assert settings.store_key == "s3cret"


def test_secrets_are_not_shown() -> None:
    shown = repr(Settings(store_key="s3cret", store_url="redis://:s3cret@x/", broker_url="s3cret"))
    assert "s3cret" not in shown


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"payload": "email"}, "payload must be one of events, store, none"),
        ({"signals": ["publish", "sent"]}, "signals has 'sent'"),
        ({"payload": "store"}, 'payload="store" needs store_url'),
        ({"queue_items": -1}, "queue_items must not be negative"),
        ({"queue_items": "many"}, "queue_items cannot be read as int"),
        ({"enabled": "perhaps"}, "enabled cannot be read as boolean"),
        ({"name": 5}, "name cannot be read as text"),
        ({"redact_patterns": ["(a+)+$"]}, "redact_keys, redact_patterns: "),
        ({"redact_patterns": ["("]}, "redact_keys, redact_patterns: "),
        ({"colour": "red"}, "install has no setting 'colour'"),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError, match="^" + sentence.replace("(", r"\(")) as caught:
        resolve(options, {}, {})
    assert "\n" not in str(caught.value)


def test_a_wrong_value_is_not_repeated() -> None:
    with pytest.raises(SettingsError) as caught:
        resolve({}, {}, {"Z4J_CAPTURE_QUEUE_ITEMS": "s3cret"})
    assert "s3cret" not in str(caught.value)


def test_the_configuration_must_be_a_mapping() -> None:
    with pytest.raises(SettingsError, match="z4j_capture must be a mapping"):
        resolve({}, "yes", {})  # type: ignore[arg-type]


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Z4J_CAPTURE_STORE_KEY_FILE cannot be read"):
        resolve({}, {}, {"Z4J_CAPTURE_STORE_KEY_FILE": str(tmp_path / "none")})
