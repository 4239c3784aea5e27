"""The chart over a matrix of values: valid for Kubernetes, consistent in itself, safe."""

import json
from collections import Counter

import helm_python
import pytest

from tests.support.chart import (
    CHART,
    LEAST,
    NAMESPACE,
    Document,
    config,
    exporter,
    merged,
    of_kind,
    only,
    pod_spec,
    render,
    strings,
    templates,
)
from tests.support.chart_crds import check
from tests.support.chart_matrix import MATRIX
from z4j_exporter.web.pages import PATHS

every = pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX.keys())


def containers(documents: list[Document]) -> list[Document]:
    specs = [pod_spec(documents)] + [pod["spec"] for pod in of_kind(documents, "Pod")]
    return [
        container
        for spec in specs
        for container in spec.get("initContainers", []) + spec["containers"]
    ]


def test_lint() -> None:
    for values in ({}, MATRIX["everything"]):
        report = helm_python.lint(str(CHART), merged(LEAST, values), strict=True)
        assert report["total_charts_linted"] == 1
        # 1 is information: a chart may have an icon.
        assert [m for m in report["messages"] if m["severity"] > 1] == []


@every
def test_valid_for_kubernetes(values: Document) -> None:
    documents = render(values)
    assert of_kind(documents, "Deployment")
    for document in documents:
        check(document)


