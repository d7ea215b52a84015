{{/* Names, labels and images. memcached's name is RELEASE-memcached whatever else is called how: it is what application
     and router configurations of the chart stable/mcrouter hold. */}}

{{- define "ringroad.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (.Values.nameOverride | default "ringroad") -}}
{{- end -}}
{{- end -}}

{{- define "ringroad.memcachedName" -}}
{{- printf "%s-memcached" .Release.Name -}}
{{- end -}}

{{/* The labels that select, and never change. */}}
{{- define "ringroad.selector" -}}
app.kubernetes.io/name: ringroad
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "ringroad.memcachedSelector" -}}
app.kubernetes.io/name: memcached
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Of objects, never of pods: a new version of the chart alone must not restart a cache. */}}
{{- define "ringroad.labels" -}}
app.kubernetes.io/part-of: ringroad
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Of an image as in the values, with `default` for its tag. */}}
{{- define "ringroad.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (.image.tag | default .default) -}}
{{- end -}}
{{- end -}}

{{- define "ringroad.onNodes" -}}
{{- if has .Values.mode (list "hostPort" "service" "hostNetwork") }}yes{{ end -}}
{{- end -}}

{{- define "ringroad.workload" -}}
{{- if include "ringroad.onNodes" . }}daemonset{{ else }}{{ .Values.mode }}{{ end -}}
{{- end -}}

{{- define "ringroad.replicas" -}}
{{- .Values.replicas | default 3 -}}
{{- end -}}
