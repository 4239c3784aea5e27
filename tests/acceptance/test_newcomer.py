"""A newcomer's walk: what the README says, command by command, from an empty directory.

The checkout is copied, as a clone would be; everything else is installed anew. Each command line of
the README must be typed here: one that nobody has tried fails the walk.
"""

import os
import re
import shutil
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.chart import CHART, render
from tests.support.otlp_receiver import receiving
from tests.support.process import Process, free_port, require, scratch, start, wait_until
from tests.support.servers import PROJECT, Prometheus
from tests.support.servers import prometheus as start_prometheus
from z4j_exporter.cli.run import run as run_command

pytestmark = pytest.mark.timeout(900)

#: Seconds that installing may take on a busy machine.
INSTALL_SECONDS = 600
README = (PROJECT / "README.md").read_text(encoding="utf-8")

#: The command lines of the README, without comments, and the test that types each.
TYPED = {
    "make demo": "test_make_demo_shows_everything",
    "make test": "test_make_test_is_what_the_gate_runs",
    "pip install z4j-exporter": "newcomer",
    "z4j-exporter doctor --broker-url redis://localhost:6379/0": "test_the_thirty_seconds",
    "z4j-exporter run --broker-url redis://localhost:6379/0": "test_the_thirty_seconds",
    "curl localhost:9808/metrics": "test_the_thirty_seconds",
}

#: The application of somebody who has one.
SHOP = """\
from celery import Celery

app = Celery("shop")
app.conf.update(task_send_sent_event=True, broker_connection_retry_on_startup=True)


@app.task
def add(x, y):
    return x + y
"""


def blocks() -> list[str]:
    """Return the README's indented blocks."""
    found = re.findall(r"(?:^    .*\n(?:\n(?=    ))?)+", README, re.MULTILINE)
    return [textwrap.dedent(block) for block in found]


def commands() -> list[str]:
    """Return the command lines of the README, without their comments."""
    lines = [line for block in blocks() for line in block.splitlines()]
    programs = ("make ", "pip ", "z4j-exporter ", "curl ", "docker ", "helm ")
    return [line.partition("#")[0].strip() for line in lines if line.startswith(programs)]


