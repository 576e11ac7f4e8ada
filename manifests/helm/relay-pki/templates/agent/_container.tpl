{{/* The list of the agent's one container. */}}
{{- define "relay-pki.agent.container" -}}
{{- $values := .Values.agent -}}
- name: agent
  image: {{ include "relay-pki.image" (list . $values.image) | quote }}
  imagePullPolicy: {{ $values.image.pullPolicy }}
  args:
    - agent
    - {{ print "--cluster=" $values.cluster | quote }}
    - {{ print "--server=" $values.server | quote }}
    {{- with $values.serverName }}
    - {{ print "--server-name=" . | quote }}
    {{- end }}
    {{- range $values.trustFingerprints }}
    - {{ print "--trust-fingerprint=" . | quote }}
    {{- end }}
    - {{ print "--relay=" $values.relay | quote }}
    - {{ print "--root-secret=" $values.secrets.root | quote }}
    - {{ print "--client-secret=" $values.secrets.client | quote }}
    {{- range $values.tokenSecrets }}
    - {{ print "--token-secret=" . | quote }}
    {{- end }}
    {{- with $values.keyType }}
    - {{ print "--key-type=" . | quote }}
    {{- end }}
    - {{ print "--renew-at=" $values.renewAt | quote }}
    - {{ print "--poll=" $values.poll | quote }}
    {{- range $values.restart }}
    - {{ print "--restart=" . | quote }}
    {{- end }}
    {{- if $values.adopt }}
    - --adopt
    {{- end }}
    - {{ printf "--listen=%s:%d" $values.listenAddress (int64 $values.ports.http) | quote }}
    - {{ print "--log-format=" $values.log.format | quote }}
    {{- with $values.extraArgs }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  env:
    - name: POD_NAMESPACE
      valueFrom:
        fieldRef:
          fieldPath: metadata.namespace
    {{- with $values.log.filter }}
    - name: RELAY_PKI_LOG
      value: {{ . | quote }}
    {{- end }}
    {{- with $values.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    - name: http
      containerPort: {{ $values.ports.http | int64 }}
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
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.securityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
