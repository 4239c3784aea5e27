"""The words of docs/configuration.md that no code says."""

#: @words@ are replaced by what the code says.
CONFIGURATION = """\
<!-- Written by `python -m tools.reference` from the code: do not edit it. -->

# Configuration

Every setting of `z4j-exporter run` has three names: an option, an environment variable, and a key
of the configuration file. None has to be given but a broker: `--broker-url`, `--app` or
`--recording`.

## Which one wins

1. the option on the command line,
2. the environment variable,
3. the file of `--config` (`Z4J_EXPORTER_CONFIG`),
4. the Celery application of `--app`: broker, transport options, TLS, events, result backend,
5. the default.

Settings of the kind `KEY=VALUE` are merged key by key, all others replaced as a whole. An empty
variable counts as one that is not set. A variable that begins with `Z4J_EXPORTER_` and is no
setting is ignored, and `run` warns of it when it starts. What is wrong ends the program with a
sentence that names the setting, never its value.

| | option | variable | file (YAML) |
| --- | --- | --- | --- |
| on or off | `--otlp-metrics`, `--no-otlp-metrics` | `true`, `false` | `true`, `false` |
| texts | given several times | separated by `;` | a list |
| `KEY=VALUE`s | given several times | separated by `;` | a mapping |

A value in `KEY=VALUE` is read as JSON where it is JSON: `priority_steps=[0,5]`,
`socket_timeout=5`.

## Secrets

Settings that may hold a password or a key have a second variable that ends in `_FILE`: the name
of a file that holds the value, as Docker and Kubernetes mount secrets. Do not give a secret on
the command line: every user of the machine sees it there. None is ever printed, logged or
exposed.

## A configuration file

```yaml
@example@```

## z4j-exporter run

Read events from a broker and serve metrics. `--config FILE` names the configuration file.

@settings@

### Variables of other programs

OpenTelemetry's own variables (`OTEL_EXPORTER_OTLP_ENDPOINT`, …) hold where the `--otlp-` setting
is not given: [tracing.md](tracing.md#send). The capture hook in the application has settings of
its own, `Z4J_CAPTURE_…`: [capture.md](capture.md#settings). The key of the audit log may come
from `Z4J_EXPORTER_ACTIONS_AUDIT_KEY`, and the token of the command `action` from
`Z4J_EXPORTER_ACTIONS_TOKEN`: [action-command.md](action-command.md#whom-it-asks-and-as-who).

## Other commands

@commands@

## Exit codes

@exits@
"""

#: A file that the program takes: the tests start it with this one.
EXAMPLE = """\
# z4j-exporter run --config exporter.yml
broker_url: redis://redis.example.org:6379/0   # with a password: Z4J_EXPORTER_BROKER_URL_FILE
broker_transport_options:
  global_keyprefix: "shop:"
listen_address: ":9808"

worker_timeout: 120              # a solo pool is silent while a task runs
queues: [reports]                # shown at 0 even when nobody uses it
task_label_deny: ["debug[.].*"]
worker_label_rewrite: ['(.*)@web-.*=\\1@web']
buckets:
  celery_task_runtime_seconds: [0.1, 1, 10, 60, 300]

otlp_endpoint: http://collector.example.org:4318
trace_ratio: 0.1
trace_keep: [failed, lost, "slow:30s"]

log_format: json
"""
