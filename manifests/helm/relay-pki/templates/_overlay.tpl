{{/*
(list $ overrides "template.name"): the object of a named template with overrides merged into it.
Dictionaries merge key by key, lists are replaced, false, 0 and "" count, and null takes the field away.
*/}}
{{- define "relay-pki.overlay" -}}
{{- $base := include "relay-pki.object" (list (index . 0) (index . 2)) | fromYaml -}}
{{- $merged := mustMergeOverwrite $base (deepCopy (index . 1 | default dict)) -}}
{{- include "relay-pki.prune" $merged -}}
{{- toYaml $merged -}}
{{- end -}}

{{/*
Takes what is null out of an object, in place: a server-side apply takes null for {} where a field was set before.
*/}}
{{- define "relay-pki.prune" -}}
{{- if kindIs "map" . -}}
{{- range $key, $value := . -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := unset $ $key -}}
{{- else -}}
{{- include "relay-pki.prune" $value -}}
{{- end -}}
{{- end -}}
{{- else if kindIs "slice" . -}}
{{- range . -}}
{{- include "relay-pki.prune" . -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* (list $ "template.name"): the object as YAML. fromYaml puts what is wrong into a key instead of failing. */}}
{{- define "relay-pki.object" -}}
{{- $text := include (index . 1) (index . 0) -}}
{{- $object := fromYaml $text -}}
{{- if hasKey $object "Error" -}}
{{- fail (printf "template %s does not render to YAML: %s" (index . 1) (get $object "Error")) -}}
{{- end -}}
{{- $text -}}
{{- end -}}

{{/*
(list "overrides" before after paths…): refuses an override of what must stay as it is. A path is a list of keys.
*/}}
{{- define "relay-pki.unchanged" -}}
{{- $call := . -}}
{{- range $path := slice . 3 -}}
{{- $before := include "relay-pki.at" (list (index $call 1) $path) -}}
{{- if ne $before (include "relay-pki.at" (list (index $call 2) $path)) -}}
{{- fail (printf "%s changes %s, which upgrades and other objects rely on; take it out of the overrides" (index $call 0) (join "." $path)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* (list object path): what is there, as JSON. `dig` fails where an override put null on the way. */}}
{{- define "relay-pki.at" -}}
{{- $value := index . 0 -}}
{{- range $key := index . 1 -}}
{{- if kindIs "map" $value -}}
{{- $value = get $value $key -}}
{{- else -}}
{{- $value = "" -}}
{{- end -}}
{{- end -}}
{{- toJson $value -}}
{{- end -}}

{{/*
(list $ "component"): its Deployment with its deploymentOverrides. What upgrades and other objects rely on stays.
*/}}
{{- define "relay-pki.deployment" -}}
{{- $component := index . 1 -}}
{{- $name := printf "relay-pki.%s.deployment" $component -}}
{{- $overrides := (get (index . 0).Values $component).deploymentOverrides -}}
{{- $before := include "relay-pki.object" (list (index . 0) $name) | fromYaml -}}
{{- $text := include "relay-pki.overlay" (list (index . 0) $overrides $name) -}}
{{- $template := list "spec" "template" -}}
{{- $fixed := list (list "apiVersion") (list "kind") (list "metadata" "name") (list "metadata" "namespace") -}}
{{- $fixed = concat $fixed (list (list "spec" "selector") (concat $template (list "spec" "serviceAccountName"))) -}}
{{- range $label, $_ := $before.spec.selector.matchLabels -}}
{{- $fixed = append $fixed (concat $template (list "metadata" "labels" $label)) -}}
{{- end -}}
{{- $what := printf "%s.deploymentOverrides" $component -}}
{{- include "relay-pki.unchanged" (concat (list $what $before (fromYaml $text)) $fixed) -}}
{{- $text -}}
{{- end -}}
