{{/* Labels of every object: (list $ "component" more…). The chart's own win. Helm itself adds managed-by. */}}
{{- define "relay-pki.labels" -}}
{{- $root := index . 0 -}}
{{- $labels := include "relay-pki.selector" . | fromYaml -}}
{{- $_ := set $labels "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_") -}}
{{- $_ := set $labels "app.kubernetes.io/version" $root.Chart.AppVersion -}}
{{- $_ := set $labels "app.kubernetes.io/part-of" "relay-pki" -}}
{{- range slice . 2 -}}
{{- $labels = mustMerge $labels (deepCopy .) -}}
{{- end -}}
{{- toYaml (mustMerge $labels (deepCopy $root.Values.global.commonLabels)) -}}
{{- end -}}

{{/* The labels that Services and Deployments select by: they can never change. */}}
{{- define "relay-pki.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}
