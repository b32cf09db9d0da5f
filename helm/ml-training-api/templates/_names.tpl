{{/* What things are called. */}}

{{- define "mlapi.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What a pod is found by, for good: a Deployment's selector cannot change. Takes root and name. */}}
{{- define "mlapi.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end -}}

{{/* Takes root and name, the component. */}}
{{- define "mlapi.labels" -}}
{{ include "mlapi.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{/* Takes root and name. The metadata of an object of a component. */}}
{{- define "mlapi.metadata" -}}
name: {{ include "mlapi.fullname" .root }}-{{ .name }}
namespace: {{ .root.Release.Namespace }}
labels: {{- include "mlapi.labels" . | nindent 2 }}
{{- end -}}

{{- define "mlapi.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "mlapi.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* Takes root and name. Host and port of a service, for those inside. */}}
{{- define "mlapi.address" -}}
{{ include "mlapi.fullname" .root }}-{{ .name }}:{{ get (fromYaml (include "mlapi.grpcPorts" .root)) .name }}
{{- end -}}

{{- define "mlapi.grpcPorts" -}}
training: 50051
ai-gateway: 50052
health: 50053
{{- end -}}

{{- define "mlapi.metricsPorts" -}}
training: 9101
ai-gateway: 9102
health: 9103
{{- end -}}
