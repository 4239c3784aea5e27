"""Values that the chart is rendered with: each feature on, some together, all of them on."""

from tests.support.chart import Document, merged

_DATA: Document = {"persistence": {"enabled": True}}
_ACTIONS: Document = {
    **_DATA,
    "actions": {"enabled": True, "tokens": {"existingSecret": "celery-tokens"}},
}
_PROMETHEUS_POD: Document = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
    "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
}
_RELABELING: Document = {"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}
_USER: Document = {
    "username": {"name": "celery-scrape", "key": "username"},
    "password": {"name": "celery-scrape", "key": "password"},
}

MATRIX: dict[str, Document] = {
    "least": {},
    "broker from a value": {"broker": {"url": "redis://:s3cret@redis/0", "existingSecret": ""}},
    "broker from the environment": {
        "broker": {"existingSecret": "", "fromEnvironment": True},
        "envFrom": [{"secretRef": {"name": "celery-env"}}],
    },
    "broker from an application": {
        "broker": {"existingSecret": ""},
        "config": {"app": "proj.celery:app"},
        "env": [{"name": "PYTHONPATH", "value": "/app"}],
    },
    "another key": {"broker": {"existingSecretKey": "REDIS_URL"}},
    "every secret from a Secret": {
        "resultBackend": {"existingSecret": "a"},
        "rabbitmqManagement": {"existingSecret": "b"},
        "captureStore": {"existingSecret": "c", "encryption": {"existingSecret": "c"}},
        "otlp": {"existingSecret": "d", "headers": {"existingSecret": "d"}},
    },
    "every secret from a value": {
        "broker": {"url": "amqp://u:s3cret@rabbit//", "existingSecret": ""},
        "resultBackend": {"url": "redis://:s3cret@results/1"},
        "rabbitmqManagement": {"url": "http://u:s3cret@rabbit:15672"},
        "captureStore": {
            "url": "redis://:s3cret@store/2",
            "encryption": {"key": "s3cretAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="},
        },
        "otlp": {"endpoint": "http://collector:4318", "headers": {"value": "api-key=s3cret"}},
    },
    "settings": {
        "config": {
            "metrics_profile": "celery-exporter",
            "buckets": {"celery_task_runtime_seconds": [0.1, 1, 10]},
            "static_labels": {"cluster": "eu"},
            "queue_allow": ["shop.*", "{{ not a template }}"],
            "buffer_bytes": 134217728,
            "queue_poll_interval": 0,
            "event_queue_ttl": 30.5,
            "log_format": "json",
        }
    },
    "Redis with TLS": {
        "certificates": [
            {"name": "redis-ca", "configMap": "redis-ca"},
            {"name": "redis-client", "secret": "redis-client"},
        ],
        "config": {
            "broker_ssl_options": {
                "ssl_ca_certs": "/etc/z4j-exporter/certificates/redis-ca/ca.crt",
                "ssl_certfile": "/etc/z4j-exporter/certificates/redis-client/tls.crt",
                "ssl_keyfile": "/etc/z4j-exporter/certificates/redis-client/tls.key",
            }
        },
    },
    "Sentinel": {
        "config": {"broker_transport_options": {"master_name": "mymaster"}},
        "env": [
            {
                "name": "Z4J_EXPORTER_BROKER_TRANSPORT_OPTIONS",
                "valueFrom": {"secretKeyRef": {"name": "celery-broker", "key": "options"}},
            }
        ],
    },
    "pages with TLS": {"web": {"tlsSecret": "celery-tls"}},
    "pages with users": {"web": {"configSecret": "celery-web", "authenticated": True}},
    "pages with users in the clear": {"web": {"configSecret": "celery-web", "scheme": "HTTP"}},
    "no Service": {"service": {"enabled": False}, "podMonitor": {"enabled": True}},
    "another Service": {
        "service": {"type": "NodePort", "port": 80, "annotations": {"a/b": "true"}},
    },
    "claim": _DATA,
    "existing claim": {"persistence": {"enabled": True, "existingClaim": "celery-data"}},
    "claim of a class": {
        "persistence": {
            "enabled": True, "storageClass": "local", "size": "10Gi", "keep": False,
            "annotations": {"a/b": "c"},
        }
    },
    "journal": {**_DATA, "journal": {"enabled": True}, "config": {"journal_max_bytes": 2000000000}},
    "actions on loopback": _ACTIONS,
    "actions to try": {"actions": {**_ACTIONS["actions"], "ephemeral": True}},
    "actions without following": merged(_ACTIONS, {"actions": {"tokens": {"follow": False}}}),
    "actions with TLS": merged(
        _ACTIONS,
        {
            "actions": {
                "service": {"enabled": True}, "tlsSecret": "celery-actions-tls",
                "clientCertificates": True, "auditKey": {"existingSecret": "celery-audit"},
            }
        },
    ),
    "actions with a web configuration": merged(
        _ACTIONS, {"actions": {"service": {"enabled": True}, "configSecret": "celery-actions-web"}}
    ),
    "actions in a mesh, by rules": merged(
        _ACTIONS,
        {
            "actions": {
                "service": {"enabled": True}, "insecure": True,
                "rules": {
                    "rules": [
                        {
                            "name": "retry", "matchers": ['alertname="CeleryTasksLost"'],
                            "action": {"verb": "bulk-retry", "task": "{{ labels.task }}"},
                        }
                    ]
                },
            }
        },
    ),
    "actions with rules of others": merged(
        _ACTIONS, {"actions": {"existingRulesConfigMap": "celery-rules"}}
    ),
    "ServiceMonitor": {"serviceMonitor": {"enabled": True}},
    "ServiceMonitor, all of it": {
        "web": {"configSecret": "celery-web", "authenticated": True},
        "serviceMonitor": {
            "enabled": True, "namespace": "monitoring",
            "labels": {"release": "kube-prometheus-stack"}, "annotations": {"a/b": "c"},
            "interval": "15s", "scrapeTimeout": "10s", "honorLabels": True,
            "relabelings": [_RELABELING],
            "metricRelabelings": [
                {"sourceLabels": ["__name__"], "regex": "celery_task_attempts.*", "action": "drop"}
            ],
            "tlsConfig": {
                "ca": {"configMap": {"name": "ca", "key": "ca.crt"}}, "serverName": "celery",
            },
            "basicAuth": _USER,
        },
    },
    "PodMonitor": {
        "podMonitor": {
            "enabled": True, "labels": {"release": "prometheus"}, "interval": "30s",
            "relabelings": [_RELABELING], "tlsConfig": {"insecureSkipVerify": True},
            "basicAuth": _USER,
        }
    },
    "alerts": {"prometheusRule": {"enabled": True}},
    "alerts, changed": {
        "prometheusRule": {
            "enabled": True, "labels": {"release": "kube-prometheus-stack"},
            "alertLabels": {"team": "payments"}, "runbookUrl": "https://wiki.example.org/celery/",
            "disabled": ["CeleryNoWorkers"],
            "overrides": {
                "CeleryQueueWithoutConsumer": {"for": "1h", "labels": {"severity": "info"}}
            },
        }
    },
    "dashboards": {"dashboards": {"enabled": True}},
    "dashboards elsewhere": {
        "dashboards": {
            "enabled": True, "namespace": "grafana", "label": "grafana/dashboard",
            "labelValue": "true", "folder": "Teams/Celery", "folderAnnotation": "k8s-folder",
        }
    },
    "network policy": {"networkPolicy": {"enabled": True}},
    "network policy, both ways": merged(
        _ACTIONS,
        {
            "actions": {"service": {"enabled": True}, "insecure": True},
            "networkPolicy": {
                "enabled": True, "metricsFrom": [_PROMETHEUS_POD], "actionsFrom": [_PROMETHEUS_POD],
                "egress": {
                    "enabled": True,
                    "rules": [
                        {
                            "to": [{"podSelector": {"matchLabels": {"app": "redis"}}}],
                            "ports": [{"port": 6379, "protocol": "TCP"}],
                        }
                    ],
                },
            },
        },
    ),
    "budget": {"podDisruptionBudget": {"enabled": True}},
    "budget of one": {"podDisruptionBudget": {"enabled": True, "minAvailable": 1}},
    "budget in percent": {"podDisruptionBudget": {"enabled": True, "maxUnavailable": "50%"}},
    "two replicas": {"replicaCount": 2, "allowMultipleReplicas": True},
    "none": {"replicaCount": 0},
    "account of others": {"serviceAccount": {"create": False, "name": "celery"}},
    "account of the namespace": {"serviceAccount": {"create": False}},
    "pinned": {
        "image": {
            "repository": "registry.example.org/z4j-exporter", "tag": "1.2.3",
            "digest": "sha256:" + "0" * 64, "pullPolicy": "Always",
        },
        "imagePullSecrets": [{"name": "registry"}],
    },
    "placed": {
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [
            {"key": "dedicated", "operator": "Equal", "value": "x", "effect": "NoSchedule"}
        ],
        "affinity": {
            "podAntiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "weight": 100,
                        "podAffinityTerm": {
                            "topologyKey": "kubernetes.io/hostname",
                            "labelSelector": {"matchLabels": {"app": "celery"}},
                        },
                    }
                ]
            }
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": {"a": "b"}},
            }
        ],
    },
    "marked": {
        "commonLabels": {"team": "payments", "app.kubernetes.io/version": "mine"},
        "commonAnnotations": {"owner": "payments"},
        "podLabels": {"sidecar.istio.io/inject": "false"}, "podAnnotations": {"a/b": "true"},
        "deploymentAnnotations": {"reloader.stakater.com/auto": "true"},
    },
    "named": {"nameOverride": "celery-exporter", "fullnameOverride": "celery-metrics"},
    "more of everything": {
        "extraArgs": ["--log-level=debug", "--queue", "high"],
        "env": [{"name": "TZ", "value": "UTC"}],
        "extraVolumes": [{"name": "app", "configMap": {"name": "app"}}],
        "extraVolumeMounts": [{"name": "app", "mountPath": "/app"}],
    },
    "probes of one's own": {
        "livenessProbe": {"tcpSocket": {"port": "http-metrics"}}, "readinessProbe": None,
        "startupProbe": {"failureThreshold": 60},
    },
    "OpenShift": {
        "podSecurityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None},
    },
    "no limits": {
        "resources": {"limits": None, "requests": None}, "auxiliaryResources": {"limits": None},
    },
    "no test": {"tests": {"enabled": False}},
}  # fmt: skip


def _everything() -> Document:
    left_out = {
        "broker from the environment", "broker from a value", "broker from an application",
        "every secret from a value", "no Service", "actions to try", "none", "two replicas",
        "actions without following", "actions with a web configuration", "pages with users",
        "actions with rules of others", "PodMonitor", "budget of one", "existing claim",
        "account of others", "account of the namespace", "OpenShift", "no test", "no limits",
        "pages with users in the clear", "pages with TLS", "actions in a mesh, by rules",
    }  # fmt: skip
    return merged(*(values for name, values in MATRIX.items() if name not in left_out))


MATRIX["everything"] = _everything()
