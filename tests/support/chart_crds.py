"""Holds documents to Kubernetes' schemas, and to those of the operators' objects that are used.

The latter stand here, compared with the published CustomResourceDefinitions of prometheus-operator
(0.82 and later, monitoring.coreos.com/v1) and KEDA (keda.sh/v1alpha1). Stricter than those: a field
that is not named here is refused, so that a misspelt one is seen.
"""

import functools
from typing import Any

import jsonschema
import kubernetes_validate

#: The oldest that the chart takes, one between, and the latest that the schemas are there for.
KUBERNETES = ("1.27.0", "1.31.0", kubernetes_validate.latest_version())

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
#: The largest unit first, each once; "" is let through by the operator, and means nothing here.
_UNITS = "".join(f"([0-9]+{unit})?" for unit in ("y", "w", "d", "h", "m", "s", "ms"))
_DURATION: Schema = {"type": "string", "pattern": f"^(0|{_UNITS})$", "minLength": 1}
_TEXTS: Schema = {"type": "object", "additionalProperties": _TEXT}


def _object(properties: Schema, *required: str) -> Schema:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": list(required),
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


_KEY = _object({"name": _TEXT, "key": _TEXT, "optional": {"type": "boolean"}}, "key")
_EITHER = _object({"secret": _KEY, "configMap": _KEY})
_METADATA = _object(
    {"name": _TEXT, "namespace": _TEXT, "labels": _TEXTS, "annotations": _TEXTS}, "name"
)
_SELECTOR = _object({"matchLabels": _TEXTS, "matchExpressions": _list({"type": "object"})})
_ACTIONS = (
    "Replace", "Keep", "Drop", "HashMod", "LabelMap", "LabelDrop", "LabelKeep", "Lowercase",
    "Uppercase", "KeepEqual", "DropEqual",
)  # fmt: skip
_RELABELING = _object(
    {
        "sourceLabels": _list({"type": "string", "pattern": "^[a-zA-Z_][a-zA-Z0-9_]*$"}),
        "separator": _TEXT,
        "targetLabel": _TEXT,
        "regex": _TEXT,
        "modulus": {"type": "integer"},
        "replacement": _TEXT,
        "action": {"enum": [*_ACTIONS, *(action.lower() for action in _ACTIONS)]},
    }
)
_TLS_VERSION = {"enum": ["TLS10", "TLS11", "TLS12", "TLS13"]}
_ENDPOINT = _object(
    {
        "port": _TEXT,
        "path": _TEXT,
        "scheme": {"enum": ["http", "https"]},
        "interval": _DURATION,
        "scrapeTimeout": _DURATION,
        "honorLabels": {"type": "boolean"},
        "tlsConfig": _object(
            {
                "ca": _EITHER,
                "cert": _EITHER,
                "keySecret": _KEY,
                "serverName": _TEXT,
                "insecureSkipVerify": {"type": "boolean"},
                "minVersion": _TLS_VERSION,
                "maxVersion": _TLS_VERSION,
            }
        ),
        "basicAuth": _object({"username": _KEY, "password": _KEY}),
        "relabelings": _list(_RELABELING),
        "metricRelabelings": _list(_RELABELING),
    },
    "port",
)


def _resource(version: str, kind: str, spec: Schema) -> Schema:
    fields = {
        "apiVersion": {"const": version},
        "kind": {"const": kind},
        "metadata": _METADATA,
        "spec": spec,
    }
    return _object(fields, *fields)


def _monitor(kind: str, endpoints: str) -> Schema:
    spec = {
        "namespaceSelector": _object({"matchNames": _list(_TEXT), "any": {"type": "boolean"}}),
        "selector": _SELECTOR,
        endpoints: {**_list(_ENDPOINT), "minItems": 1},
    }
    return _resource("monitoring.coreos.com/v1", kind, _object(spec, "selector", endpoints))


_RULE = _object(
    {
        "record": _TEXT,
        "alert": _TEXT,
        "expr": {"type": "string", "minLength": 1},
        "for": _DURATION,
        "keep_firing_for": _DURATION,
        "labels": _TEXTS,
        "annotations": _TEXTS,
    },
    "expr",
)
_GROUP = _object(
    {
        "name": {"type": "string", "minLength": 1},
        "interval": _DURATION,
        "limit": {"type": "integer"},
        "labels": _TEXTS,
        "query_offset": _DURATION,
        "rules": _list(_RULE),
    },
    "name",
    "rules",
)
_SCALED_OBJECT = _object(
    {
        "scaleTargetRef": _object({"apiVersion": _TEXT, "kind": _TEXT, "name": _TEXT}, "name"),
        "pollingInterval": {"type": "integer"},
        "cooldownPeriod": {"type": "integer"},
        "initialCooldownPeriod": {"type": "integer"},
        "idleReplicaCount": {"type": "integer"},
        "minReplicaCount": {"type": "integer"},
        "maxReplicaCount": {"type": "integer"},
        "fallback": _object(
            {"failureThreshold": {"type": "integer"}, "replicas": {"type": "integer"}},
            "failureThreshold",
            "replicas",
        ),
        "advanced": {"type": "object"},
        "triggers": _list(
            _object(
                {
                    "type": _TEXT,
                    "name": _TEXT,
                    "metricType": {"enum": ["AverageValue", "Value", "Utilization"]},
                    "useCachedMetrics": {"type": "boolean"},
                    "authenticationRef": _object({"name": _TEXT, "kind": _TEXT}, "name"),
                    "metadata": _TEXTS,
                },
                "type",
                "metadata",
            )
        ),
    },
    "scaleTargetRef",
    "triggers",
)

CRDS: dict[tuple[str, str], Schema] = {
    ("monitoring.coreos.com/v1", "ServiceMonitor"): _monitor("ServiceMonitor", "endpoints"),
    ("monitoring.coreos.com/v1", "PodMonitor"): _monitor("PodMonitor", "podMetricsEndpoints"),
    ("monitoring.coreos.com/v1", "PrometheusRule"): _resource(
        "monitoring.coreos.com/v1",
        "PrometheusRule",
        _object({"groups": _list(_GROUP)}, "groups"),
    ),
    ("keda.sh/v1alpha1", "ScaledObject"): _resource(
        "keda.sh/v1alpha1", "ScaledObject", _SCALED_OBJECT
    ),
}


def check(document: dict[str, Any]) -> None:
    """Raise ValidationError where a cluster would refuse a document, or would ignore a field."""
    schema = CRDS.get((document["apiVersion"], document["kind"]))
    if schema is not None:
        jsonschema.validate(document, schema)
        # A list of the kind "map": the API server refuses a name that is there twice.
        names = [group["name"] for group in document["spec"].get("groups", [])]
        assert len(names) == len(set(names)), f"groups of one name: {names}"
        return
    for version in KUBERNETES:
        kubernetes_validate.validate(document, version, strict=True)


# It reads a megabyte of definitions for each document.
kubernetes_validate.utils.schema_contents = functools.cache(
    kubernetes_validate.utils.schema_contents
)
