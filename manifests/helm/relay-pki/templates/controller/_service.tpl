{{/* The Service before serviceOverrides. */}}
{{- define "relay-pki.controller.service" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "relay-pki.controller.name" . }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "relay-pki.labels" (list . "controller") | nindent 4 }}
spec:
  type: {{ .Values.controller.serviceType }}
  selector:
    {{- include "relay-pki.selector" (list . "controller") | nindent 4 }}
  ports:
    - name: http
      port: {{ .Values.controller.ports.http | int64 }}
      targetPort: http
      protocol: TCP
    {{- if .Values.controller.enrolment.enabled }}
    - name: enrolment
      port: {{ .Values.controller.ports.enrolment | int64 }}
      targetPort: enrolment
      protocol: TCP
    {{- end }}
{{- end -}}