@every
def test_names_are_unique_and_namespaced(values: Document) -> None:
    documents = render(values)
    names = Counter((d["kind"], d["metadata"]["name"]) for d in documents)
    assert [name for name, count in names.items() if count > 1] == []
    for document in documents:
        assert len(document["metadata"]["name"]) <= 63
        assert document["metadata"]["namespace"]
        labels = document["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "celery"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert all(len(value) <= 63 for value in labels.values())


@every
def test_selectors_find_the_pod_and_not_the_test(values: Document) -> None:
    documents = render(values)
    deployment = only(documents, "Deployment")
    pod = deployment["spec"]["template"]["metadata"]["labels"]
    tests = [p["metadata"]["labels"] for p in of_kind(documents, "Pod")]
    selectors = [deployment["spec"]["selector"]["matchLabels"]]
    selectors += [s["spec"]["selector"] for s in of_kind(documents, "Service")]
    for kind in ("PodDisruptionBudget", "PodMonitor"):
        selectors += [d["spec"]["selector"]["matchLabels"] for d in of_kind(documents, kind)]
    for policy in of_kind(documents, "NetworkPolicy"):
        selectors.append(policy["spec"]["podSelector"]["matchLabels"])
    for selector in selectors:
        assert selector
        assert selector.items() <= pod.items()
        assert not any(selector.items() <= labels.items() for labels in tests)


@every
def test_ports_lead_to_the_container(values: Document) -> None:
    documents = render(values)
    ports = {port["name"]: port["containerPort"] for port in exporter(documents)["ports"]}
    assert ports["http-metrics"] == 9808
    assert config(documents)["listen_address"] == ":9808"
    for service in of_kind(documents, "Service"):
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports.keys()
    named = {port["name"] for s in of_kind(documents, "Service") for port in s["spec"]["ports"]}
    for monitor in of_kind(documents, "ServiceMonitor"):
        assert {e["port"] for e in monitor["spec"]["endpoints"]} <= named
    for monitor in of_kind(documents, "PodMonitor"):
        assert {e["port"] for e in monitor["spec"]["podMetricsEndpoints"]} <= ports.keys()


@every
def test_mounts_and_volumes_fit(values: Document) -> None:
    documents = render(values)
    spec = pod_spec(documents)
    volumes = [volume["name"] for volume in spec["volumes"]]
    assert len(volumes) == len(set(volumes))
    used = set()
    for container in spec.get("initContainers", []) + spec["containers"]:
        paths = [mount["mountPath"] for mount in container["volumeMounts"]]
        assert len(paths) == len(set(paths))
        used |= {mount["name"] for mount in container["volumeMounts"]}
    assert used == set(volumes)


@every
def test_restricted(values: Document) -> None:
    """What the pod security standard "restricted" asks for (Kubernetes 1.31)."""
    documents = render(values)
    specs = [pod_spec(documents)] + [pod["spec"] for pod in of_kind(documents, "Pod")]
    allowed = {
        "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim",
        "projected", "secret",
    }  # fmt: skip
    for spec in specs:
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"].get("runAsUser") != 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert spec["automountServiceAccountToken"] is False
        for volume in spec.get("volumes", []):
            assert volume.keys() - {"name"} <= allowed
    for container in containers(documents):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["readOnlyRootFilesystem"] is True
        assert "hostPort" not in json.dumps(container.get("ports", []))


@every
def test_no_secret_outside_secrets(values: Document) -> None:
    for document in render(values):
        if document["kind"] != "Secret":
            assert not any("s3cret" in text for text in strings(document))


def test_secrets_are_read_from_files() -> None:
    documents = render(MATRIX["every secret from a value"])
    data = only(documents, "Secret")["data"]
    variables = {v["name"]: v["value"] for v in exporter(documents)["env"]}
    assert len(data) == 7
    for setting in data:
        assert variables[f"Z4J_EXPORTER_{setting.upper()}_FILE"].endswith(f"/secrets/{setting}")
    (volume,) = (v for v in pod_spec(documents)["volumes"] if v["name"] == "secrets")
    (source,) = volume["projected"]["sources"]
    assert {item["path"] for item in source["secret"]["items"]} == data.keys()
    assert volume["projected"]["defaultMode"] == 0o440


@every
def test_mounted_secrets_are_the_pods_alone(values: Document) -> None:
    """Its group (fsGroup) reads them, who is not root; nobody else does."""
    for volume in pod_spec(render(values))["volumes"]:
        source = volume.get("secret") or volume.get("projected")
        if source is not None:
            assert source["defaultMode"] == 0o440, volume["name"]


@every
def test_probes_ask_for_pages_that_exist(values: Document) -> None:
    documents = render(values)
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = exporter(documents).get(name)
        if probe and "httpGet" in probe:
            assert probe["httpGet"]["path"] in PATHS
            assert probe["httpGet"]["port"] == "http-metrics"


def test_probes() -> None:
    container = exporter(render())
    for name in ("livenessProbe", "startupProbe"):
        # Not the broker's state: a restart would not bring it back.
        assert container[name]["httpGet"]["path"] == "/-/healthy"
    assert container["readinessProbe"]["httpGet"]["path"] == "/-/ready"
    assert container["readinessProbe"]["httpGet"]["scheme"] == "HTTP"
    tls = exporter(render(MATRIX["pages with TLS"]))
    assert tls["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"
    users = exporter(render(MATRIX["pages with users"]))
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        assert users[name]["tcpSocket"] == {"port": "http-metrics"}
        assert "httpGet" not in users[name]
    own = exporter(render(MATRIX["probes of one's own"]))
    assert "readinessProbe" not in own
    assert "httpGet" not in own["livenessProbe"]
    assert own["startupProbe"]["failureThreshold"] == 60


def test_a_broker_that_is_away_is_scraped() -> None:
    documents = render(MATRIX["actions with TLS"])
    metrics = only(documents, "Service", "z4j-exporter")
    assert metrics["spec"]["publishNotReadyAddresses"] is True
    assert "publishNotReadyAddresses" not in only(documents, "Service", "-actions")["spec"]
    budget = only(render(MATRIX["budget"]), "PodDisruptionBudget")
    assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_only_one_pod_at_a_time() -> None:
    deployment = only(render(), "Deployment")
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    assert deployment["spec"]["replicas"] == 1


def test_there_is_time_to_stop() -> None:
    from z4j_exporter.app import STOP_SECONDS

    assert pod_spec(render())["terminationGracePeriodSeconds"] > STOP_SECONDS + 5


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"config": {"log_level": "info"}}, {"config": {"log_level": "debug"}}),
        ({}, {"web": {"tlsSecret": "x"}}),
        (
            MATRIX["broker from a value"],
            {"broker": {"url": "redis://other/0", "existingSecret": ""}},
        ),
        (
            MATRIX["actions in a mesh, by rules"],
            merged(MATRIX["actions in a mesh, by rules"], {"actions": {"rules": {"rules": []}}}),
        ),
    ],
)
def test_a_change_restarts_the_pod(before: Document, after: Document) -> None:
    def annotations(values: Document) -> Document:
        pod = only(render(values), "Deployment")["spec"]["template"]
        return pod["metadata"]["annotations"]

    assert annotations(before) != annotations(after)
    assert annotations(before) == annotations(before)


