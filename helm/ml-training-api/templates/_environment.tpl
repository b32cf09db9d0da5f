{{/* Environment variables: names are fields of the services' settings. Nothing secret stands here as a value. */}}

{{/* Takes root. What every container has. */}}
{{- define "mlapi.env.common" -}}
- {name: AUTH_MODE, value: keys}
- {name: API_KEYS_FILE, value: {{ printf "/etc/mlapi/keys/%s" .root.Values.auth.keysKey | quote }}}
- {name: DATA_DIR, value: /data}
- {name: LOG_LEVEL, value: {{ .root.Values.logLevel }}}
- {name: REQUEST_TIMEOUT, value: {{ .root.Values.requestTimeout | quote }}}
- {name: DRAIN_TIMEOUT, value: {{ .root.Values.drainSeconds | quote }}}
- {name: MAX_JSON_BYTES, value: {{ .root.Values.maxJsonBytes | int64 | quote }}}
{{- with .root.Values.otlpEndpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- if .root.Values.tls.existingSecret }}
- {name: TLS_CERT_FILE, value: /etc/mlapi/tls/tls.crt}
- {name: TLS_KEY_FILE, value: /etc/mlapi/tls/tls.key}
- {name: TLS_CA_FILE, value: /etc/mlapi/tls/ca.crt}
{{- end }}
{{- end -}}

{{/* Takes root. What every service has that the edge has not. */}}
{{- define "mlapi.env.service" -}}
- {name: BIND_HOST, value: {{ .root.Values.bindAddress | quote }}}
- {name: MEMORY_HIGH_PERCENT, value: {{ .root.Values.memoryHighPercent | quote }}}
{{ include "mlapi.env.database" . }}
{{- end -}}

{{- define "mlapi.env.database" -}}
{{- with .root.Values.database.existingSecret -}}
- name: DATABASE_URL
  valueFrom: {secretKeyRef: {name: {{ . }}, key: {{ $.root.Values.database.key }}}}
{{- end -}}
{{- end -}}

{{/* Takes root. Of the services whose callers have limits, which are counted together where there is a Redis. */}}
{{- define "mlapi.env.limits" -}}
- {name: RATE_LIMIT_ENABLED, value: {{ .root.Values.rateLimit.enabled | quote }}}
{{- with .root.Values.redis.existingSecret }}
- name: REDIS_URL
  valueFrom: {secretKeyRef: {name: {{ . }}, key: {{ $.root.Values.redis.key }}}}
{{- end }}
{{- end -}}

{{- define "mlapi.env.artifacts" -}}
{{- with .root.Values.artifacts.url -}}
- {name: ARTIFACTS_URL, value: {{ . | quote }}}
{{- end -}}
{{- end -}}

{{- define "mlapi.env.ray" -}}
{{- if or .root.Values.ray.address .root.Values.ray.cluster.enabled -}}
- {name: RAY_ADDRESS, value: {{ include "mlapi.rayAddress" .root | quote }}}
{{ include "mlapi.env.rayToken" . }}
{{- end -}}
{{- end -}}

{{- define "mlapi.rayAddress" -}}
{{- default (printf "http://%s-ray-head-svc:8265" (include "mlapi.fullname" .)) .Values.ray.address -}}
{{- end -}}

{{- define "mlapi.env.rayToken" -}}
- {name: RAY_AUTH_MODE, value: token}
- name: RAY_AUTH_TOKEN
  valueFrom: {secretKeyRef: {name: {{ .root.Values.ray.tokenSecret }}, key: {{ .root.Values.ray.tokenKey }}}}
{{- end -}}

{{- define "mlapi.env.training" -}}
{{ include "mlapi.env.service" . }}
- {name: TRAINING_SLOTS, value: {{ .root.Values.training.slots | quote }}}
- {name: TRAINING_MEMORY_BYTES, value: {{ .root.Values.training.attemptMemoryBytes | int64 | quote }}}
{{ include "mlapi.env.limits" . }}
- {name: TRAINING_REQUESTS, value: {{ .root.Values.rateLimit.trainingRequests | quote }}}
- {name: TRAINING_PREDICTIONS, value: {{ .root.Values.rateLimit.predictions | quote }}}
{{- if .root.Values.training.gpu.count }}
- {name: COMPUTE_BACKEND, value: cupy}
- {name: TRAINING_GPU_SLOTS, value: {{ .root.Values.training.gpu.count | quote }}}
{{- end }}
{{ include "mlapi.env.artifacts" . }}
{{ include "mlapi.env.ray" . }}
{{- end -}}

