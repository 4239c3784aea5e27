{{/* Refuses what cannot work or is not safe; says all of it at once, and what to do. */}}

{{- define "z4j-exporter.check" -}}
{{- $v := .Values -}}
{{- $wrong := list -}}
{{- $rules := .Files.Get "files/settings.json" | fromJson -}}

{{- /* The broker. */ -}}
{{- $broker := or $v.broker.url $v.broker.existingSecret $v.broker.fromEnvironment (get $v.config "app") (get $v.config "recording") -}}
{{- if not $broker }}
{{- $wrong = append $wrong "no broker: set broker.existingSecret (or broker.url, or config.app; or broker.fromEnvironment, where env or envFrom brings it)" -}}
{{- end }}
{{- range include "z4j-exporter.secrets" . | fromJsonArray }}
{{- if and (get .source .field) .source.existingSecret }}
{{- $wrong = append $wrong (printf "%s.%s and %s.existingSecret are both set: take one of them out" .from .field .from) -}}
{{- end }}
{{- end }}

{{- /* Replicas. */ -}}
{{- if gt (int $v.replicaCount) 1 }}
{{- if $v.actions.enabled }}
{{- $wrong = append $wrong "replicaCount is more than 1 with actions: one instance keeps the journal and the audit log; set replicaCount to 1" -}}
{{- end }}
{{- if $v.persistence.enabled }}
{{- $wrong = append $wrong "replicaCount is more than 1 with persistence: a journal has one writer; set replicaCount to 1" -}}
{{- end }}
{{- if not $v.allowMultipleReplicas }}
{{- $wrong = append $wrong "replicaCount is more than 1: each replica counts every event, so sums over them are too high; set it to 1, or set allowMultipleReplicas and let every query choose one replica" -}}
{{- end }}
{{- end }}

{{- /* Journal and actions. */ -}}
{{- if and $v.journal.enabled (not $v.persistence.enabled) }}
{{- $wrong = append $wrong "journal.enabled without persistence.enabled: the journal would be lost with the pod" -}}
{{- end }}
{{- if $v.actions.enabled }}
{{- if not $v.actions.tokens.existingSecret }}
{{- $wrong = append $wrong "actions.enabled without actions.tokens.existingSecret: make the token file with `z4j-exporter token new` (client certificates stand in it too) and put it into a Secret" -}}
{{- end }}
{{- if not (or $v.persistence.enabled $v.actions.ephemeral) }}
{{- $wrong = append $wrong "actions.enabled without persistence.enabled: journal and audit log would be lost with the pod; set actions.ephemeral to try it out all the same" -}}
{{- end }}
{{- if and $v.actions.service.enabled (not (or $v.actions.tlsSecret $v.actions.configSecret $v.actions.insecure)) }}
{{- $wrong = append $wrong "actions.service.enabled without TLS: tokens would cross the network in the clear; set actions.tlsSecret or actions.configSecret (or actions.insecure, where a mesh encrypts)" -}}
{{- end }}
{{- if and $v.actions.clientCertificates (not $v.actions.tlsSecret) }}
{{- $wrong = append $wrong "actions.clientCertificates without actions.tlsSecret: its ca.crt says whose certificates are taken" -}}
{{- end }}
{{- if and $v.actions.rules $v.actions.existingRulesConfigMap }}
{{- $wrong = append $wrong "actions.rules and actions.existingRulesConfigMap are both set: take one of them out" -}}
{{- end }}
{{- if get $v.config "recording" }}
{{- $wrong = append $wrong "actions.enabled with config.recording: there is no broker to act on" -}}
{{- end }}
{{- if and $v.networkPolicy.enabled $v.actions.service.enabled (not $v.networkPolicy.actionsFrom) }}
{{- $wrong = append $wrong "networkPolicy.actionsFrom is empty: nobody could reach actions.service; name who may" -}}
{{- end }}
{{- else if $v.actions.service.enabled }}
{{- $wrong = append $wrong "actions.service.enabled without actions.enabled: nothing would listen there" -}}
{{- end }}
{{- if and $v.actions.tlsSecret $v.actions.configSecret }}
{{- $wrong = append $wrong "actions.tlsSecret and actions.configSecret are both set: take one of them out" -}}
{{- end }}

