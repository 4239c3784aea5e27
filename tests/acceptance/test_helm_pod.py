"""The chart's pod on this machine: the real command, a real Redis, files as the kubelet gives."""

import os
import secrets
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.support.certs import certificates
from tests.support.chart import Document, exporter, merged, of_kind, render
from tests.support.chart_pod import Pod
from tests.support.process import Process, listening, wait_ready, wait_until
from tests.support.redis_servers import Redis, redis_server, valkey
from tests.support.servers import run_command

#: What a web configuration names, and the key of each in a Secret of the type kubernetes.io/tls.
WEB_FILES = {"cert_file": "tls.crt", "key_file": "tls.key", "client_ca_file": "ca.crt"}


@pytest.fixture(scope="module")
def broker() -> Iterator[Redis]:
    with valkey(password="s3cret") as server:
        yield server


@pytest.fixture(scope="module")
def tls_broker() -> Iterator[Redis]:
    with redis_server(tls=True, client_certificates=True) as server:
        yield server


def probed(pod: Pod, probe: str, process: Process, seconds: float = 60.0) -> None:
    """Wait until a probe of the exporter's container succeeds, as the kubelet sees it."""
    get = exporter(pod.documents)[probe]["httpGet"]
    url = f"{get['scheme'].lower()}://127.0.0.1:{pod.port}{get['path']}"
    wait_ready(process, lambda: httpx.get(url, verify=False).status_code == 200, seconds)  # noqa: S501 - nor does the kubelet


def helm_test(pod: Pod, patience: str = "0") -> "subprocess.CompletedProcess[str]":
    """Run what the pod of `helm test` runs, but with the Service's name and patience replaced."""
    (test,) = of_kind(pod.documents, "Pod")
    (container,) = test["spec"]["containers"]
    base, access, _ = container["args"]
    own = f"{base.partition('://')[0]}://localhost:{pod.port}"
    command = [sys.executable, *container["command"][1:], own, access, patience]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=90)


def pem(path: Path) -> str:
    return path.read_text()


def test_the_least(broker: Redis) -> None:
    documents = render({"broker": {"url": broker.url, "existingSecret": ""}})
    with Pod(documents, {}) as pod, pod.start("exporter") as process:
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            probed(pod, probe, process)
        result = helm_test(pod)
        assert result.returncode == 0, result.stdout + result.stderr
        assert "/-/healthy 200" in result.stdout
        assert process.stop() == 0
        assert "s3cret" not in process.output()


def test_a_broker_that_is_away(broker: Redis) -> None:
    """Alive, not ready, and scraped: a restart would not help; the metrics say what is wrong."""
    documents = render({"broker": {"url": "redis://127.0.0.1:1/0", "existingSecret": ""}})
    with Pod(documents, {}) as pod, pod.start("exporter") as process:
        probed(pod, "livenessProbe", process)
        base = f"http://127.0.0.1:{pod.port}"
        assert httpx.get(f"{base}/-/ready").status_code == 503
        assert "celery_exporter_source_connected" in httpx.get(f"{base}/metrics").text
        assert helm_test(pod).returncode == 0
        assert process.stop() == 0


def test_helm_test_fails_where_nobody_answers() -> None:
    with Pod(render(), {("Secret", "celery-broker"): {"broker-url": "redis://r"}}) as pod:
        result = helm_test(pod)
    assert result.returncode == 1
    assert result.stdout.startswith(f"http://localhost:{pod.port} does not answer: ")
    assert result.stderr == ""


def test_helm_test_waits_for_a_pod_that_is_coming_up(broker: Redis) -> None:
    """`helm install` without --wait returns before the image is there."""
    documents = render({"broker": {"url": broker.url, "existingSecret": ""}})
    with Pod(documents, {}) as pod, ThreadPoolExecutor(1) as threads:
        asked = threads.submit(helm_test, pod, "60")
        with pod.start("exporter") as process:
            assert asked.result().returncode == 0
            assert process.stop() == 0


