"""The image is built from the Dockerfile and run: by any user, on a read-only root, until SIGTERM.

Where buildah is not installed nothing of this runs: tests/unit/test_image_lint.py looks at the
Dockerfile everywhere. TEST_IMAGE_BASE names a base image; without it, one is made of Debian's
packages where mmdebstrap is there, and the Dockerfile's own is pulled where it is not.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support import servers
from tests.support.process import Process, free_port, require, start, wait_ready, wait_until
from tests.support.scenarios import SCENARIOS
from tests.support.servers import PROJECT, Redis
from tests.support.stage import play
from z4j_exporter import __version__

pytestmark = [
    pytest.mark.skipif(shutil.which("buildah") is None, reason="buildah is not installed"),
    pytest.mark.timeout(900),
]

#: A user that the image has never heard of, in group 0: as OpenShift starts containers.
STRANGER = "123456:0"
#: What the image adds to its base; docs/docker.md names the size.
MOST_BYTES = 140_000_000


def run(*command: str | Path, timeout: float = 600) -> str:
    """Run a command that must succeed; return what it printed."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{command[0]} {command[1]}: {done.stdout}\n{done.stderr}"
    return done.stdout


def podman(*arguments: str) -> list[str]:
    """Return a podman command that works without systemd, in a container too."""
    runtime = ["--runtime", "runc"] if shutil.which("runc") else []
    return [require("podman"), *runtime, "--cgroup-manager", "cgroupfs", *arguments]


def container(*arguments: str) -> list[str]:
    """Return a command that runs a container on this machine's network and removes it."""
    limits = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096")
    # Podman's own health checks need systemd; the tests run the image's command themselves.
    fixed = ("--rm", "--network", "host", "--no-healthcheck", *limits)
    return podman("run", *fixed, *arguments)


def base(directory: Path, name: str) -> str | None:
    """Return the base image; None is the Dockerfile's own."""
    if given := os.environ.get("TEST_IMAGE_BASE"):
        return given
    if shutil.which("mmdebstrap") is None:
        return None
    rootfs = directory / "rootfs.tar"
    packages = "--include=python3,python3-venv"
    run("mmdebstrap", "--variant=minbase", packages, "bookworm", rootfs)
    run(*podman("import", str(rootfs), name))
    rootfs.unlink()
    return name


def pip_secrets(directory: Path) -> list[str]:
    """Return what tells the build of this machine's package index; the image keeps none of it."""
    listed = run(sys.executable, "-m", "pip", "config", "list")
    lines = ["[global]"]
    secrets = []
    for key, value in re.findall(r"^(?:global|install|:env:)\.([\w-]+)='(.*)'$", listed, re.M):
        if key == "cert":
            secrets += ["--secret", f"id=ca.crt,src={value}"]
            lines.append("cert = /run/secrets/ca.crt")
        elif key in ("index-url", "trusted-host"):
            lines.append(f"{key} = {value}")
    configuration = directory / "pip.conf"
    configuration.write_text("\n".join(dict.fromkeys(lines)) + "\n")
    return [*secrets[:2], "--secret", f"id=pip.conf,src={configuration}"]


@dataclass
class Image:
    """The built image."""

    name: str
    base: str

    def inspect(self, name: str = "") -> dict[str, object]:
        (found,) = json.loads(run(*podman("image", "inspect", name or self.name)))
        return dict(found)

    def size(self) -> int:
        """Return the bytes that the image has beyond its base."""
        return int(str(self.inspect()["Size"])) - int(str(self.inspect(self.base)["Size"]))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    directory = tmp_path_factory.mktemp("image")
    made = f"localhost/z4j-tests-{uuid.uuid4().hex[:8]}"
    chosen = base(directory, f"{made}:base")
    name = f"{made}:built"
    options = ["--isolation", "chroot", "--format", "docker", "--layers=false"]
    options += ["--build-arg", f"BASE={chosen}"] if chosen else []
    options += ["--build-arg", "REVISION=0123abc"]
    run("buildah", "bud", *options, *pip_secrets(directory), "-t", name, PROJECT)
    declared = re.search(r"(?m)^ARG BASE=(\S+)", (PROJECT / "Dockerfile").read_text())
    assert declared
    try:
        yield Image(name, chosen or declared[1])
    finally:
        for tag in (name, f"{made}:base"):
            subprocess.run(podman("rmi", "--force", tag), capture_output=True, check=False)


@dataclass
class Running:
    """A container that runs the exporter."""

    process: Process
    name: str
    url: str

    def execute(self, *command: str, **variables: str) -> int:
        """Run a command in it, and return its exit code."""
        given = [word for key, value in variables.items() for word in ("-e", f"{key}={value}")]
        done = subprocess.run(
            podman("exec", *given, self.name, *command),
            capture_output=True,
            timeout=60,
            check=False,
        )
        return done.returncode

    def terminate(self) -> int:
        """Send SIGTERM to its process 1, wait for its end, and return the exit code."""
        run(*podman("kill", "--signal", "TERM", self.name))
        # How long the exporter takes is measured in test_resilience.py: podman is slow itself.
        return self.process.wait(60)