{{- /* Serving and scraping. */ -}}
{{- if and $v.web.tlsSecret $v.web.configSecret }}
{{- $wrong = append $wrong "web.tlsSecret and web.configSecret are both set: take one of them out" -}}
{{- end }}
{{- if and $v.serviceMonitor.enabled $v.podMonitor.enabled }}
{{- $wrong = append $wrong "serviceMonitor.enabled and podMonitor.enabled: Prometheus would scrape the pod twice, and count twice; choose one" -}}
{{- end }}
{{- if and $v.serviceMonitor.enabled (not $v.service.enabled) }}
{{- $wrong = append $wrong "serviceMonitor.enabled without service.enabled: there is nothing to scrape; use podMonitor.enabled" -}}
{{- end }}
{{- $https := eq (include "z4j-exporter.scheme" .) "HTTPS" }}
{{- range $name := list "serviceMonitor" "podMonitor" }}
{{- $monitor := get $v $name }}
{{- if and $monitor.enabled $https (not $monitor.tlsConfig) }}
{{- $wrong = append $wrong (printf "%s.enabled and the pages have TLS: Prometheus asks the pod by its address, which no certificate names; set %s.tlsConfig, with ca and serverName (or insecureSkipVerify)" $name $name) -}}
{{- end }}
{{- if and $monitor.enabled $v.web.authenticated (not (or $monitor.basicAuth (get $monitor.tlsConfig "cert"))) }}
{{- $wrong = append $wrong (printf "%s.enabled with web.authenticated: Prometheus would be turned away; set %s.basicAuth, or a client certificate in %s.tlsConfig" $name $name $name) -}}
{{- end }}
{{- end }}
{{- if and $v.networkPolicy.enabled $v.networkPolicy.egress.enabled (not $v.networkPolicy.egress.rules) }}
{{- $wrong = append $wrong "networkPolicy.egress.rules is empty: the exporter could not reach its broker; name broker and OTLP endpoint" -}}
{{- end }}
{{- if and $v.podDisruptionBudget.enabled (not (kindIs "invalid" $v.podDisruptionBudget.minAvailable)) (not (kindIs "invalid" $v.podDisruptionBudget.maxUnavailable)) }}
{{- $wrong = append $wrong "podDisruptionBudget has minAvailable and maxUnavailable: take one of them out" -}}
{{- end }}

{{- /* Secrets, and settings that belong elsewhere. */ -}}
{{- range $argument := $v.extraArgs }}
{{- if or (eq $argument "--config") (hasPrefix "--config=" $argument) }}
{{- $wrong = append $wrong "extraArgs has --config: set config" -}}
{{- end }}
{{- range $setting, $rule := $rules }}
{{- $option := printf "--%s" $rule.option }}
{{- if or (eq $argument $option) (hasPrefix (printf "%s=" $option) $argument) (and (eq $setting "broker_url") (hasPrefix "-b" $argument)) }}
{{- $wrong = append $wrong (printf "extraArgs has %s: set %s" $option $rule.value) -}}
{{- end }}
{{- end }}
{{- end }}
{{- range $v.env }}
{{- $literal := hasKey . "value" }}
{{- $setting := trimPrefix "Z4J_EXPORTER_" .name | lower }}
{{- $rule := ternary (get $rules $setting) "" (hasPrefix "Z4J_EXPORTER_" .name) }}
{{- if or (and $rule $rule.secret $literal) (and $literal (has .name (list "Z4J_EXPORTER_ACTIONS_AUDIT_KEY" "OTEL_EXPORTER_OTLP_HEADERS" "OTEL_EXPORTER_OTLP_TRACES_HEADERS" "OTEL_EXPORTER_OTLP_METRICS_HEADERS"))) }}
{{- $wrong = append $wrong (printf "env has the secret %s as a value, which everybody who may see the pod could read: take it from a Secret with valueFrom" .name) -}}
{{- else if and $rule (not $rule.secret) }}
{{- $wrong = append $wrong (printf "env has %s: set %s" .name $rule.value) -}}
{{- else if and $literal (contains "password" (lower (toString .value))) }}
{{- $wrong = append $wrong (printf "env has a password in the value of %s: take it from a Secret with valueFrom" .name) -}}
{{- end }}
{{- end }}
{{- range $setting, $options := pick $v.config "broker_transport_options" "result_backend_transport_options" }}
{{- if regexMatch "\"[^\"]*password[^\"]*\":" (toJson $options | lower) }}
{{- $wrong = append $wrong (printf "config.%s has a password, and a ConfigMap is not secret: set Z4J_EXPORTER_%s in env, from a Secret with valueFrom" $setting (upper $setting)) -}}
{{- end }}
{{- end }}
{{- $mounted := list }}
{{- range $v.certificates }}{{ $mounted = append $mounted .name }}{{ end }}
{{- range regexFindAll "/etc/z4j-exporter/certificates/[^/\"\\\\]+" (toJson $v.config) -1 | uniq }}
{{- if not (has (base .) $mounted) }}
{{- $wrong = append $wrong (printf "config names a file in %s, and certificates has no %s" . (base .)) -}}
{{- end }}
{{- end }}
{{- if ne (len $mounted) (len (uniq $mounted)) }}
{{- $wrong = append $wrong "certificates has a name twice" -}}
{{- end }}