def test_an_upgrade_of_the_chart_alone_restarts_nothing() -> None:
    template = only(render(), "Deployment")["spec"]["template"]
    assert "helm.sh/chart" not in template["metadata"]["labels"]


def test_names_that_look_like_numbers() -> None:
    for document in render(MATRIX["everything"], name="123", namespace="456"):
        assert document["metadata"]["labels"]["app.kubernetes.io/instance"] == "123"
        assert document["metadata"]["namespace"] in ("456", "monitoring", "grafana")


def test_a_long_release_name() -> None:
    longest = {"fullnameOverride": "", "nameOverride": "b" * 80}
    for values in (MATRIX["everything"], merged(MATRIX["everything"], longest)):
        for document in render(values, name="a" * 53):
            assert len(document["metadata"]["name"]) <= 63
            assert all(len(value) <= 63 for value in document["metadata"]["labels"].values())


def test_large_numbers_stay_numbers() -> None:
    settings = config(render({"config": {"buffer_bytes": 402653184}}))
    assert settings["buffer_bytes"] == 402653184
    context = {"podSecurityContext": {"runAsUser": 1000680000}}
    assert pod_spec(render(context))["securityContext"]["runAsUser"] == 1000680000


def test_braces_are_left_alone() -> None:
    documents = render(MATRIX["settings"])
    assert "{{ not a template }}" in config(documents)["queue_allow"]
    files = only(render(MATRIX["actions in a mesh, by rules"]), "ConfigMap", "-config")["data"]
    assert "{{ labels.task }}" in files["rules.yaml"]


def test_image() -> None:
    from z4j_exporter import __version__

    assert exporter(render())["image"] == f"ghcr.io/z4j/z4j-exporter:{__version__}"
    assert exporter(render(MATRIX["pinned"]))["image"] == (
        "registry.example.org/z4j-exporter:1.2.3@sha256:" + "0" * 64
    )


def test_notes_say_what_is_missing() -> None:
    notes = templates(LEAST)["NOTES.txt"]
    assert "serviceMonitor.enabled" in notes
    assert "prometheusRule.enabled" in notes
    assert "rollout status deployment/celery-z4j-exporter" in notes
    assert "http://celery-z4j-exporter.prod.svc:9808/metrics" in notes
    alone = templates(merged(LEAST, {"service": {"enabled": False}}))["NOTES.txt"]
    assert ".svc" not in alone
    url = templates({"broker": {"url": "redis://:s3cret@redis/0"}})["NOTES.txt"]
    assert "broker.existingSecret" in url
    assert "s3cret" not in url
    two = templates(merged(LEAST, MATRIX["two replicas"]))["NOTES.txt"]
    assert "counts every event" in two
    drained = templates(merged(LEAST, MATRIX["budget of one"]))["NOTES.txt"]
    assert "cannot be drained" in drained


def test_nothing_asks_what_the_cluster_can_do() -> None:
    """`helm template` and Argo CD have no cluster to ask."""
    for path in (CHART / "templates").rglob("*"):
        if path.is_file():
            assert "Capabilities" not in path.read_text()
            assert "lookup" not in path.read_text()


def test_network_policy_lets_the_test_in() -> None:
    documents = render(MATRIX["network policy, both ways"])
    rule = only(documents, "NetworkPolicy")["spec"]["ingress"][0]
    (pod,) = of_kind(documents, "Pod")
    last = rule["from"][-1]["podSelector"]["matchLabels"]
    assert last.items() <= pod["metadata"]["labels"].items()
    assert pod["metadata"]["namespace"] == NAMESPACE