@contextlib.contextmanager
def running(image: Image, *options: str, arguments: tuple[str, ...]) -> Iterator[Running]:
    """Run the exporter on a read-only root, and wait until it is ready."""
    port = free_port()
    name = f"z4j-tests-{uuid.uuid4().hex[:8]}"
    address = f"Z4J_EXPORTER_LISTEN_ADDRESS=127.0.0.1:{port}"
    strict = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "all", "-e", address)
    command = container("--name", name, *strict, *options, image.name, "run", *arguments)
    url = f"http://127.0.0.1:{port}"
    process = start("container", command)
    try:
        wait_ready(process, lambda: httpx.get(f"{url}/-/ready").status_code == 200, 60)
        yield Running(process, name, url)
    finally:
        subprocess.run(podman("rm", "--force", name), capture_output=True, check=False)
        process.stop()


def test_it_is_small_and_says_what_it_is(image: Image) -> None:
    assert 0 < image.size() < MOST_BYTES
    config = image.inspect()["Config"]
    assert isinstance(config, dict)
    assert config["User"] == "65532:65532"
    labels = config["Labels"]
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.revision"] == "0123abc"
    assert run(*container(image.name, "--version")).split()[-1] == __version__


def test_nothing_of_the_build_is_left(image: Image) -> None:
    look = (
        "command -v pip pip3 gcc cc make; ls /etc/pip.conf /run/secrets /src 2>/dev/null;"
        " ls -d /opt/z4j-exporter/lib/python3*/site-packages/pip 2>/dev/null; id -u"
    )
    # Nothing but the last command has anything to print.
    assert run(*container("--entrypoint", "sh", image.name, "-c", look)) == "65532\n"


@pytest.mark.parametrize("user", ["", STRANGER])
def test_it_counts_tasks_and_ends_when_it_is_told_to(image: Image, user: str, redis: Redis) -> None:
    options = ("--user", user) if user else ()
    with running(image, *options, arguments=("--broker-url", redis.url)) as exporter:
        play(redis.url, SCENARIOS["visit_nested"])
        succeeded = 'celery_task_succeeded_total{task="web.visit"'
        wait_until(lambda: succeeded in httpx.get(f"{exporter.url}/metrics").text)
        # The page's style and script are files of the package, too.
        assert httpx.get(exporter.url).headers["content-type"].startswith("text/html")
        health = image.inspect()["Healthcheck"]
        assert isinstance(health, dict)
        _, *command = health["Test"]
        assert exporter.execute(*command) == 0
        nowhere = f"http://127.0.0.1:{free_port()}/-/healthy"
        assert exporter.execute(*command, HEALTHCHECK_URL=nowhere) == 1
        assert exporter.terminate() == 0, exporter.process.output()


@pytest.fixture
def redis() -> Iterator[Redis]:
    with servers.redis_server() as started:
        yield started


@pytest.mark.parametrize("user", ["65532:65532", STRANGER])
def test_a_volume_takes_what_it_writes(image: Image, user: str, redis: Redis) -> None:
    volume = f"z4j-tests-{uuid.uuid4().hex[:8]}"
    state = "/var/lib/z4j-exporter"
    options = ("--user", user, "--volume", f"{volume}:{state}")
    arguments = (
        f"--broker-url={redis.url}",
        f"--journal-path={state}/journal.db",
        "--actions",
        f"--actions-listen-address=127.0.0.1:{free_port()}",
        f"--actions-token-file={state}/tokens.yaml",
        f"--actions-journal-path={state}/actions.db",
        f"--actions-audit-path={state}/audit.jsonl",
    )
    try:
        token = ("token", "new", "me", "--role", "viewer", "--file", f"{state}/tokens.yaml")
        made = run(*container("--read-only", *options, image.name, *token))
        assert made.startswith("z4j_")
        with running(image, *options, arguments=arguments) as exporter:
            assert exporter.terminate() == 0, exporter.process.output()
        verify = ("audit", "verify", f"{state}/audit.jsonl")
        run(*container("--read-only", *options, image.name, *verify))
    finally:
        subprocess.run(podman("volume", "rm", "--force", volume), capture_output=True, check=False)


def test_the_doctor_looks_at_the_broker(image: Image, redis: Redis) -> None:
    command = container("--read-only", image.name, "doctor", "--broker-url", redis.url)
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    # There is no worker: the doctor says so.
    assert done.returncode == 11, done.stderr
    assert "✓ Broker" in done.stdout
    assert "✗ Workers" in done.stdout


def test_the_demo_shows_every_transition(image: Image) -> None:
    address = f"127.0.0.1:{free_port()}"
    options = ("--read-only", "--tmpfs", "/tmp")
    run(*container(*options, image.name, "demo", "--once", "--listen-address", address))


def test_without_arguments_it_says_what_to_do(image: Image) -> None:
    done = subprocess.run(
        container(image.name), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 3, done.stderr
    assert "Give --broker-url URL" in done.stderr


def test_a_wrong_setting_has_its_exit_code(image: Image) -> None:
    command = container(image.name, "run", "--broker-url", "nonsense://broker")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 4, done.stderr
