{{/* The list of containers with containerOverrides merged in. */}}
{{- define "relay-pki.controller.containers" -}}
{{- $overrides := .Values.controller.containerOverrides -}}
{{- $base := include "relay-pki.object" (list . "relay-pki.controller.container") | fromYaml -}}
{{- $containers := list -}}
{{- $names := list -}}
{{- range prepend .Values.controller.extraContainers $base -}}
{{- $names = append $names .name -}}
{{- $container := deepCopy . -}}
{{- with get $overrides .name -}}
{{- $container = mustMergeOverwrite $container (deepCopy .) -}}
{{- end -}}
{{- include "relay-pki.unchanged" (list (printf "controller.containerOverrides.%s" .name) . $container (list "name")) -}}
{{- $containers = append $containers $container -}}
{{- end -}}
{{- range $name, $_ := $overrides -}}
{{- if not (has $name $names) -}}
{{- fail (printf "controller.containerOverrides.%s: there is no such container; there are: %s" $name (join ", " $names)) -}}
{{- end -}}
{{- end -}}
{{- toYaml $containers -}}
{{- end -}}

{{/* The controller's container before containerOverrides. */}}
{{- define "relay-pki.controller.container" -}}
{{- $values := .Values.controller -}}
name: controller
image: {{ include "relay-pki.image" (list . $values.image) | quote }}
imagePullPolicy: {{ $values.image.pullPolicy }}
args:
  - controller
  - --listen={{ $values.listenAddress }}:{{ $values.ports.http | int64 }}
  - --per-cluster-metrics={{ $values.metrics.perCluster }}
  - --log-format={{ $values.log.format }}
  {{- if $values.enrolment.enabled }}
  - --enrolment-listen={{ $values.listenAddress }}:{{ $values.ports.enrolment | int64 }}
  {{- with $values.enrolment.relay }}
  - --enrolment-relay={{ . }}
  {{- end }}
  {{- end }}
  {{- with $values.extraArgs }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
env:
  - name: POD_NAMESPACE
    valueFrom:
      fieldRef:
        fieldPath: metadata.namespace
  - name: POD_NAME
    valueFrom:
      fieldRef:
        fieldPath: metadata.name
  {{- with $values.log.filter }}
  - name: RELAY_PKI_LOG
    value: {{ . | quote }}
  {{- end }}
  {{- with $values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
ports:
  - name: http
    containerPort: {{ $values.ports.http | int64 }}
  {{- if $values.enrolment.enabled }}
  - name: enrolment
    containerPort: {{ $values.ports.enrolment | int64 }}
  {{- end }}
livenessProbe:
  httpGet:
    path: /healthz
    port: http
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet:
    path: /readyz
    port: http
  periodSeconds: 5
  timeoutSeconds: 5
{{- with $values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.extraVolumeMounts }}
volumeMounts:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
