{{/* Parts of the pod. */}}

{{/* A probe: (list root values path). One that has a handler of its own is left as it is. */}}
{{- define "z4j-exporter.probe" -}}
{{- $root := index . 0 -}}
{{- $probe := index . 1 -}}
{{- if or $probe.httpGet $probe.exec $probe.tcpSocket $probe.grpc }}
{{- toYaml $probe }}
{{- else if $root.Values.web.authenticated }}
{{- mergeOverwrite (dict "tcpSocket" (dict "port" "http-metrics")) $probe | toYaml }}
{{- else }}
{{- $get := dict "path" (index . 2) "port" "http-metrics" "scheme" (include "z4j-exporter.scheme" $root) }}
{{- mergeOverwrite (dict "httpGet" $get) $probe | toYaml }}
{{- end }}
{{- end }}

{{/* What the container of `prepare` does, and the one that follows. YAML, a list of arguments. */}}
{{- define "z4j-exporter.copies" -}}
{{- with .Values.actions }}
- --copy
- /etc/z4j-exporter/actions-tokens/tokens.yaml
- /run/z4j-exporter/tokens.yaml
{{- if .auditKey.existingSecret }}
- --copy
- /etc/z4j-exporter/actions-audit-key/audit.key
- /run/z4j-exporter/audit.key
{{- end }}
{{- end }}
{{- end }}

{{/* Mounts of what is copied. */}}
{{- define "z4j-exporter.copyMounts" -}}
- {name: private, mountPath: /run/z4j-exporter}
- {name: actions-tokens, mountPath: /etc/z4j-exporter/actions-tokens, readOnly: true}
{{- if .Values.actions.auditKey.existingSecret }}
- {name: actions-audit-key, mountPath: /etc/z4j-exporter/actions-audit-key, readOnly: true}
{{- end }}
{{- end }}

{{/* A container that runs files/prepare.py: (list root name arguments). */}}
{{- define "z4j-exporter.prepareContainer" -}}
{{- $root := index . 0 -}}
name: {{ index . 1 }}
image: {{ include "z4j-exporter.image" $root | quote }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
command:
  - python
  - -c
  - |
    {{- $root.Files.Get "files/prepare.py" | nindent 4 }}
args:
  {{- index . 2 | nindent 2 }}
{{- with $root.Values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.auxiliaryResources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
terminationMessagePolicy: FallbackToLogsOnError
{{- end }}

{{- define "z4j-exporter.volumeMounts" -}}
- {name: config, mountPath: /etc/z4j-exporter/config, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- if include "z4j-exporter.usesSecrets" . }}
- {name: secrets, mountPath: /etc/z4j-exporter/secrets, readOnly: true}
{{- end }}
{{- if or .Values.web.tlsSecret .Values.web.configSecret }}
- {name: web, mountPath: /etc/z4j-exporter/web, readOnly: true}
{{- end }}
{{- if include "z4j-exporter.data" . }}
- {name: data, mountPath: /var/lib/z4j-exporter}
{{- end }}
{{- if .Values.actions.enabled }}
- {name: private, mountPath: /run/z4j-exporter, readOnly: true}
{{- if or .Values.actions.tlsSecret .Values.actions.configSecret }}
- {name: actions-web, mountPath: /etc/z4j-exporter/actions-web, readOnly: true}
{{- end }}
{{- if .Values.actions.existingRulesConfigMap }}
- {name: rules, mountPath: /etc/z4j-exporter/rules, readOnly: true}
{{- end }}
{{- end }}
{{- range $index, $_ := .Values.certificates }}
- {name: certificates-{{ $index }}, mountPath: /etc/z4j-exporter/certificates/{{ .name }}, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Whether a setting comes from a file in the volume of secrets. */}}
{{- define "z4j-exporter.usesSecrets" -}}
{{- range include "z4j-exporter.secrets" . | fromJsonArray }}
{{- if or (get .source .field) .source.existingSecret }}true{{ end }}
{{- end }}
{{- end }}

{{- define "z4j-exporter.volumes" -}}
- name: config
  configMap: {name: {{ include "z4j-exporter.fullname" . }}-config}
- name: tmp
  emptyDir: {sizeLimit: 64Mi}
{{- if include "z4j-exporter.usesSecrets" . }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- with include "z4j-exporter.inlineSecrets" . | fromJson }}
      - secret:
          name: {{ include "z4j-exporter.fullname" $ }}
          items:
            {{- range $setting, $_ := . }}
            - {key: {{ $setting }}, path: {{ $setting }}}
            {{- end }}
      {{- end }}
      {{- range include "z4j-exporter.secrets" . | fromJsonArray }}
      {{- if .source.existingSecret }}
      - secret:
          name: {{ .source.existingSecret }}
          items:
            - {key: {{ .source.existingSecretKey | quote }}, path: {{ .setting }}}
      {{- end }}
      {{- end }}
{{- end }}
{{- with or .Values.web.configSecret .Values.web.tlsSecret }}
- name: web
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- if .Values.persistence.enabled }}
- name: data
  persistentVolumeClaim:
    claimName: {{ default (printf "%s-data" (include "z4j-exporter.fullname" .)) .Values.persistence.existingClaim }}
{{- else if include "z4j-exporter.data" . }}
- name: data
  emptyDir: {sizeLimit: 1Gi}
{{- end }}
{{- with .Values.actions }}
{{- if .enabled }}
- name: private
  emptyDir: {medium: Memory, sizeLimit: 4Mi}
- name: actions-tokens
  secret:
    secretName: {{ .tokens.existingSecret }}
    defaultMode: 0440
    items:
      - {key: {{ .tokens.existingSecretKey | quote }}, path: tokens.yaml}
{{- with .auditKey }}
{{- if .existingSecret }}
- name: actions-audit-key
  secret:
    secretName: {{ .existingSecret }}
    defaultMode: 0440
    items:
      - {key: {{ .existingSecretKey | quote }}, path: audit.key}
{{- end }}
{{- end }}
{{- with or .configSecret .tlsSecret }}
- name: actions-web
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- with .existingRulesConfigMap }}
- name: rules
  configMap: {name: {{ . }}}
{{- end }}
{{- end }}
{{- end }}
{{- range $index, $_ := .Values.certificates }}
- name: certificates-{{ $index }}
  {{- if .secret }}
  secret: {secretName: {{ .secret }}, defaultMode: 0440}
  {{- else }}
  configMap: {name: {{ .configMap }}}
  {{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Arguments of the container that prepares. YAML, a list. */}}
{{- define "z4j-exporter.prepareArguments" -}}
- --directory
- /var/lib/z4j-exporter/data
# A volume's driver may have given the group rights on the key that the exporter made.
- --private
- /var/lib/z4j-exporter/data/audit.jsonl.key
{{- if .Values.actions.enabled }}
{{ include "z4j-exporter.copies" . | trim }}
{{- end }}
{{- end }}
