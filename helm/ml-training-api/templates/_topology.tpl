{{/* What the chart knows of the architecture: which state is where, and what follows from it. Each is "true" or "". */}}

{{/* Jobs, models and usage are in SQLite, one file for each service, which one process may hold. */}}
{{- define "mlapi.embedded" -}}
{{- if not .Values.database.existingSecret -}}true{{- end -}}
{{- end -}}

{{/* The training pod has a volume of its own: for SQLite, or for artifacts on disk. */}}
{{- define "mlapi.trainingHasVolume" -}}
{{- if or (include "mlapi.embedded" .) (not .Values.artifacts.url) -}}true{{- end -}}
{{- end -}}

{{/* Health looks at training's disk and SQLite file. A volume that one pod may hold is read in that pod. */}}
{{- define "mlapi.healthBesideTraining" -}}
{{- include "mlapi.trainingHasVolume" . -}}
{{- end -}}

{{/* Takes root and name. */}}
{{- define "mlapi.hasVolume" -}}
{{- if eq .name "training" -}}{{ include "mlapi.trainingHasVolume" .root }}
{{- else if eq .name "ai-gateway" -}}{{ include "mlapi.embedded" .root }}
{{- end -}}
{{- end -}}

{{/* Takes values of a component. Whether it may have more than one pod. */}}
{{- define "mlapi.several" -}}
{{- if or .autoscaling.enabled (gt (int .replicas) 1) -}}true{{- end -}}
{{- end -}}

{{/* Combinations that would lose data or never start, refused with what to do. */}}
{{- define "mlapi.refuse" -}}
{{- if and (include "mlapi.trainingHasVolume" .) (include "mlapi.several" .Values.training) -}}
{{- fail "training: more than one replica needs database.existingSecret (PostgreSQL) and artifacts.url (object storage); SQLite and artifacts on a volume belong to one pod" -}}
{{- end -}}
{{- if and (include "mlapi.embedded" .) (include "mlapi.several" .Values.aiGateway) -}}
{{- fail "aiGateway: more than one replica needs database.existingSecret (PostgreSQL); a SQLite file belongs to one pod" -}}
{{- end -}}
{{- if and (or .Values.ray.address .Values.ray.cluster.enabled) (not (and .Values.database.existingSecret .Values.artifacts.url)) -}}
{{- fail "ray: workers on other nodes need database.existingSecret and artifacts.url; they cannot reach a volume" -}}
{{- end -}}
{{- if and (or .Values.ray.address .Values.ray.cluster.enabled) (not .Values.ray.tokenSecret) -}}
{{- fail "ray: ray.tokenSecret is needed; whoever reaches an open Ray cluster runs code in it" -}}
{{- end -}}
{{- if and .Values.ray.cluster.enabled (not .Values.ray.cluster.image) -}}
{{- fail "ray.cluster.image is needed: of LOCK=training-ray or training-gpu-ray" -}}
{{- end -}}
{{- if and .Values.ray.address .Values.ray.cluster.enabled -}}
{{- fail "ray: either ray.address or ray.cluster.enabled" -}}
{{- end -}}
{{- end -}}
