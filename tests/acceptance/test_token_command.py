"""The installed `token`: makes tokens that are shown once, lists and revokes them."""

import json
import re
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.servers import run_command
from z4j_exporter.actions.policy import Authorizer
from z4j_exporter.actions.tokens import TOKEN_PATTERN
from z4j_exporter.actions.tokens_bearer import AuthenticationError
from z4j_exporter.actions.tokens_reload import TokenFile
from z4j_exporter.actions.tokens_stats import AccessStats

PROGRAM = str(Path(sys.executable).with_name("z4j-exporter"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.yml"


def token(path: Path, *args: str) -> "subprocess.CompletedProcess[str]":
    return run_command("token", *args, env={"Z4J_EXPORTER_ACTIONS_TOKEN_FILE": str(path)})


def test_a_token_from_its_making_to_its_end(path: Path) -> None:
    made = token(
        path, "new", "deploy", "--role", "operator", "--tasks", "shop.*", "--tasks", "mail.send",
        "--queues", "high", "--expires", "90d", "--comment", "the pipeline",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert re.fullmatch(TOKEN_PATTERN + "\n", made.stdout)
    secret = made.stdout.strip()
    assert secret not in made.stderr
    assert "deploy, operator, until 20" in made.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret not in path.read_text()

    listed = token(path, "list")
    assert listed.returncode == 0, listed.stderr
    assert re.search(r"deploy +operator +active +shop\.\*, mail\.send +high +20", listed.stdout)
    assert "the pipeline" in listed.stdout
    assert not re.search("[0-9a-f]{9}", listed.stdout), "no hash in full"

    stats = AccessStats()
    file = TokenFile(path, stats)
    access = Authorizer(file, stats)
    actor = access.authenticate(f"Bearer {secret}", None)
    assert (actor.name, actor.tasks, actor.queues) == (
        "deploy", ("shop.*", "mail.send"), ("high",),
    )  # fmt: skip
    later = Authorizer(file, stats, clock=lambda: time.time() + 90 * 86_400 + 60)
    with pytest.raises(AuthenticationError):
        later.authenticate(f"Bearer {secret}", None)

    revoked = token(path, "revoke", "deploy")
    assert (revoked.returncode, revoked.stdout) == (0, "")
    assert file.check()
    with pytest.raises(AuthenticationError):
        access.authenticate(f"Bearer {secret}", None)
    again = token(path, "revoke", "deploy")
    assert again.returncode == 14
    assert "no such entry" in again.stderr


def test_for_programs(path: Path) -> None:
    made = token(path, "new", "a", "--role", "admin", "--output", "json")
    said = json.loads(made.stdout)
    assert re.fullmatch(TOKEN_PATTERN, said["token"])
    assert (said["name"], said["role"]) == ("a", "admin")
    path.write_text(
        path.read_text()
        + "certificates:\n- {name: pair, role: alert, dns: am.example.org,"
        + " not_after: 2020-01-01T00:00:00Z}\n"
    )
    path.chmod(0o600)
    rows = json.loads(token(path, "list", "--output", "json").stdout)
    assert [(row["name"], row["kind"], row["role"], row["state"]) for row in rows] == [
        ("a", "token", "admin", "active"),
        ("pair", "certificate", "alert", "expired"),
    ]
    assert said["hash"] not in json.dumps(rows)
    revoked = token(path, "revoke", "pair", "--output", "json")
    assert json.loads(revoked.stdout) == {"revoked": "pair"}


def test_comments_of_people_stay(path: Path) -> None:
    path.touch(0o600)
    path.write_text("# Ask the platform team first.\ntokens: []  # none yet\n")
    assert token(path, "new", "a", "--role", "viewer").returncode == 0
    assert token(path, "new", "b", "--role", "viewer").returncode == 0
    assert token(path, "revoke", "a").returncode == 0
    text = path.read_text()
    assert text.startswith("# Ask the platform team first.\ntokens:  # none yet\n  - name: b\n")


def test_writers_at_the_same_time_lose_nothing(path: Path) -> None:
    started = [
        subprocess.Popen(
            [PROGRAM, "token", "new", f"t{n}", "--role", "viewer", "--file", str(path)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for n in range(4)
    ]
    for process in started:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    rows = json.loads(token(path, "list", "--output", "json").stdout)
    assert sorted(row["name"] for row in rows) == ["t0", "t1", "t2", "t3"]


def test_a_token_that_nobody_could_read_is_withdrawn(path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [PROGRAM, "token", "new", "a", "--role", "admin", "--file", str(path)],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 5
    assert "the token was withdrawn" in done.stderr
    assert json.loads(token(path, "list", "--output", "json").stdout) == []


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("new", "a"), 2, "--role"),
        (("new", "a b", "--role", "viewer"), 2, "a name has 1 to 64"),
        (("new", "a", "--role", "root"), 2, "root"),
        (("new", "a", "--role", "viewer", "--tasks", ""), 2, "must not be empty"),
        (("new", "a", "--role", "viewer", "--expires", "0d"), 2, "90d"),
        (("new", "a", "--role", "viewer", "--expires", "999999w"), 2, "90d"),
        (("new", "a", "--role", "viewer", "--expires", "2020-01-01T00:00:00Z"), 2, "to come"),
        (("new", "a", "--role", "viewer", "--expires", "2099-01-01"), 2, "zone"),
        (("new", "here", "--role", "viewer"), 14, "already"),
        (("revoke", "gone"), 14, "no such entry"),
    ],
)
def test_what_is_wrong_is_said_and_changes_nothing(
    path: Path, args: tuple[str, ...], code: int, says: str
) -> None:
    path.touch(0o600)
    path.write_text(f"tokens:\n- {{name: here, role: viewer, hash: 'sha256:{'0' * 64}'}}\n")
    before = path.read_text()
    done = token(path, *args)
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert path.read_text() == before


def test_a_file_that_is_not_good(path: Path, tmp_path: Path) -> None:
    assert token(path, "list").returncode == 5, "not there"
    assert token(path, "revoke", "a").returncode == 5
    assert not path.exists()
    path.write_text("tokens: []\n")
    path.chmod(0o644)
    for args in (("list",), ("new", "a", "--role", "viewer")):
        done = token(path, *args)
        assert done.returncode == 3
        assert f"chmod 600 {path}" in done.stderr
    path.chmod(0o600)
    path.write_text("tokens: 3\n")
    assert token(path, "list").returncode == 3
    none = run_command("token", "list")
    assert none.returncode == 2
    assert "--file" in none.stderr
    assert token(tmp_path / "no" / "t.yml", "new", "a", "--role", "viewer").returncode == 5
