{{/*
A component with all that belongs to it: Deployment, headless Service, claim, autoscaler, disruption budget.
Takes root, name and values; beside: name → values of services that run in the same pod.

Deployments, not StatefulSets: no pod needs a name of its own. Where one has a volume, `Recreate` and a claim
that a single pod may hold keep two processes off one SQLite file, and the claim outlives the release.
*/}}
{{- define "mlapi.workload" -}}
{{- include "mlapi.refuse" .root -}}
{{- include "mlapi.deployment" . }}
{{- if and (include "mlapi.hasVolume" .) (not .values.persistence.existingClaim) }}
---
{{ include "mlapi.claim" . }}
{{- end }}
{{- if .values.autoscaling.enabled }}
---
{{ include "mlapi.autoscaler" . }}
{{- end }}
{{- if include "mlapi.several" .values }}
---
{{ include "mlapi.disruptionBudget" . }}
{{- end }}
{{- end -}}

{{- define "mlapi.deployment" -}}
{{- $root := .root -}}
apiVersion: apps/v1
kind: Deployment
metadata: {{- include "mlapi.metadata" . | nindent 2 }}
spec:
  {{- if not .values.autoscaling.enabled }}
  replicas: {{ .values.replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  selector:
    matchLabels: {{- include "mlapi.selector" . | nindent 6 }}
  {{- if include "mlapi.hasVolume" . }}
  strategy: {type: Recreate}
  {{- else }}
  minReadySeconds: 5
  strategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 0, maxSurge: 1}}
  {{- end }}
  template:
    metadata:
      labels: {{- include "mlapi.labels" . | nindent 8 }}
      {{- with .values.podAnnotations }}
      annotations: {{- toYaml . | nindent 8 }}
      {{- end }}
    spec: {{- include "mlapi.podPlacement" . | nindent 6 }}
      serviceAccountName: {{ include "mlapi.serviceAccount" .root }}
      automountServiceAccountToken: false
      enableServiceLinks: false
      securityContext: {{- include "mlapi.podSecurity" . | nindent 8 }}
      # Notice, then the drain of calls in flight, then some seconds to leave.
      terminationGracePeriodSeconds: {{ add .root.Values.noticeSeconds .root.Values.drainSeconds 15 }}
      {{- with .root.Values.image.pullSecrets }}
      imagePullSecrets: {{- range . }}
      - {name: {{ . }}}
      {{- end }}
      {{- end }}
      containers:
      {{- include "mlapi.container" . | nindent 6 }}
      {{- range $name, $values := .beside }}
      {{- include "mlapi.container" (dict "root" $root "name" $name "values" $values) | nindent 6 }}
      {{- end }}
      volumes: {{- include "mlapi.volumes" . | nindent 6 }}
{{- end -}}

{{- define "mlapi.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* Where a pod may be, and where it had better be: on another node, in another zone than its twins. */}}
{{- define "mlapi.podPlacement" -}}
{{- $context := . -}}
topologySpreadConstraints:
{{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
- maxSkew: 1
  topologyKey: {{ $key }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {{- include "mlapi.selector" $context | nindent 6 }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 0 }}
{{- end }}
{{- with .values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- end -}}

{{- define "mlapi.volumes" -}}
{{- $auth := .root.Values.auth -}}
- name: data
  {{- if include "mlapi.hasVolume" . }}
  persistentVolumeClaim: {claimName: {{ default (printf "%s-%s" (include "mlapi.fullname" .root) .name) .values.persistence.existingClaim }}}
  {{- else }}
  emptyDir: {sizeLimit: {{ .values.scratchSize }}}
  {{- end }}
- name: tmp
  emptyDir: {sizeLimit: {{ .values.scratchSize }}}
- name: keys
  secret:
    secretName: {{ $auth.existingSecret }}
    defaultMode: 0440
    items:
    - {key: {{ $auth.keysKey }}, path: {{ $auth.keysKey }}}
    {{- if and $auth.healthKey (or (eq .name "health") (hasKey (default dict .beside) "health")) }}
    - {key: {{ $auth.healthKey }}, path: {{ $auth.healthKey }}}
    {{- end }}
{{- with .root.Values.tls.existingSecret }}
- {name: tls, secret: {secretName: {{ . }}, defaultMode: 0440}}
{{- end }}
{{- if and (eq .name "edge") .root.Values.edge.tls.existingSecret }}
- {name: edge-tls, secret: {secretName: {{ .root.Values.edge.tls.existingSecret }}, defaultMode: 0440}}
{{- end }}
{{- if and (eq .name "ai-gateway") .root.Values.ai.existingSecret }}
- name: vendors
  secret:
    secretName: {{ .root.Values.ai.existingSecret }}
    defaultMode: 0440
    items: {{- range .root.Values.ai.vendors }}
    - {key: {{ . }}-key, path: {{ . }}-key}
    {{- end }}
{{- end }}
{{- end -}}

{{- define "mlapi.claim" -}}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  {{- include "mlapi.metadata" . | nindent 2 }}
  # Models and usage are not thrown away with a release.
  annotations: {helm.sh/resource-policy: keep}
spec:
  accessModes: [{{ .values.persistence.accessMode }}]
  {{- with .values.persistence.storageClass }}
  storageClassName: {{ . }}
  {{- end }}
  resources: {requests: {storage: {{ .values.persistence.size }}}}
{{- end -}}

{{- define "mlapi.autoscaler" -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{- include "mlapi.metadata" . | nindent 2 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ include "mlapi.fullname" .root }}-{{ .name }}}
  minReplicas: {{ .values.autoscaling.minReplicas }}
  maxReplicas: {{ .values.autoscaling.maxReplicas }}
  metrics:
  - type: Resource
    resource:
      name: cpu
      target: {type: Utilization, averageUtilization: {{ .values.autoscaling.targetCPUUtilizationPercentage }}}
  behavior:
    scaleUp:
      stabilizationWindowSeconds: 0
      policies: [{type: Pods, value: 2, periodSeconds: 30}]
    # A pod that goes takes what it trains with it, to be resumed elsewhere: not at every dip.
    scaleDown:
      stabilizationWindowSeconds: {{ .values.autoscaling.scaleDownSeconds }}
      policies: [{type: Pods, value: 1, periodSeconds: 60}]
{{- end -}}

{{- define "mlapi.disruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{- include "mlapi.metadata" . | nindent 2 }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{- include "mlapi.selector" . | nindent 6 }}
{{- end -}}

{{/*
Takes root, name and pod, the component of the pods that have it. Headless: Envoy looks the name up and balances over
all pods itself; a cluster address would pin each of its HTTP/2 connections, and so all calls, to one pod.
*/}}
{{- define "mlapi.service" -}}
apiVersion: v1
kind: Service
metadata: {{- include "mlapi.metadata" . | nindent 2 }}
spec:
  clusterIP: None
  selector: {{- include "mlapi.selector" (dict "root" .root "name" .pod) | nindent 4 }}
  ports:
  - {name: grpc, port: {{ get (fromYaml (include "mlapi.grpcPorts" .root)) .name }}, targetPort: {{ include "mlapi.portName" .name }}, appProtocol: grpc}
  - {name: metrics, port: {{ get (fromYaml (include "mlapi.metricsPorts" .root)) .name }}, targetPort: {{ include "mlapi.metricsName" .name }}}
{{- end -}}