def test_helm_test_where_client_certificates_are_asked_for(broker: Redis) -> None:
    """It has none: who asks for one is up."""
    made = certificates()
    web = "\n".join(
        [
            "tls_server_config:",
            *(f"  {key}: /etc/z4j-exporter/web/{name}" for key, name in WEB_FILES.items()),
            "  client_auth_type: RequireAndVerifyClientCert\n",
        ]
    )
    secret = {
        "web-config.yml": web, "tls.crt": pem(made.server_certificate),
        "tls.key": pem(made.server_key), "ca.crt": pem(made.ca),
    }  # fmt: skip
    values: Document = {
        "broker": {"url": broker.url, "existingSecret": ""},
        "web": {"configSecret": "celery-web", "authenticated": True},
    }
    pod = Pod(render(values), {("Secret", "celery-web"): secret})
    with pod, pod.start("exporter") as process:
        wait_ready(process, lambda: listening(pod.port), 60)
        result = helm_test(pod, "60")
        assert result.returncode == 0, result.stdout + result.stderr
        assert result.stdout == "it asks for a client certificate\n"
        assert process.stop() == 0


ALL_OF_IT: Document = {
    "broker": {"existingSecret": "celery-broker", "existingSecretKey": "REDIS_URL"},
    "resultBackend": {"existingSecret": "celery-broker", "existingSecretKey": "REDIS_URL"},
    "otlp": {"endpoint": "http://127.0.0.1:1", "headers": {"value": "api-key=s3cret"}},
    "certificates": [
        {"name": "redis-ca", "configMap": "redis-ca"},
        {"name": "redis-client", "secret": "redis-client"},
    ],
    "config": {
        section: {
            "ssl_ca_certs": "/etc/z4j-exporter/certificates/redis-ca/ca.crt",
            "ssl_certfile": "/etc/z4j-exporter/certificates/redis-client/tls.crt",
            "ssl_keyfile": "/etc/z4j-exporter/certificates/redis-client/tls.key",
        }
        for section in ("broker_ssl_options", "result_backend_ssl_options")
    },
    "web": {"tlsSecret": "celery-tls"},
    "persistence": {"enabled": True},
    "journal": {"enabled": True},
    "actions": {
        "enabled": True,
        "tokens": {"existingSecret": "celery-tokens"},
        "auditKey": {"existingSecret": "celery-audit"},
        "tlsSecret": "celery-tls",
        "clientCertificates": True,
        "service": {"enabled": True},
        "rules": {
            "rules": [
                {
                    "name": "again",
                    "matchers": ['alertname="CeleryTasksFailedInAnOutage"'],
                    "action": {"verb": "bulk-retry", "task": "{{ labels.task }}"},
                }
            ]
        },
    },
    "extraArgs": ["--log-format=json"],
}


def token_file(directory: Path) -> tuple[str, str]:
    """Make a token; the file's text and the token."""
    path = directory / "tokens.yaml"
    made = run_command("token", "new", "deploy", "--role", "viewer", "--file", str(path))
    assert made.returncode == 0, made.stderr
    return path.read_text(), made.stdout.strip()


def others(broker: Redis, tokens: str) -> dict[tuple[str, str], dict[str, str]]:
    """The objects that the values of ALL_OF_IT refer to."""
    certs = certificates()
    client = {"tls.crt": pem(certs.client_certificate), "tls.key": pem(certs.client_key)}
    server = {"tls.crt": pem(certs.server_certificate), "tls.key": pem(certs.server_key)}
    return {
        ("Secret", "celery-broker"): {"REDIS_URL": f"{broker.url}\n"},
        ("Secret", "celery-tokens"): {"tokens.yaml": tokens},
        ("Secret", "celery-audit"): {"audit-key": secrets.token_hex(32)},
        ("Secret", "celery-tls"): {**server, "ca.crt": pem(certs.ca)},
        ("Secret", "redis-client"): client,
        ("ConfigMap", "redis-ca"): {"ca.crt": pem(certs.ca)},
    }


def asked(pod: Pod, token: str) -> int:
    """Ask for an action that is not there; 404 says that the token is good."""
    context = ssl.create_default_context(cafile=str(certificates().ca))
    answer = httpx.get(
        f"https://localhost:{pod.actions_port}/v1/actions/none",
        headers={"Authorization": f"Bearer {token}"},
        verify=context,
    )
    return answer.status_code


