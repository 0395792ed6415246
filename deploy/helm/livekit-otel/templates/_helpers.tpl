{{- define "livekit-otel.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- define "livekit-otel.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "livekit-otel.labels" -}}
{{ include "livekit-otel.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* The configuration file: the chart's own settings override .Values.config. */}}
{{- define "livekit-otel.config" -}}
{{- $listen := dict "http" "0.0.0.0:9290" "grpc" "0.0.0.0:9291" "admin" "0.0.0.0:9293" -}}
{{- $own := dict "listen" $listen "journal" (dict "dir" "/var/lib/livekit-otel/journal") -}}
{{- toYaml (mergeOverwrite (deepCopy .Values.config) $own) -}}
{{- end -}}

{{/* A probe's HTTP request; the argument is its path. */}}
{{- define "livekit-otel.get" -}}
httpGet:
  path: {{ . }}
  port: admin
{{- end -}}
