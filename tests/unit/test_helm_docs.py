"""What docs/kubernetes.md and helm/examples show can be used as it stands."""

import re

import helm_python
import promql_parser
import pytest
import yaml

from tests.support.chart import ROOT, Document, documents_of, exporter, of_kind, templates
from tests.support.chart_crds import check

TEXT = (ROOT / "docs" / "kubernetes.md").read_text()
SHOWN = re.findall(r"^```yaml\n(# values\.yaml.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
EXAMPLES = sorted((ROOT / "helm" / "examples").glob("*.yaml"))


def rendered(values: Document) -> list[Document]:
    texts = templates(values, namespace="celery")
    return [d for path, text in texts.items() if path != "NOTES.txt" for d in documents_of(text)]


def test_every_block_is_tested() -> None:
    assert len(SHOWN) == TEXT.count("```yaml") > 5


@pytest.mark.parametrize("text", SHOWN)
def test_values_can_be_used(text: str) -> None:
    documents = rendered(yaml.safe_load(text))
    assert exporter(documents)["args"][0] == "run"
    for document in documents:
        check(document)


def test_names_in_the_text_are_the_charts() -> None:
    (values,) = (v for v in map(yaml.safe_load, SHOWN) if v.get("actions", {}).get("service"))
    documents = rendered(values)
    services = {service["metadata"]["name"] for service in of_kind(documents, "Service")}
    assert services == {"celery-z4j-exporter", "celery-z4j-exporter-actions"}
    assert "https://celery-z4j-exporter-actions.celery.svc:9809/v1/alertmanager" in TEXT
    (deployment,) = of_kind(documents, "Deployment")
    assert f"deployment/{deployment['metadata']['name']}" in TEXT


def test_what_is_refused_is_quoted_as_it_is() -> None:
    with pytest.raises(helm_python.HelmRenderError, match="These values cannot be used"):
        templates({})
    with pytest.raises(helm_python.HelmError, match="don't meet the specifications of the schema"):
        templates({"brokr": {}})


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_valid(path: object) -> None:
    for document in documents_of(path.read_text()):  # type: ignore[attr-defined]
        check(document)


def queries() -> list[str]:
    """The queries of both examples, the adapter's with its template filled as it would be."""
    keda = yaml.safe_load((ROOT / "helm/examples/workers-keda.yaml").read_text())
    shown = (ROOT / "helm/examples/workers-hpa.yaml").read_text()
    block = re.search(r"^#     rules:\n(?:#      .*\n)+", shown, re.MULTILINE)
    assert block is not None
    (rule,) = yaml.safe_load(re.sub("^#", "", block[0], flags=re.MULTILINE))["rules"]["external"]
    adapter = rule["metricsQuery"].replace("<<.Series>>", "celery_queue_messages")
    adapter = adapter.replace("<<.LabelMatchers>>", 'namespace="default",queue="celery"')
    return [keda["spec"]["triggers"][0]["metadata"]["query"], adapter]


@pytest.mark.parametrize("query", queries())
def test_queries_of_examples(query: str) -> None:
    promql_parser.parse(query)
    assert "celery_queue_messages{" in query
    assert "<<" not in query
