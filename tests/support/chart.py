"""Renders the Helm chart with Helm's own engine, and reads what comes out."""

import copy
import functools
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import helm_python
import yaml

ROOT = Path(__file__).parent.parent.parent
CHART = ROOT / "helm" / "z4j-exporter"

RELEASE, NAMESPACE = "celery", "prod"
#: What the chart cannot do without.
LEAST: dict[str, Any] = {"broker": {"existingSecret": "celery-broker"}}

Document = dict[str, Any]


class _Loader(yaml.CSafeLoader):
    """YAML that refuses a key which is there twice: Kubernetes would take the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        assert not twice, f"keys that are there twice: {twice}"
        return super().construct_mapping(node, deep)


def documents_of(text: str) -> list[Document]:
    """Return the YAML documents of a text, without empty ones."""
    return [document for document in yaml.load_all(text, _Loader) if document is not None]


@functools.cache
def chart() -> "helm_python.Chart":
    """Return the chart, loaded once."""
    return helm_python.Chart.load(str(CHART))


def templates(
    values: Document | None = None, *, name: str = RELEASE, namespace: str = NAMESPACE
) -> dict[str, str]:
    """Render it; the text of each template by its path in the chart."""
    rendered = chart().render(copy.deepcopy(values or {}), name=name, namespace=namespace)
    return {path.removeprefix("z4j-exporter/templates/"): text for path, text in rendered.items()}


def render(values: Document | None = None, **release: str) -> list[Document]:
    """Render the chart with ``values`` on top of the least; every document."""
    texts = templates(merged(LEAST, values or {}), **release)
    return [
        document
        for path, text in texts.items()
        if path != "NOTES.txt"
        for document in documents_of(text)
    ]


def merged(*layers: Document) -> Document:
    """Merge values as Helm does: maps key by key, the rest as a whole."""
    result: Document = {}
    for layer in layers:
        for key, value in layer.items():
            known = result.get(key)
            both = isinstance(known, dict) and isinstance(value, dict)
            result[key] = merged(known, value) if both else copy.deepcopy(value)
    return result


def of_kind(documents: list[Document], kind: str) -> list[Document]:
    """Return the documents of one kind."""
    return [document for document in documents if document["kind"] == kind]


def only(documents: list[Document], kind: str, ending: str = "") -> Document:
    """Return the one document of a kind whose name ends so."""
    (found,) = (
        document
        for document in of_kind(documents, kind)
        if document["metadata"]["name"].endswith(ending)
    )
    return found


def pod_spec(documents: list[Document]) -> Document:
    """Return the specification of the Deployment's pod."""
    return only(documents, "Deployment")["spec"]["template"]["spec"]


def exporter(documents: list[Document]) -> Document:
    """Return the exporter's container."""
    return pod_spec(documents)["containers"][0]


def config(documents: list[Document]) -> Document:
    """Return the settings in the configuration file."""
    return yaml.safe_load(only(documents, "ConfigMap", "-config")["data"]["config.yaml"])


def strings(node: object) -> Iterator[str]:
    """Yield every text in a document, keys too."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from (*strings(key), *strings(value))
    elif isinstance(node, list):
        for value in node:
            yield from strings(value)
    else:
        yield str(node)
