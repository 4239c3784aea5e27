{{/* What ServiceMonitor and PodMonitor have in common: (list root values). */}}
{{- define "z4j-exporter.endpoint" -}}
{{- $root := index . 0 -}}
{{- with index . 1 -}}
port: http-metrics
path: /metrics
scheme: {{ include "z4j-exporter.scheme" $root | lower }}
{{- with .interval }}
interval: {{ . }}
{{- end }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
honorLabels: {{ .honorLabels }}
{{- with .tlsConfig }}
tlsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .basicAuth }}
basicAuth:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}