def test_all_of_it(tls_broker: Redis, tmp_path: Path) -> None:
    tokens, token = token_file(tmp_path)
    with Pod(render(ALL_OF_IT), others(tls_broker, tokens)) as pod:
        code, output = pod.run("prepare")
        assert code == 0, output
        with pod.start("exporter") as process, pod.start("tokens") as follower:
            probed(pod, "readinessProbe", process)
            # As docs and notes say: with the same files beside the exporter that runs.
            config = "/etc/z4j-exporter/config/config.yaml"
            code, report = pod.run("exporter", ["doctor", "--config", config])
            assert code in (0, 10, 11), report
            assert "rediss://127.0.0.1" in report
            wait_until(lambda: asked(pod, token) == 404, 30)
            assert asked(pod, token[:-1]) == 401
            # A token that is taken out of the Secret ends without a restart.
            pod.write("actions-tokens", {"tokens.yaml": "tokens: []\n"}, 0o440)
            wait_until(lambda: asked(pod, token) == 401, 60)
            assert follower.stop() == 0
            assert process.stop() == 0
        for path in (pod.root / "volumes/config").iterdir():
            assert path.is_dir() or "api-key" not in path.read_text()
        assert "api-key" not in process.output()


def test_a_second_start_finds_what_the_first_left(tls_broker: Redis, tmp_path: Path) -> None:
    """A volume's driver may have given the group rights on the key that was made beside the log."""
    tokens, _ = token_file(tmp_path)
    values = merged(ALL_OF_IT, {"actions": {"auditKey": {"existingSecret": ""}}})
    with Pod(render(values), others(tls_broker, tokens)) as pod:
        key = pod.root / "volumes/data/data/audit.jsonl.key"
        for _ in range(2):
            assert pod.run("prepare") == (0, "")
            assert not key.exists() or stat.S_IMODE(key.stat().st_mode) == 0o600
            with pod.start("exporter") as process:
                probed(pod, "readinessProbe", process)
                assert process.stop() == 0
            key.chmod(0o660)
            (pod.root / "volumes/data/data").chmod(0o2770)


def test_why_the_token_file_is_copied(tls_broker: Redis, tmp_path: Path) -> None:
    """The mounted Secret can be read by the pod's group, and the exporter refuses that."""
    tokens, _ = token_file(tmp_path)
    documents = render(ALL_OF_IT)
    with Pod(documents, others(tls_broker, tokens)) as pod:
        assert pod.run("prepare")[0] == 0
        copied = pod.root / "volumes/private/tokens.yaml"
        copied.unlink()
        copied.symlink_to(pod.root / "volumes/actions-tokens/tokens.yaml")
        code, output = pod.run("exporter")
        assert code == 3
        assert "others than its owner can read or write the token file" in output


def test_it_runs_as_the_pods_user(broker: Redis) -> None:
    documents = render({"broker": {"url": broker.url, "existingSecret": ""}})
    with Pod(documents, {}) as pod:
        if os.geteuid() != 0:
            pytest.skip("only root can start a process as the pod's user; the image's test does so")
        if not pod.as_user():
            pytest.skip(f"user 65532 cannot read {sys.executable} or what it imports")
        with pod.start("exporter") as process:
            probed(pod, "livenessProbe", process)
            status = Path(f"/proc/{process.pid}/status").read_text()
            assert "Uid:\t65532\t65532\t65532\t65532" in status
            assert "CapEff:\t0000000000000000" in status
            assert process.stop() == 0


def test_a_wrong_setting_is_said(broker: Redis) -> None:
    """What the schema lets through the exporter refuses; `kubectl describe` shows the reason."""
    values: Document = {
        "broker": {"url": broker.url, "existingSecret": ""},
        "config": {"buckets": {"celery_task_runtime_seconds": [3, 2, 1]}},
    }
    with Pod(render(values), {}) as pod:
        code, output = pod.run("exporter")
        assert code == 3
        assert "--buckets" in output
