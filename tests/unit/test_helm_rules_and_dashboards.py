"""The chart's alerts and dashboards are the project's own, whatever braces they have in them."""

import copy
import gzip
import io
import json
import tarfile
from base64 import b64encode
from pathlib import Path

import helm_python
import pytest
import yaml

from tests.support.chart import CHART, LEAST, ROOT, Document, merged, of_kind, only, render
from tests.support.chart_matrix import MATRIX

#: What the API server takes of the Secret that Helm keeps a release in.
MOST_BYTES = 1024 * 1024
#: `kubectl apply` and Argo CD keep an object in an annotation of its own: 256 KiB are allowed.
MOST_APPLIED_BYTES = 256 * 1024


def sources() -> list[Document]:
    """The groups as they stand in alerts/, recording rules first."""
    files = [ROOT / "alerts" / name for name in ("recording.yaml", "alerts.yaml")]
    return [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]


def groups(values: Document) -> list[Document]:
    return only(render(values), "PrometheusRule")["spec"]["groups"]


def alerts(among: list[Document]) -> dict[str, Document]:
    return {rule["alert"]: rule for g in among for rule in g["rules"] if "alert" in rule}


def test_the_rules_are_the_projects() -> None:
    assert sources()
    assert groups({"prometheusRule": {"enabled": True}}) == sources()


def test_templates_of_annotations_are_left_alone() -> None:
    shown = alerts(groups({"prometheusRule": {"enabled": True}})).values()
    assert any("{{ $labels." in rule["annotations"]["description"] for rule in shown)


def test_alerts_can_be_changed() -> None:
    changed = alerts(groups(MATRIX["alerts, changed"]))
    before = alerts(sources())
    assert before.keys() - changed.keys() == {"CeleryNoWorkers"}
    for name, rule in changed.items():
        was = copy.deepcopy(before[name])
        was["labels"]["team"] = "payments"
        page = was["annotations"]["runbook_url"].rpartition("/")[2]
        was["annotations"]["runbook_url"] = f"https://wiki.example.org/celery/{page}"
        if name == "CeleryQueueWithoutConsumer":
            was |= {"for": "1h", "labels": {**was["labels"], "severity": "info"}}
        assert rule == was


def test_an_expression_can_be_changed() -> None:
    override = {"CeleryNoWorkers": {"expr": "vector(1) > 2", "annotations": {"summary": "s"}}}
    rule = alerts(groups({"prometheusRule": {"enabled": True, "overrides": override}}))[
        "CeleryNoWorkers"
    ]
    assert rule["expr"] == "vector(1) > 2"
    assert rule["annotations"]["summary"] == "s"
    assert rule["annotations"]["description"]


def test_a_group_without_rules_is_left_out() -> None:
    (group, *_) = (g for g in sources() if "alert" in g["rules"][0])
    names = [rule["alert"] for rule in group["rules"]]
    left = groups({"prometheusRule": {"enabled": True, "disabled": names}})
    assert group["name"] not in [g["name"] for g in left]
    assert len(left) == len(sources()) - 1


def test_the_dashboards_are_the_projects() -> None:
    files = {path.name: path.read_text() for path in (ROOT / "dashboards").glob("*.json")}
    assert files
    maps = dashboards(MATRIX["dashboards"])
    data = {key: text for document in maps for key, text in document["data"].items()}
    assert data == files
    for document in maps:
        assert document["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert document["metadata"]["annotations"]["grafana_folder"] == "Celery"
        assert len(json.dumps(document)) < MOST_APPLIED_BYTES


def dashboards(values: Document) -> list[Document]:
    maps = of_kind(render(values), "ConfigMap")
    return [document for document in maps if "-dashboard-" in document["metadata"]["name"]]


def test_the_sidecar_can_be_another() -> None:
    maps = dashboards(MATRIX["dashboards elsewhere"])
    assert maps
    for document in maps:
        assert document["metadata"]["namespace"] == "grafana"
        assert document["metadata"]["labels"]["grafana/dashboard"] == "true"
        assert document["metadata"]["annotations"] == {"k8s-folder": "Teams/Celery"}


@pytest.mark.parametrize("values", [{}, MATRIX["everything"]], ids=["least", "everything"])
def test_a_release_fits_into_its_secret(values: Document, tmp_path: Path) -> None:
    """Helm keeps chart, values and manifests in one Secret: JSON, gzipped, base64 twice."""
    archive = helm_python.package(str(CHART), destination=str(tmp_path))
    with tarfile.open(archive) as tar:
        files = {
            member.name: b64encode(tar.extractfile(member).read()).decode()  # type: ignore[union-attr]
            for member in tar.getmembers()
        }
    manifests = yaml.safe_dump_all(render(values))
    release = json.dumps({"chart": files, "manifest": manifests, "config": merged(LEAST, values)})
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb") as file:
        file.write(release.encode())
    # Half of it is room to grow; what is too large can be refused by a cluster only.
    assert len(b64encode(b64encode(packed.getvalue()))) < MOST_BYTES / 2
