{{/* What the exporter is told: by its configuration file, and by files that hold secrets. */}}

{{/* Secret settings: the setting's name, the value that may hold it, the Secret that may. JSON, a list. */}}
{{- define "z4j-exporter.secrets" -}}
{{- $v := .Values -}}
{{- list
  (dict "setting" "broker_url" "from" "broker" "field" "url" "source" $v.broker)
  (dict "setting" "result_backend_url" "from" "resultBackend" "field" "url" "source" $v.resultBackend)
  (dict "setting" "rabbitmq_management_url" "from" "rabbitmqManagement" "field" "url" "source" $v.rabbitmqManagement)
  (dict "setting" "capture_store_url" "from" "captureStore" "field" "url" "source" $v.captureStore)
  (dict "setting" "capture_store_key" "from" "captureStore.encryption" "field" "key" "source" $v.captureStore.encryption)
  (dict "setting" "otlp_endpoint" "from" "otlp" "field" "endpoint" "source" $v.otlp)
  (dict "setting" "otlp_headers" "from" "otlp.headers" "field" "value" "source" $v.otlp.headers)
  | toJson -}}
{{- end }}

{{/* Secret settings given as values: setting: value. JSON. */}}
{{- define "z4j-exporter.inlineSecrets" -}}
{{- $inline := dict -}}
{{- range include "z4j-exporter.secrets" . | fromJsonArray }}
{{- $value := get .source .field }}
{{- if $value }}{{ $_ := set $inline .setting $value }}{{ end }}
{{- end }}
{{- toJson $inline }}
{{- end }}

{{/* Whether there is a directory that the exporter writes to. */}}
{{- define "z4j-exporter.data" -}}
{{- if or .Values.persistence.enabled (and .Values.actions.enabled .Values.actions.ephemeral) }}true{{ end }}
{{- end }}

{{/* The settings that values other than `config` stand for. YAML. */}}
{{- define "z4j-exporter.ownSettings" -}}
listen_address: ":9808"
{{- if .Values.web.configSecret }}
web_config_file: /etc/z4j-exporter/web/{{ .Values.web.configSecretKey }}
{{- else if .Values.web.tlsSecret }}
web_config_file: /etc/z4j-exporter/config/web-config.yml
{{- end }}
{{- if .Values.journal.enabled }}
journal_path: /var/lib/z4j-exporter/data/journal.db
{{- end }}
{{- with .Values.actions }}
{{- if .enabled }}
actions: true
actions_listen_address: {{ ternary ":9809" "127.0.0.1:9809" .service.enabled | quote }}
{{- if .insecure }}
actions_insecure_listen: true
{{- end }}
actions_token_file: /run/z4j-exporter/tokens.yaml
actions_journal_path: /var/lib/z4j-exporter/data/actions.db
actions_audit_path: /var/lib/z4j-exporter/data/audit.jsonl
{{- if .auditKey.existingSecret }}
actions_audit_key_file: /run/z4j-exporter/audit.key
{{- end }}
{{- if .existingRulesConfigMap }}
actions_rules_file: /etc/z4j-exporter/rules/{{ .existingRulesConfigMapKey }}
{{- else if .rules }}
actions_rules_file: /etc/z4j-exporter/config/rules.yaml
{{- end }}
{{- if .configSecret }}
actions_web_config_file: /etc/z4j-exporter/actions-web/{{ .configSecretKey }}
{{- else if .tlsSecret }}
actions_web_config_file: /etc/z4j-exporter/config/actions-web-config.yml
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Files of the release's ConfigMap: name: content. YAML. */}}
{{- define "z4j-exporter.configFiles" -}}
config.yaml: |
  {{- mergeOverwrite (deepCopy .Values.config) (include "z4j-exporter.ownSettings" . | fromYaml) | toYaml | nindent 2 }}
{{- if and .Values.web.tlsSecret (not .Values.web.configSecret) }}
web-config.yml: |
  tls_server_config:
    cert_file: /etc/z4j-exporter/web/tls.crt
    key_file: /etc/z4j-exporter/web/tls.key
{{- end }}
{{- with .Values.actions }}
{{- if and .enabled .tlsSecret (not .configSecret) }}
actions-web-config.yml: |
  tls_server_config:
    cert_file: /etc/z4j-exporter/actions-web/tls.crt
    key_file: /etc/z4j-exporter/actions-web/tls.key
    {{- if .clientCertificates }}
    client_ca_file: /etc/z4j-exporter/actions-web/ca.crt
    client_auth_type: VerifyClientCertIfGiven
    {{- end }}
{{- end }}
{{- if and .enabled .rules (not .existingRulesConfigMap) }}
rules.yaml: |
  {{- toYaml .rules | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}
