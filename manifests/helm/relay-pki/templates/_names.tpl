{{/* Names start with this. A release that is called like the chart is not named twice. */}}
{{- define "relay-pki.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "relay-pki.controller.name" -}}
{{- printf "%s-controller" (include "relay-pki.fullname" .) -}}
{{- end -}}

{{- define "relay-pki.agent.name" -}}
{{- printf "%s-agent" (include "relay-pki.fullname" .) -}}
{{- end -}}

{{- define "relay-pki.controller.serviceAccount" -}}
{{- with .Values.controller.serviceAccount -}}
{{- if .create -}}
{{- default (include "relay-pki.controller.name" $) .name -}}
{{- else -}}
{{- .name | required "controller.serviceAccount.name: name the existing service account, or set controller.serviceAccount.create=true" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "relay-pki.agent.serviceAccount" -}}
{{- default (include "relay-pki.agent.name" .) .Values.agent.serviceAccount.name -}}
{{- end -}}
