{{/* registry/repository:tag-variant@digest of (list $ image) */}}
{{- define "relay-pki.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- $registry := default $image.registry $root.Values.global.imageRegistry | trimSuffix "/" -}}
{{- $tag := default $root.Chart.AppVersion $image.tag -}}
{{- if and $image.variant (not (hasSuffix (print "-" $image.variant) $tag)) -}}
{{- $tag = printf "%s-%s" $tag $image.variant -}}
{{- end -}}
{{- if $registry }}{{ $registry }}/{{ end }}{{ $image.repository }}:{{ $tag }}
{{- with $image.digest }}@{{ . }}{{ end }}
{{- end -}}
