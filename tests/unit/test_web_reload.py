"""A web configuration that changes while it is in force; tests call each check themselves."""

import shutil
from pathlib import Path

import pytest

from tests.support.certs import certificates
from tests.support.web import hashed, tls_section, write_config
from z4j_exporter.errors import ConfigError, FileError
from z4j_exporter.web.reload import WebConfig

USERS = f"basic_auth_users:\n  alice: {hashed('secret')}\n"


def test_nothing_changed(tmp_path: Path) -> None:
    config = WebConfig(write_config(tmp_path, tls_section(), USERS))
    before = config.tls(), config.access()
    assert not config.check()
    assert (config.tls(), config.access()) == before
    assert (config.stats.reloads_ok, config.stats.reloads_failed) == (0, 0)


def test_a_new_user_takes_effect(tmp_path: Path) -> None:
    config = WebConfig(write_config(tmp_path, USERS))
    write_config(tmp_path, USERS + f"  bob: {hashed('other')}\n")
    assert config.check()
    assert set(config.access().users) == {"alice", "bob"}
    assert config.stats.reloads_ok == 1
    assert not config.check()


def test_a_broken_change_keeps_what_was_and_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = WebConfig(write_config(tmp_path, USERS))
    assert config.stats.last_reload_ok
    before = config.access()
    write_config(tmp_path, "basic_auth_users:\n  alice: plain\n")
    assert [config.check() for _ in range(3)] == [False] * 3
    assert config.access() is before
    assert (config.stats.reloads_failed, config.stats.last_reload_ok) == (1, False)
    assert caplog.text.count("is refused") == 1
    assert "'alice' is not a bcrypt hash" in caplog.text
    (tmp_path / "web.yml").unlink()
    assert not config.check()
    assert config.stats.reloads_failed == 2, "another change, another count"
    assert "plain" not in caplog.text
    write_config(tmp_path, USERS)
    assert config.check()
    assert (config.stats.reloads_ok, config.stats.last_reload_ok) == (1, True)


def test_tls_cannot_be_lost_or_won_without_a_restart(tmp_path: Path) -> None:
    config = WebConfig(write_config(tmp_path, tls_section(), USERS))
    write_config(tmp_path, USERS)
    assert not config.check()
    assert config.tls() is not None
    assert config.stats.last_reload_ok is False
    plain = WebConfig(write_config(tmp_path, USERS))
    write_config(tmp_path, tls_section(), USERS)
    assert not plain.check()
    assert plain.tls() is None


def test_a_certificate_and_key_that_do_not_match_yet(tmp_path: Path) -> None:
    """Two files cannot change at the same time: in between, the old pair stays in force."""
    certs = certificates()
    shutil.copy(certs.server_certificate, tmp_path / "a.pem")
    shutil.copy(certs.server_key, tmp_path / "a.key")
    keys = "tls_server_config:\n  cert_file: a.pem\n  key_file: a.key\n"
    config = WebConfig(write_config(tmp_path, keys))
    before = config.tls()
    shutil.copy(certs.client_certificate, tmp_path / "a.pem")
    assert not config.check()
    assert config.tls() is before
    shutil.copy(certs.client_key, tmp_path / "a.key")
    assert config.check()
    assert config.tls() is not before
    assert config.stats.last_reload_ok


def test_a_link_turned_to_other_files_is_a_change(tmp_path: Path) -> None:
    """Kubernetes changes a mounted secret that way."""
    for name, users in (("one", USERS), ("two", USERS.replace("alice", "bob"))):
        (tmp_path / name).mkdir()
        write_config(tmp_path / name, users)
    link = tmp_path / "data"
    link.symlink_to("one")
    config = WebConfig(link / "web.yml")
    link.unlink()
    link.symlink_to("two")
    assert config.check()
    assert set(config.access().users) == {"bob"}


def test_inline_certificate_and_key(tmp_path: Path) -> None:
    certs = certificates()

    def block(key: str, path: Path) -> str:
        return f"  {key}: |\n" + "".join(f"    {line}\n" for line in path.read_text().splitlines())

    text = "tls_server_config:\n" + block("cert", certs.server_certificate)
    text += block("key", certs.server_key) + block("client_ca", certs.ca)
    text += "  client_auth_type: VerifyClientCertIfGiven\n"
    assert WebConfig(write_config(tmp_path, text)).tls() is not None


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"cert_file": "missing.pem"}, FileError, "missing.pem: No such file"),
        ({"key_file": "."}, FileError, "Is a directory"),
        ({"cert_file": "junk"}, ConfigError, "cannot be used"),
        ({"key_file": "junk"}, ConfigError, "cannot be used"),
        ({"client_ca_file": "junk"}, ConfigError, "client CA in junk cannot be used"),
        ({"key_file": "other.key"}, ConfigError, "key values mismatch"),
    ],
)
def test_files_that_are_no_good(
    tmp_path: Path, changes: dict[str, str], error: type[Exception], words: str
) -> None:
    (tmp_path / "junk").write_bytes(b"\xff\x00junk")
    shutil.copy(certificates().client_key, tmp_path / "other.key")
    if "client_ca_file" in changes:
        changes = {**changes, "client_auth_type": "RequireAndVerifyClientCert"}
    with pytest.raises(error, match=words):
        WebConfig(write_config(tmp_path, tls_section(**changes)))


def test_an_encrypted_key_is_refused_and_not_asked_about(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(certificates().server_key.read_bytes(), None)
    (tmp_path / "locked.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"passphrase"),
        )
    )
    with pytest.raises(ConfigError, match="is encrypted"):
        WebConfig(write_config(tmp_path, tls_section(key_file=tmp_path / "locked.key")))


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"nowhere\.yml: No such file"):
        WebConfig(tmp_path / "nowhere.yml")
    (tmp_path / "web.yml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        WebConfig(tmp_path / "web.yml")
