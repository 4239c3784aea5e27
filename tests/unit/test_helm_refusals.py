"""What the chart refuses, and what it says: values that cannot work, or are not safe."""

import helm_python
import pytest

from tests.support.chart import LEAST, Document, merged, render, templates
from tests.support.chart_matrix import MATRIX

_ACTIONS: Document = MATRIX["actions on loopback"]
_SERVICE: Document = merged(_ACTIONS, {"actions": {"service": {"enabled": True}}})


REFUSED: dict[str, tuple[Document, str]] = {
    "no broker": ({}, "no broker: set broker.existingSecret"),
    "broker twice": (
        {"broker": {"url": "redis://r", "existingSecret": "b"}},
        "broker.url and broker.existingSecret are both set",
    ),
    "result backend twice": (
        merged(LEAST, {"resultBackend": {"url": "redis://r", "existingSecret": "b"}}),
        "resultBackend.url and resultBackend.existingSecret are both set",
    ),
    "store's key twice": (
        merged(LEAST, {"captureStore": {"encryption": {"key": "k", "existingSecret": "b"}}}),
        "captureStore.encryption.key and captureStore.encryption.existingSecret are both set",
    ),
    "headers twice": (
        merged(LEAST, {"otlp": {"headers": {"value": "a=b", "existingSecret": "b"}}}),
        "otlp.headers.value and otlp.headers.existingSecret are both set",
    ),
    "two replicas": (
        merged(LEAST, {"replicaCount": 2}),
        "replicaCount is more than 1: each replica counts every event",
    ),
    "two replicas with actions": (
        merged(LEAST, _ACTIONS, {"replicaCount": 2, "allowMultipleReplicas": True}),
        "replicaCount is more than 1 with actions",
    ),
    "two replicas with a journal": (
        merged(LEAST, MATRIX["journal"], {"replicaCount": 2, "allowMultipleReplicas": True}),
        "replicaCount is more than 1 with persistence: a journal has one writer",
    ),
    "journal without a volume": (
        merged(LEAST, {"journal": {"enabled": True}}),
        "journal.enabled without persistence.enabled",
    ),
    "actions without tokens": (
        merged(LEAST, {"actions": {"enabled": True}, "persistence": {"enabled": True}}),
        "actions.enabled without actions.tokens.existingSecret: make the token file with "
        "`z4j-exporter token new`",
    ),
    "actions without a volume": (
        merged(LEAST, {"actions": _ACTIONS["actions"]}),
        "actions.enabled without persistence.enabled",
    ),
    "actions in the clear": (
        merged(LEAST, _SERVICE),
        "actions.service.enabled without TLS: tokens would cross the network in the clear",
    ),
    "Service without actions": (
        merged(LEAST, {"actions": {"service": {"enabled": True}}}),
        "actions.service.enabled without actions.enabled",
    ),
    "client certificates without an authority": (
        merged(LEAST, _ACTIONS, {"actions": {"clientCertificates": True}}),
        "actions.clientCertificates without actions.tlsSecret",
    ),
    "actions' TLS twice": (
        merged(LEAST, _SERVICE, {"actions": {"tlsSecret": "a", "configSecret": "b"}}),
        "actions.tlsSecret and actions.configSecret are both set",
    ),
    "rules twice": (
        merged(
            LEAST,
            _ACTIONS,
            {"actions": {"rules": {"rules": [{"name": "x"}]}, "existingRulesConfigMap": "r"}},
        ),
        "actions.rules and actions.existingRulesConfigMap are both set",
    ),
    "actions on a recording": (
        merged(_ACTIONS, {"config": {"recording": "/x"}}),
        "actions.enabled with config.recording",
    ),
    "pages' TLS twice": (
        merged(LEAST, {"web": {"tlsSecret": "a", "configSecret": "b"}}),
        "web.tlsSecret and web.configSecret are both set",
    ),
    "scraped twice": (
        merged(LEAST, {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}),
        "serviceMonitor.enabled and podMonitor.enabled: Prometheus would scrape the pod twice",
    ),
    "nothing to scrape": (
        merged(LEAST, {"serviceMonitor": {"enabled": True}, "service": {"enabled": False}}),
        "serviceMonitor.enabled without service.enabled",
    ),
    "scraped by an address that no certificate names": (
        merged(LEAST, {"web": {"tlsSecret": "a"}, "serviceMonitor": {"enabled": True}}),
        "serviceMonitor.enabled and the pages have TLS: Prometheus asks the pod by its address, "
        "which no certificate names; set serviceMonitor.tlsConfig",
    ),
    "a pod that is scraped so": (
        merged(LEAST, {"web": {"scheme": "HTTPS"}, "podMonitor": {"enabled": True}}),
        "set podMonitor.tlsConfig",
    ),
    "scraped without a password": (
        merged(
            LEAST,
            {
                "web": {"configSecret": "a", "authenticated": True},
                "serviceMonitor": {"enabled": True, "tlsConfig": {"serverName": "x"}},
            },
        ),
        "serviceMonitor.enabled with web.authenticated: Prometheus would be turned away; set "
        "serviceMonitor.basicAuth",
    ),
    "nobody reaches the actions": (
        merged(LEAST, MATRIX["actions with TLS"], {"networkPolicy": {"enabled": True}}),
        "networkPolicy.actionsFrom is empty: nobody could reach actions.service",
    ),
    "no way to the broker": (
        merged(LEAST, {"networkPolicy": {"enabled": True, "egress": {"enabled": True}}}),
        "networkPolicy.egress.rules is empty",
    ),
    "budget with both": (
        merged(
            LEAST,
            {"podDisruptionBudget": {"enabled": True, "minAvailable": 0, "maxUnavailable": 1}},
        ),
        "podDisruptionBudget has minAvailable and maxUnavailable",
    ),
    "buffer above the limit": (
        merged(LEAST, {"config": {"buffer_bytes": 1073741824}}),
        "resources.limits.memory is 768 MiB, and in a burst 1154 MiB may be needed: 1024 MiB of "
        "events (config.buffer_bytes)",
    ),
    "limit below the buffer": (
        merged(LEAST, {"resources": {"limits": {"memory": "256Mi"}}}),
        "resources.limits.memory is 256 MiB, and in a burst 514 MiB may be needed",
    ),
    "tasks above the limit": (
        merged(LEAST, {"config": {"max_tasks": 1000000}}),
        "1000000 tasks (config.max_tasks)",
    ),
    "a limit that is none": (
        merged(LEAST, {"resources": {"limits": {"memory": "1 GB"}}}),
        "1 GB is no size: write 512Mi or 1Gi",
    ),
    "journal larger than its volume": (
        merged(LEAST, MATRIX["journal"], {"persistence": {"size": "1Gi"}}),
        "persistence.size is 1024 MiB, and the journal may take 1907 MiB",
    ),
    "URL as an argument": (
        merged(LEAST, {"extraArgs": ["--broker-url=redis://:s3cret@r"]}),
        "extraArgs has --broker-url: set broker.existingSecret",
    ),
    "URL as the next argument": (
        merged(LEAST, {"extraArgs": ["--result-backend-url", "redis://:s3cret@r"]}),
        "extraArgs has --result-backend-url: set resultBackend.existingSecret",
    ),
    "URL as a short argument": (
        merged(LEAST, {"extraArgs": ["-bredis://:s3cret@r"]}),
        "extraArgs has --broker-url: set broker.existingSecret",
    ),
    "header as an argument": (
        merged(LEAST, {"extraArgs": ["--otlp-header=api-key=s3cret"]}),
        "extraArgs has --otlp-header: set otlp.headers.existingSecret",
    ),
    "actions as an argument": (
        merged(LEAST, {"extraArgs": ["--actions"]}),
        "extraArgs has --actions: set actions.enabled",
    ),
    "another file": (
        merged(LEAST, {"extraArgs": ["--config=/x"]}),
        "extraArgs has --config: set config",
    ),
    "buffer as an argument": (
        merged(LEAST, {"extraArgs": ["--buffer-bytes=1"]}),
        "extraArgs has --buffer-bytes: set config.buffer_bytes",
    ),
    "URL as a variable": (
        merged(LEAST, {"env": [{"name": "Z4J_EXPORTER_BROKER_URL", "value": "redis://:s3cret@r"}]}),
        "env has the secret Z4J_EXPORTER_BROKER_URL as a value",
    ),
    "audit key as a variable": (
        merged(LEAST, {"env": [{"name": "Z4J_EXPORTER_ACTIONS_AUDIT_KEY", "value": "s3cret"}]}),
        "env has the secret Z4J_EXPORTER_ACTIONS_AUDIT_KEY as a value",
    ),
    "OpenTelemetry's headers as a variable": (
        merged(LEAST, {"env": [{"name": "OTEL_EXPORTER_OTLP_HEADERS", "value": "k=s3cret"}]}),
        "env has the secret OTEL_EXPORTER_OTLP_HEADERS as a value",
    ),
    "address as a variable": (
        merged(LEAST, {"env": [{"name": "Z4J_EXPORTER_LISTEN_ADDRESS", "value": ":1"}]}),
        "env has Z4J_EXPORTER_LISTEN_ADDRESS: set service.port",
    ),
    "password in options of a variable": (
        merged(
            LEAST,
            {
                "env": [
                    {
                        "name": "Z4J_EXPORTER_BROKER_TRANSPORT_OPTIONS",
                        "value": 'sentinel_kwargs={"password": "s3cret"}',
                    }
                ]
            },
        ),
        "env has a password in the value of Z4J_EXPORTER_BROKER_TRANSPORT_OPTIONS",
    ),
    "password in the configuration": (
        merged(
            LEAST,
            {
                "config": {
                    "broker_transport_options": {
                        "master_name": "m",
                        "sentinel_kwargs": {"password": "s3cret"},
                    }
                }
            },
        ),
        "config.broker_transport_options has a password, and a ConfigMap is not secret",
    ),
    "a certificate that is not mounted": (
        merged(
            LEAST,
            {"config": {"otlp_ca_file": "/etc/z4j-exporter/certificates/collector/ca.crt"}},
        ),
        "config names a file in /etc/z4j-exporter/certificates/collector, and certificates has no "
        "collector",
    ),
    "a certificate twice": (
        merged(
            LEAST,
            {"certificates": [{"name": "a", "secret": "b"}, {"name": "a", "configMap": "c"}]},
        ),
        "certificates has a name twice",
    ),
    "an alert that is not there": (
        merged(LEAST, {"prometheusRule": {"disabled": ["CeleryNoSuchAlert"]}}),
        "prometheusRule names CeleryNoSuchAlert, and there is no such alert; there are: Celery",
    ),
    "a change of an alert that is not there": (
        merged(LEAST, {"prometheusRule": {"overrides": {"CeleryTypo": {"for": "1h"}}}}),
        "prometheusRule names CeleryTypo",
    ),
}


