{{/* The Deployment before deploymentOverrides. */}}
{{- define "relay-pki.controller.deployment" -}}
{{- $values := .Values.controller -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "relay-pki.controller.name" . }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "relay-pki.labels" (list . "controller") | nindent 4 }}
spec:
  replicas: {{ $values.replicas | int64 }}
  selector:
    matchLabels:
      {{- include "relay-pki.selector" (list . "controller") | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "relay-pki.labels" (list . "controller" $values.podLabels) | nindent 8 }}
      {{- with $values.podAnnotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      serviceAccountName: {{ include "relay-pki.controller.serviceAccount" . }}
      automountServiceAccountToken: true
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds | int64 }}
      {{- with .Values.global.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.priorityClassName }}
      priorityClassName: {{ . | quote }}
      {{- end }}
      {{- with $values.podSecurityContext }}
      securityContext:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.affinity }}
      affinity:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with concat (include "relay-pki.controller.spread" . | fromYamlArray) $values.topologySpreadConstraints }}
      topologySpreadConstraints:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        {{- include "relay-pki.controller.containers" . | nindent 8 }}
      {{- with $values.extraVolumes }}
      volumes:
        {{- toYaml . | nindent 8 }}
      {{- end }}
{{- end -}}

{{- define "relay-pki.controller.spread" -}}
{{- if eq .Values.controller.spread "none" -}}
[]
{{- else -}}
{{- range tuple "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- topologyKey: {{ . }}
  maxSkew: 1
  {{- /* Two zones may be all there are; two replicas on one node help nobody. */}}
  whenUnsatisfiable: {{ ternary "DoNotSchedule" "ScheduleAnyway" (and (eq $.Values.controller.spread "hard") (eq . "kubernetes.io/hostname")) }}
  labelSelector:
    matchLabels:
      {{- include "relay-pki.selector" (list $ "controller") | nindent 6 }}
{{- end }}
{{- end -}}
{{- end -}}
