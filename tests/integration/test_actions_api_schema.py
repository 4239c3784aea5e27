"""What schemathesis makes up from the OpenAPI document finds no 5xx and no undocumented answer."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.actions_api import Remembered, Served, Stub, office, served
from tests.support.process import require, scratch
from z4j_exporter.actions.api_alerts import AlertsAnswer
from z4j_exporter.actions.model import Actor

ALERTS = "/v1/alertmanager"
#: What is left out: that a valid request is accepted. Whether an action can be done depends on what
#: the world is like; 422 says why not.
CHECKS = ",".join(
    (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "negative_data_rejection",
        "missing_required_header",
        "unsupported_method",
        "ignored_auth",
    )
)


def take(actor: Actor, message: dict[str, object]) -> AlertsAnswer:
    return AlertsAnswer(202, {"taken": True})


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    stub, tasks = Stub(), Remembered()
    for number in range(5):
        stub.has(f"task-{number}")
        tasks.put(f"task-{number}", state="failed", name="math.add", queue="celery")
    directory = tmp_path_factory.mktemp("actions")
    with (
        office(directory, performer=stub, tasks=tasks) as made,
        served(made, alerts=take) as running,
    ):
        yield running


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("role", "which"), [("admin", "--exclude-path"), ("alert", "--include-path")]
)
def test_no_answer_is_a_surprise(api: Served, role: str, which: str) -> None:
    program = require("schemathesis", str(Path(sys.executable).with_name("schemathesis")))
    directory = scratch("schemathesis")
    document = directory / "openapi.json"
    document.write_text(api.get("/v1/openapi.json").text)
    # A list of 10 001 ids is more than a body may have.
    config = directory / "schemathesis.toml"
    config.write_text(
        "[checks.negative_data_rejection]\n"
        'expected-statuses = ["400", "401", "403", "404", "413", "415", "422"]\n'
    )
    command = [
        program, "--config-file", str(config), "run", str(document), "--url", api.listener.url,
        "--header", f"Authorization: Bearer {api.office.tokens.of[role]}",
        which, ALERTS, "--phases", "coverage,fuzzing", "--checks", CHECKS,
        "--max-examples", "15", "--seed", "1", "--continue-on-failure", "--no-color",
    ]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, cwd=directory, check=False)
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-1000:]
    assert api.office.audited().ok


def test_every_operation_says_what_may_go_wrong(api: Served) -> None:
    document = api.get("/v1/openapi.json").json()
    assert document["security"] == [{"bearer": []}, {"certificate": []}]
    operations = {
        (method, path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert len(operations) == 12
    for (method, path), operation in operations.items():
        told = set(operation["responses"])
        assert {"400", "401", "403", "404", "422", "500", "503"} <= told
        assert {"409", "429"} <= told or method == "get" or path == ALERTS
    assert not {"409", "429"} & set(operations["post", ALERTS]["responses"])


def test_the_document_is_not_for_everybody(api: Served) -> None:
    assert api.get("/v1/openapi.json", None).status_code == 401
    assert api.get("/v1/openapi.json", "alert").status_code == 403
    assert api.get("/docs").status_code == api.get("/openapi.json").status_code == 404