@pytest.mark.parametrize(("values", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(values: Document, sentence: str) -> None:
    with pytest.raises(helm_python.HelmRenderError) as caught:
        templates(values)
    assert sentence in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_all_that_is_wrong_is_said_at_once() -> None:
    values = {"replicaCount": 3, "journal": {"enabled": True}}
    with pytest.raises(helm_python.HelmRenderError) as caught:
        templates(values)
    for sentence in ("no broker", "replicaCount is more than 1:", "journal.enabled without"):
        assert str(caught.value).count(sentence) == 1


@pytest.mark.parametrize("memory", ["600Mi", "1Gi", "1.5Gi", "2G", 1073741824, "900000k"])
def test_sizes_are_understood(memory: object) -> None:
    assert render({"resources": {"limits": {"memory": memory}}})


MISSPELT: dict[str, tuple[Document, str]] = {
    "a value": ({"replicas": 2}, "replicas"),
    "a value of a value": ({"broker": {"existingsecret": "b"}}, "existingsecret"),
    "a setting": ({"config": {"max_task": 1000}}, "max_task"),
    "a setting that has a value": ({"config": {"listen_address": ":1"}}, "listen_address"),
    "a secret setting": ({"config": {"broker_url": "redis://r"}}, "broker_url"),
    "a setting's type": ({"config": {"max_tasks": "many"}}, "max_tasks"),
    "a setting's range": ({"config": {"max_tasks": 1}}, "max_tasks"),
    "a setting's choice": ({"config": {"metrics_profile": "prometheus"}}, "metrics_profile"),
    "a number": ({"replicaCount": "2"}, "replicaCount"),
    "a switch": ({"actions": {"enabled": "yes"}}, "enabled"),
    "a port": ({"service": {"port": 70000}}, "port"),
    "a digest": ({"image": {"digest": "latest"}}, "digest"),
    "a type of Service": ({"service": {"type": "Loadbalancer"}}, "type"),
    "a scheme": ({"web": {"scheme": "https"}}, "scheme"),
    "an interval": ({"serviceMonitor": {"interval": "often"}}, "interval"),
    "a label that is a number": ({"podLabels": {"a": 1}}, "podLabels"),
    "too little time to stop": (
        {"terminationGracePeriodSeconds": 1},
        "terminationGracePeriodSeconds",
    ),
    "a certificate from two": (
        {"certificates": [{"name": "a", "secret": "b", "configMap": "c"}]},
        "certificates",
    ),
    "a change of an alert": (
        {"prometheusRule": {"overrides": {"CeleryNoWorkers": {"fore": "1h"}}}},
        "fore",
    ),
    "a rule": ({"actions": {"rules": {"rule": []}}}, "rule"),
    "a variable": ({"env": [{"name": "A", "values": "b"}]}, "values"),
}


@pytest.mark.parametrize(("values", "key"), MISSPELT.values(), ids=MISSPELT.keys())
def test_misspelt_values_are_refused(values: Document, key: str) -> None:
    with pytest.raises(helm_python.HelmError) as caught:
        templates(merged(LEAST, values))
    assert "don't meet the specifications of the schema" in str(caught.value)
    assert key in str(caught.value)
