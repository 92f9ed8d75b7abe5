{{- define "spar.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "spar.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "spar.labels" -}}
{{ include "spar.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "spar.image" -}}
{{- if .Values.image.digest -}}
{{- .Values.image.repository }}@{{ .Values.image.digest -}}
{{- else -}}
{{- .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion -}}
{{- end -}}
{{- end -}}

{{/* The Secret with keys.toml; empty without keys. */}}
{{- define "spar.keysSecret" -}}
{{- $keys := .Values.keys -}}
{{- if not $keys.disabled -}}
{{- if not (or $keys.existingSecret $keys.toml) -}}
{{- fail "keys: set keys.existingSecret or keys.toml, or keys.disabled to serve anyone who can reach the gateways" -}}
{{- end -}}
{{- $keys.existingSecret | default (printf "%s-keys" (include "spar.name" .)) -}}
{{- end -}}
{{- end -}}
