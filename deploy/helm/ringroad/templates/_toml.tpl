{{/* TOML from values. Numbers in values are floating point, all of them; whole ones are written as whole ones. */}}

{{/* A table's own keys, then its tables. Takes `path` (of the table, "" for the top) and `table`. */}}
{{- define "ringroad.toml" -}}
{{- $path := .path -}}
{{- range $key, $value := .table -}}
{{- if not (or (kindIs "map" $value) (kindIs "invalid" $value)) }}
{{ include "ringroad.toml.key" $key }} = {{ include "ringroad.toml.value" $value }}
{{- end -}}
{{- end -}}
{{- range $key, $value := .table -}}
{{- if kindIs "map" $value -}}
{{- $here := include "ringroad.toml.key" $key -}}
{{- if $path }}{{ $here = printf "%s.%s" $path $here }}{{ end -}}
{{- if or (include "ringroad.toml.scalars" $value) (not $value) }}

[{{ $here }}]
{{- end -}}
{{- include "ringroad.toml" (dict "path" $here "table" $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Not empty if a table has a key that is no table. */}}
{{- define "ringroad.toml.scalars" -}}
{{- range $key, $value := . }}{{ if not (or (kindIs "map" $value) (kindIs "invalid" $value)) }}yes{{ end }}{{ end -}}
{{- end -}}

{{- define "ringroad.toml.key" -}}
{{- if regexMatch "^[A-Za-z0-9_-]+$" . }}{{ . }}{{ else }}{{ toJson . }}{{ end -}}
{{- end -}}

{{- define "ringroad.toml.value" -}}
{{- if kindIs "slice" . -}}
{{- $items := list -}}
{{- range . }}{{ $items = append $items (include "ringroad.toml.value" .) }}{{ end -}}
[{{ join ", " $items }}]
{{- else if kindIs "map" . -}}
{{- $items := list -}}
{{- range $key, $value := . -}}
{{- if not (kindIs "invalid" $value) -}}
{{- $items = append $items (printf "%s = %s" (include "ringroad.toml.key" $key) (include "ringroad.toml.value" $value)) -}}
{{- end -}}
{{- end -}}
{ {{- if $items }} {{ join ", " $items }} {{ end -}} }
{{- else if kindIs "float64" . -}}
{{- if eq (float64 (int64 .)) . }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- else if kindIs "string" . -}}
{{- toJson . -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}