{{- define "mlapi.env.ai-gateway" -}}
{{ include "mlapi.env.service" . }}
- {name: TRAINING_ADDRESS, value: {{ include "mlapi.address" (dict "root" .root "name" "training") | quote }}}
{{ include "mlapi.env.limits" . }}
- {name: AI_REQUESTS, value: {{ .root.Values.rateLimit.requests | quote }}}
- {name: AI_TOKENS, value: {{ .root.Values.rateLimit.tokens | quote }}}
- {name: AI_ENHANCE_REQUESTS, value: {{ .root.Values.rateLimit.enhanceRequests | quote }}}
{{- with .root.Values.ai.routes }}
- {name: AI_ROUTES, value: {{ toJson . | quote }}}
{{- end }}
{{- with .root.Values.ai.localBaseUrl }}
- {name: LOCAL_BASE_URL, value: {{ . | quote }}}
{{- end }}
{{- with .root.Values.auth.trainingDelegateKey }}
- name: AI_TRAINING_API_KEY
  valueFrom: {secretKeyRef: {name: {{ $.root.Values.auth.existingSecret }}, key: {{ . }}}}
{{- end }}
{{- if .root.Values.ai.existingSecret }}
{{- range .root.Values.ai.vendors }}
- {name: {{ upper . }}_API_KEY_FILE, value: /etc/mlapi/vendors/{{ . }}-key}
{{- end }}
{{- end }}
{{- end -}}

{{- define "mlapi.env.health" -}}
{{ include "mlapi.env.service" . }}
- {name: TRAINING_ADDRESS, value: {{ include "mlapi.address" (dict "root" .root "name" "training") | quote }}}
- {name: AI_GATEWAY_ADDRESS, value: {{ include "mlapi.address" (dict "root" .root "name" "ai-gateway") | quote }}}
{{- with .root.Values.auth.healthKey }}
- {name: HEALTH_API_KEY_FILE, value: /etc/mlapi/keys/{{ . }}}
{{- end }}
{{- end -}}

{{- define "mlapi.env.edge" -}}
- {name: HOST, value: {{ .root.Values.bindAddress | quote }}}
- {name: PORT, value: "5000"}
- {name: ADMIN_PORT, value: "9901"}
- {name: ACCESS_LOG, value: /dev/stdout}
- {name: EDGE_THREADS, value: {{ .root.Values.edge.threads | quote }}}
- {name: TRAINING_ADDRESS, value: {{ include "mlapi.address" (dict "root" .root "name" "training") | quote }}}
- {name: AI_GATEWAY_ADDRESS, value: {{ include "mlapi.address" (dict "root" .root "name" "ai-gateway") | quote }}}
- {name: HEALTH_ADDRESS, value: {{ include "mlapi.address" (dict "root" .root "name" "health") | quote }}}
{{- if .root.Values.edge.tls.existingSecret }}
- {name: EDGE_TLS_CERT_FILE, value: /etc/mlapi/edge-tls/tls.crt}
- {name: EDGE_TLS_KEY_FILE, value: /etc/mlapi/edge-tls/tls.key}
{{- end }}
{{- end -}}

{{/* Takes root, name and values of the component: all of a container's variables, the operator's own last. */}}
{{- define "mlapi.env" -}}
{{ include "mlapi.env.common" . }}
{{ include (printf "mlapi.env.%s" .name) . }}
{{- range $name, $value := .values.env }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- range $name, $ref := .values.secretEnv }}
- name: {{ $name }}
  valueFrom: {secretKeyRef: {name: {{ $ref.secret }}, key: {{ $ref.key }}}}
{{- end }}
{{- end -}}
