{{/* Takes root, name and values: one container, of a service or of the edge. */}}
{{- define "mlapi.container" -}}
{{- $image := .root.Values.image -}}
- name: {{ .name }}
  image: {{ default (printf "%s-%s:%s" $image.repository .name (default .root.Chart.AppVersion $image.tag)) .values.image | quote }}
  imagePullPolicy: {{ $image.pullPolicy }}
  ports: {{- include "mlapi.containerPorts" . | nindent 2 }}
  env: {{- include "mlapi.env" . | nindent 2 }}
  {{- if and (eq .name "training") .root.Values.artifacts.existingSecret }}
  envFrom: [{secretRef: {name: {{ .root.Values.artifacts.existingSecret }}}}]
  {{- end }}
  resources: {{- include "mlapi.resources" . | nindent 4 }}
  securityContext: {{- include "mlapi.containerSecurity" . | nindent 4 }}
  {{- include (ternary "mlapi.probes.edge" "mlapi.probes.service" (eq .name "edge")) . | nindent 2 }}
  lifecycle: {{- include (ternary "mlapi.lifecycle.edge" "mlapi.lifecycle.service" (eq .name "edge")) . | nindent 4 }}
  volumeMounts:
  - {name: data, mountPath: /data}
  - {name: tmp, mountPath: /tmp}
  - {name: keys, mountPath: /etc/mlapi/keys, readOnly: true}
  {{- if .root.Values.tls.existingSecret }}
  - {name: tls, mountPath: /etc/mlapi/tls, readOnly: true}
  {{- end }}
  {{- if and (eq .name "edge") .root.Values.edge.tls.existingSecret }}
  - {name: edge-tls, mountPath: /etc/mlapi/edge-tls, readOnly: true}
  {{- end }}
  {{- if and (eq .name "ai-gateway") .root.Values.ai.existingSecret }}
  - {name: vendors, mountPath: /etc/mlapi/vendors, readOnly: true}
  {{- end }}
{{- end -}}

{{- define "mlapi.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "mlapi.containerPorts" -}}
{{- if eq .name "edge" -}}
- {name: http, containerPort: 5000}
{{- else -}}
- {name: {{ include "mlapi.portName" .name }}, containerPort: {{ get (fromYaml (include "mlapi.grpcPorts" .root)) .name }}}
- {name: {{ include "mlapi.metricsName" .name }}, containerPort: {{ get (fromYaml (include "mlapi.metricsPorts" .root)) .name }}}
{{- end -}}
{{- end -}}

{{/* Names of ports are of 15 characters at most, and two services may share a pod. */}}
{{- define "mlapi.portName" -}}
grpc-{{ . | trunc 10 }}
{{- end -}}

{{- define "mlapi.metricsName" -}}
{{ . | trunc 10 }}-prom
{{- end -}}

{{- define "mlapi.resources" -}}
{{- $resources := deepCopy .values.resources -}}
{{- if and (eq .name "training") .values.gpu.count -}}
{{- $_ := set $resources "limits" (merge (dict .values.gpu.resource .values.gpu.count) (default dict $resources.limits)) -}}
{{- end -}}
{{ toYaml $resources }}
{{- end -}}

{{/* Kubelet's gRPC probe shows no certificate, so that with mutual TLS the container asks itself. */}}
{{- define "mlapi.ask" -}}
{{- if .root.Values.tls.existingSecret -}}
exec: {command: [python, -m, services.chassis.probe]}
{{- else -}}
grpc: {port: {{ get (fromYaml (include "mlapi.grpcPorts" .root)) .name }}}
{{- end -}}
{{- end -}}

{{/* The first start migrates a database, which may take long; afterwards silence is a defect. */}}
{{- define "mlapi.probes.service" -}}
startupProbe:
  {{- include "mlapi.ask" . | nindent 2 }}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 150
readinessProbe:
  {{- include "mlapi.ask" . | nindent 2 }}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
livenessProbe:
  {{- include "mlapi.ask" . | nindent 2 }}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end -}}

{{/* Ready is an edge that reaches the services' side. A restart of it mends nothing there, so that liveness is its own. */}}
{{- define "mlapi.probes.edge" -}}
startupProbe:
  tcpSocket: {port: http}
  periodSeconds: 1
  failureThreshold: 60
readinessProbe:
  httpGet: {path: {{ .values.readinessPath }}, port: http{{ if .values.tls.existingSecret }}, scheme: HTTPS{{ end }}}
  periodSeconds: 3
  timeoutSeconds: 3
  failureThreshold: 2
livenessProbe:
  tcpSocket: {port: http}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end -}}

{{/* Until every edge has looked the names up again, calls still come: the end begins after that. */}}
{{- define "mlapi.lifecycle.service" -}}
preStop: {sleep: {seconds: {{ .root.Values.noticeSeconds }}}}
{{- end -}}

{{/* Envoy leaves at once when it is told to, so that it is asked to drain before. */}}
{{- define "mlapi.lifecycle.edge" -}}
preStop:
  exec:
    command: [python, -m, gateway.drain, {{ .root.Values.noticeSeconds | quote }}, {{ .root.Values.drainSeconds | quote }}]
{{- end -}}