{{- /* Memory and disk. */ -}}
{{- $limit := include "z4j-exporter.bytes" (dig "limits" "memory" "" $v.resources) | int64 }}
{{- $buffer := default 402653184 (get $v.config "buffer_bytes") | int64 }}
{{- $tasks := default 100000 (get $v.config "max_tasks") | int64 }}
{{- /* 64 MiB for the process itself, 700 bytes a task: docs/performance.md. */ -}}
{{- $needed := add $buffer 67108864 (mul $tasks 700) }}
{{- if and $limit (gt $needed $limit) }}
{{- $wrong = append $wrong (printf "resources.limits.memory is %d MiB, and in a burst %d MiB may be needed: %d MiB of events (config.buffer_bytes), %d tasks (config.max_tasks) and the process; raise the limit or lower those" (div $limit 1048576) (div $needed 1048576) (div $buffer 1048576) $tasks) -}}
{{- end }}
{{- if and $v.journal.enabled (not $v.persistence.existingClaim) }}
{{- $journal := default 1073741824 (get $v.config "journal_max_bytes") | int64 }}
{{- $size := include "z4j-exporter.bytes" $v.persistence.size | int64 }}
{{- if gt $journal $size }}
{{- $wrong = append $wrong (printf "persistence.size is %d MiB, and the journal may take %d MiB: raise it, or lower config.journal_max_bytes" (div $size 1048576) (div $journal 1048576)) -}}
{{- end }}
{{- end }}

{{- /* Alerts. */ -}}
{{- $known := list }}
{{- range (.Files.Get "files/alerts/alerts.yaml" | fromYaml).groups }}
{{- range .rules }}{{ with get . "alert" }}{{ $known = append $known . }}{{ end }}{{ end }}
{{- end }}
{{- range concat $v.prometheusRule.disabled (keys $v.prometheusRule.overrides) }}
{{- if not (has . $known) }}
{{- $wrong = append $wrong (printf "prometheusRule names %s, and there is no such alert; there are: %s" . (join ", " $known)) -}}
{{- end }}
{{- end }}

{{- if $wrong }}
{{- fail (printf "\n\nThese values cannot be used:\n  - %s\n" (join "\n  - " (uniq $wrong))) }}
{{- end }}
{{- end }}

{{/* Bytes of a Kubernetes quantity; 0 for none. */}}
{{- define "z4j-exporter.bytes" -}}
{{- /* A bare number is a float for Helm, and would be written as 1e+09. */ -}}
{{- $text := toString . }}
{{- if kindIs "float64" . }}{{ $text = int64 . | toString }}{{ end }}
{{- $number := regexFind "^[0-9.]+" $text }}
{{- $unit := trimPrefix $number $text }}
{{- $factors := dict "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "" 1 }}
{{- if not (hasKey $factors $unit) }}{{ fail (printf "%s is no size: write 512Mi or 1Gi" $text) }}{{ end }}
{{- mulf (default "0" $number | float64) (get $factors $unit) | int64 }}
{{- end }}
