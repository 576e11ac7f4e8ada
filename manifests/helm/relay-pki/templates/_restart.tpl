{{/* The right to restart workloads, KIND/NAME each, as rules of a Role. */}}
{{- define "relay-pki.restartRules" }}
{{- $workloads := . }}
{{- range $kind := tuple "deployment" "statefulset" "daemonset" }}
{{- $names := list }}
{{- range $workloads }}
{{- if hasPrefix (print $kind "/") . }}
{{- $names = append $names (trimPrefix (print $kind "/") .) }}
{{- end }}
{{- end }}
{{- with $names }}
  # What is restarted when certificates or roots change.
  - apiGroups: [apps]
    resources: [{{ $kind }}s]
    verbs: [get, patch]
    resourceNames:
      {{- range . }}
      - {{ . | quote }}
      {{- end }}
{{- end }}
{{- end }}
{{- end }}
