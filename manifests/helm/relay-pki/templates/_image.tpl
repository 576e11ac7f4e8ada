{{/* registry/repository:tag-variant@digest */}}
{{- define "relay-pki.controller.image" -}}
{{- $image := .Values.controller.image -}}
{{- $registry := default $image.registry .Values.global.imageRegistry | trimSuffix "/" -}}
{{- $tag := default .Chart.AppVersion $image.tag -}}
{{- if and $image.variant (not (hasSuffix (print "-" $image.variant) $tag)) -}}
{{- $tag = printf "%s-%s" $tag $image.variant -}}
{{- end -}}
{{- if $registry }}{{ $registry }}/{{ end }}{{ $image.repository }}:{{ $tag }}
{{- with $image.digest }}@{{ . }}{{ end }}
{{- end -}}