@dataclass
class Newcomer:
    """Somebody with an empty directory, a copy of the project, and what they installed."""

    home: Path
    project: Path
    broker_url: str

    def environment(self) -> dict[str, str]:
        """Return their variables: their own programs first, nothing of the tests' environment."""
        return {
            "PATH": f"{self.home / 'venv' / 'bin'}:{os.environ['PATH']}",
            "C_FORCE_ROOT": "1",  # spares the worker's warning
            "CELERY_BROKER_URL": self.broker_url,
        }

    def type(self, line: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
        """Run a command line and return what it printed."""
        return subprocess.run(  # noqa: S602 - a line of the README, typed as it stands
            line,
            shell=True,
            cwd=cwd or self.home,
            env={**os.environ, **self.environment()},
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )

    def leave_running(self, line: str, **environment: str) -> Process:
        """Start a command line in a terminal of its own."""
        command = ["sh", "-c", f"exec {line}"]
        env = {**self.environment(), **environment}
        return start(line.split()[0], command, cwd=self.home, env=env)


@pytest.fixture(scope="module")
def newcomer(shared_valkey: Any) -> Iterator[Newcomer]:
    home = scratch("newcomer")
    project = home / "z4j-exporter"
    left_out = shutil.ignore_patterns(".git", ".venv", ".*_cache", ".hypothesis", "__pycache__")
    shutil.copytree(PROJECT, project, ignore=left_out)
    made = Newcomer(home, project, shared_valkey.url)
    (home / "shop.py").write_text(SHOP)
    subprocess.run([sys.executable, "-m", "venv", str(home / "venv")], check=True, timeout=300)
    # The one thing that differs: it comes from the copy, not from the package index.
    installed = made.type(f"pip install --disable-pip-version-check -q {project}")
    assert installed.returncode == 0, installed.stdout + installed.stderr
    yield made
    shutil.rmtree(home)


def test_every_command_line_is_typed() -> None:
    assert commands() == list(TYPED)
    assert all(name in globals() for name in TYPED.values())


def test_make_demo_shows_everything(newcomer: Newcomer) -> None:
    done = newcomer.type(f"make demo PYTHON={sys.executable} ARGS=--once", newcomer.project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Open http://\S+:\d+/", done.stdout)
    assert "succeeded" in done.stdout


def test_make_test_is_what_the_gate_runs(newcomer: Newcomer) -> None:
    """It runs this very test: to run all of it in here would never end."""
    planned = newcomer.type("make -n test", newcomer.project)
    assert planned.returncode == 0, planned.stderr
    assert "install-servers.sh" in planned.stdout
    assert "pytest" in planned.stdout
    assert "make test" in (PROJECT / ".ci" / "run").read_text()


def test_the_thirty_seconds(newcomer: Newcomer) -> None:
    require("curl")
    doctor, run, curl = [line for line in commands() if line.startswith(("z4j-exporter", "curl"))]
    port = free_port()
    here = newcomer.broker_url

    def as_typed(line: str) -> str:
        """Return the line with this machine's broker and port, all else as it stands."""
        typed = line.replace("redis://localhost:6379/0", here)
        return typed.replace("localhost:9808", f"localhost:{port}")

    worker = newcomer.leave_running("celery -A shop worker -E -l INFO -c 1 -n w1@here")
    with worker:
        wait_until(lambda: "w1@here ready." in worker.output(), 60, worker.output)
        found = newcomer.type(as_typed(doctor))
        # 10 is a warning: nothing has been sent yet, so that the doctor cannot know all.
        assert found.returncode in (0, 10), found.stdout + found.stderr
        assert "w1@here" in found.stdout

        with receiving() as tempo:
            traced = f"{as_typed(run)} --otlp-endpoint http://127.0.0.1:{tempo.port}"
            listening = {"Z4J_EXPORTER_LISTEN_ADDRESS": f"localhost:{port}"}
            with newcomer.leave_running(traced, **listening) as exporter:
                _look(newcomer, as_typed, curl, exporter, port)
                wait_until(lambda: tempo.requests, 30, "no trace was sent")


def _look(newcomer: Newcomer, as_typed: Any, curl: str, exporter: Process, port: int) -> None:
    url = f"http://localhost:{port}"
    wait_until(lambda: httpx.get(f"{url}/-/ready").status_code == 200, 30, exporter.output)
    sent = newcomer.type("python -c 'from shop import add; print(add.delay(1, 2).id)'")
    task_id = sent.stdout.strip()
    assert uuid.UUID(task_id), sent.stderr

    counted = 'celery_task_succeeded_total{queue="celery",task="shop.add"} 1'
    alike = 'celery_task_succeeded_total{task="shop.add",queue="celery"} 1'

    def scraped() -> str:
        return newcomer.type(as_typed(curl)).stdout

    wait_until(lambda: any(line in scraped() for line in (counted, alike)), 30, scraped, every=0.5)

    page = httpx.get(f"{url}/", headers={"accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")
    assert "w1@here" in page.text

    def tree() -> str:
        return newcomer.type(f"z4j-exporter trace {task_id} --url {url}").stdout

    wait_until(lambda: "shop.add" in tree(), 30, tree, every=0.5)
    with _scraping(port) as prometheus:
        wait_until(lambda: prometheus.value('celery_worker_up{worker="w1@here"}') == 1, 30)


def _scraping(port: int) -> Prometheus:
    """Start Prometheus with the README's own scrape configuration."""
    (text,) = [block for block in blocks() if block.startswith("scrape_configs:")]
    (job,) = yaml.safe_load(text)["scrape_configs"]
    assert job["job_name"] == "celery"
    (target,) = job["static_configs"][0]["targets"]
    return start_prometheus(target.replace("9808", str(port)))


def test_the_capture_hook_is_one_line(newcomer: Newcomer) -> None:
    (line,) = re.findall(r"`(from z4j_exporter import capture; capture\.install\(app\))`", README)
    tried = newcomer.type(f'python -c "from shop import app; {line}; print(1)"')
    assert tried.stdout.strip() == "1", tried.stderr


def test_the_commands_of_the_install_table_are_true() -> None:
    """Without a cluster and Docker: the chart renders with what is set, the image's words parse."""
    told = dict(re.findall(r"^\| ([\w ]+) \| `([^`]+)`", README, re.MULTILINE))
    assert set(told) >= {"pip", "an image", "Docker Compose", "Kubernetes"}
    assert told["Docker Compose"] == "docker compose up"
    assert (PROJECT / "docker-compose.yml").exists()

    install, _, settings = told["Kubernetes"].partition(" --set ")
    chart = install.split()[-1]
    key, _, secret = settings.partition("=")
    assert key == "broker.existingSecret"
    rendered = render({"broker": {"existingSecret": secret}})
    assert (PROJECT / chart).resolve() == CHART
    assert any(each["kind"] == "Deployment" for each in rendered)

    image, _, words = told["an image"].partition(" run --broker-url ")
    assert image.endswith("ghcr.io/z4j/z4j-exporter")
    parsed = run_command.make_context("run", ["--broker-url", words])
    assert parsed.params["broker_url"]
