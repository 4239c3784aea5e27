{{/* Names and labels that all objects share. */}}

{{/* A label's value has 63 characters; five are for "-test". */}}
{{- define "z4j-exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 58 | trimSuffix "-" }}
{{- end }}

{{/* 40 characters leave room for what other templates append, such as "-dashboard-overview". */}}
{{- define "z4j-exporter.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "z4j-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "z4j-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "z4j-exporter.labels" -}}
{{- $own := include "z4j-exporter.selectorLabels" . | fromYaml }}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") }}
{{- $_ = set $own "app.kubernetes.io/version" .Chart.AppVersion }}
{{- $_ = set $own "app.kubernetes.io/part-of" "celery" }}
{{- $_ = set $own "app.kubernetes.io/managed-by" .Release.Service }}
{{- mergeOverwrite (deepCopy .Values.commonLabels) $own | toYaml }}
{{- end }}

{{/* metadata of an object: (list root name labels annotations namespace), all but root and name may be empty. */}}
{{- define "z4j-exporter.metadata" -}}
{{- $root := index . 0 -}}
name: {{ index . 1 }}
namespace: {{ default $root.Release.Namespace (index . 4) | quote }}
labels:
  {{- mergeOverwrite (include "z4j-exporter.labels" $root | fromYaml) (index . 2) | toYaml | nindent 2 }}
{{- with mergeOverwrite (deepCopy $root.Values.commonAnnotations) (index . 3) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "z4j-exporter.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "z4j-exporter.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* A digest alone says which image it is; the tag beside it is for people. */}}
{{- define "z4j-exporter.image" -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- define "z4j-exporter.scheme" -}}
{{- if .Values.web.scheme }}{{ .Values.web.scheme }}
{{- else }}{{ ternary "HTTPS" "HTTP" (not (empty (or .Values.web.tlsSecret .Values.web.configSecret))) }}
{{- end }}
{{- end }}
