{{/* The Deployment before deploymentOverrides. */}}
{{- define "relay-pki.agent.deployment" -}}
{{- $values := .Values.agent -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "relay-pki.agent.name" . }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "relay-pki.labels" (list . "agent") | nindent 4 }}
spec:
  # One holds the key. A second one would enrol for nothing.
  replicas: 1
  strategy:
    type: Recreate
  selector:
    matchLabels:
      {{- include "relay-pki.selector" (list . "agent") | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "relay-pki.labels" (list . "agent" $values.podLabels) | nindent 8 }}
      {{- with $values.podAnnotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      serviceAccountName: {{ include "relay-pki.agent.serviceAccount" . }}
      automountServiceAccountToken: true
      enableServiceLinks: false
      terminationGracePeriodSeconds: 30
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
      containers:
        {{- include "relay-pki.agent.container" . | nindent 8 }}
{{- end -}}
