{{/* What ringroad is told: its configuration, its command, and the times of its end. */}}

{{/* Bytes of a quantity as Kubernetes (256Mi, 1G) or ringroad (64MiB) writes it; empty where it is neither. */}}
{{- define "ringroad.bytes" -}}
{{- $text := . | toString -}}
{{- if kindIs "float64" . }}{{ $text = int64 . | toString }}{{ end -}}
{{- if regexMatch "^[0-9]+(\\.[0-9]+)?([kKMG]i?B?)?$" $text -}}
{{- $number := regexFind "^[0-9]+(\\.[0-9]+)?" $text | float64 -}}
{{- $unit := regexFind "[kKMG]i?" $text -}}
{{- $factors := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 -}}
{{- if hasKey $factors $unit }}{{ mulf $number (get $factors $unit) | int64 }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "ringroad.canSleep" -}}
{{- if and (gt (int .Values.preStopSleepSeconds) 0) (semverCompare ">=1.30-0" .Capabilities.KubeVersion.Version) }}yes{{ end -}}
{{- end -}}

{{/* `drain` in this configuration, which gives it in whole seconds; empty where it does not. */}}
{{- define "ringroad.drainInConfig" -}}
{{- regexFind "[0-9]+" (regexFind "(?m)^ *drain *= *\"[0-9]+s\"" .) -}}
{{- end -}}

{{/* Where preStop can't sleep, the wait is ringroad's. */}}
{{- define "ringroad.shutdownDelay" -}}
{{- if include "ringroad.canSleep" . -}}
{{- int .Values.shutdownDelaySeconds -}}
{{- else -}}
{{- add (int .Values.shutdownDelaySeconds) (int .Values.preStopSleepSeconds) -}}
{{- end -}}
{{- end -}}

{{/* ringroad's `drain`: from SIGTERM to its end, the wait included. */}}
{{- define "ringroad.drain" -}}
{{- if .Values.config -}}
{{- include "ringroad.drainInConfig" .Values.config -}}
{{- else -}}
{{- add (include "ringroad.shutdownDelay" . | int) (int .Values.drainSeconds) -}}
{{- end -}}
{{- end -}}

{{/* How long the end of a pod takes at most. */}}
{{- define "ringroad.endSeconds" -}}
{{- $asleep := ternary (int .Values.preStopSleepSeconds) 0 (eq (include "ringroad.canSleep" .) "yes") -}}
{{- add $asleep (include "ringroad.drain" . | int) -}}
{{- end -}}

{{- define "ringroad.graceSeconds" -}}
{{- if kindIs "invalid" .Values.terminationGracePeriodSeconds -}}
{{- add (include "ringroad.endSeconds" .) 5 -}}
{{- else -}}
{{- int .Values.terminationGracePeriodSeconds -}}
{{- end -}}
{{- end -}}

{{/* In the node's own network the old and the new ringroad stand side by side, so each has a socket of its own. */}}
{{- define "ringroad.adminListen" -}}
{{- if eq .Values.mode "hostNetwork" }}unix:/run/ringroad/admin.sock{{ else }}:{{ int .Values.adminPort }}{{ end -}}
{{- end -}}

{{/* Where the servers are found, as a table of `discover`. */}}
{{- define "ringroad.discover" -}}
{{- $zone := printf "%s.svc.%s" .Release.Namespace .Values.clusterDomain -}}
{{- if .Values.memcached.enabled -}}
{{- dict "service" (printf "%s.%s" (include "ringroad.memcachedName" .) $zone) "port_name" "memcache" | toJson -}}
{{- else -}}
{{- $name := .Values.memcached.existingService -}}
{{- if not (contains "." $name) }}{{ $name = printf "%s.%s" $name $zone }}{{ end -}}
{{- $source := dict "service" $name -}}
{{- with .Values.memcached.existingPortName }}{{ $_ := set $source "port_name" . }}{{ end -}}
{{- toJson $source -}}
{{- end -}}
{{- end -}}

{{/* The settings in force, as JSON: the chart's, and over them the user's. */}}
{{- define "ringroad.settings" -}}
{{- $listen := printf ":%d" (int .Values.port) -}}
{{- $first := ternary (dict "tcp" $listen "reuse_port" true) $listen (eq .Values.mode "hostNetwork") -}}
{{- $settings := dict
      "listen" (concat (list $first) .Values.extraListen)
      "workers" .Values.workers
      "drain" (printf "%ss" (include "ringroad.drain" .))
      "shutdown_delay" (printf "%ss" (include "ringroad.shutdownDelay" .))
      "admin" (dict "listen" (include "ringroad.adminListen" .)) -}}
{{- $memory := dig "limits" "memory" "" .Values.resources -}}
{{- with include "ringroad.bytes" $memory -}}
{{- $each := div . (mul 2 (int $.Values.workers)) | int64 -}}
{{- $_ := set $settings "limits" (dict "worker_bytes" (printf "%dKiB" (div $each 1024))) -}}
{{- end -}}
{{- if .Values.spool.enabled }}{{ $_ := set $settings "spool" (include "ringroad.spool.table" . | fromJson) }}{{ end -}}
{{- $theirs := deepCopy .Values.settings -}}
{{- $pools := dig "pools" (dict) $theirs -}}
{{- if or (not $pools) (hasKey $pools "cache") -}}
{{- $cache := dig "cache" (dict) $pools -}}
{{- if not (or (hasKey $cache "servers") (hasKey $cache "discover")) -}}
{{- $_ := set $settings "pools" (dict "cache" (dict "discover" (include "ringroad.discover" . | fromJson))) -}}
{{- end -}}
{{- if .Values.spool.enabled -}}
{{- $ours := dig "pools" "cache" (dict) $settings -}}
{{- $_ := set $settings "pools" (dict "cache" (merge (dict "spool" true) $ours)) -}}
{{- end -}}
{{- end -}}
{{- mergeOverwrite $settings $theirs | toJson -}}
{{- end -}}

{{- define "ringroad.configFile" -}}
{{- if .Values.mcrouterConfig }}/etc/ringroad/config.json{{ else }}/etc/ringroad/ringroad.toml{{ end -}}
{{- end -}}

{{- define "ringroad.configData" -}}
{{- if .Values.mcrouterConfig -}}
config.json: |
{{- .Values.mcrouterConfig | trimSuffix "\n" | nindent 2 }}
{{- else if .Values.config -}}
ringroad.toml: |
{{- .Values.config | trimSuffix "\n" | nindent 2 }}
{{- else -}}
ringroad.toml: |
  # `ringroad check FILE` says what it means.
{{- include "ringroad.toml" (dict "path" "" "table" (include "ringroad.settings" . | fromJson)) | nindent 2 | replace "\n  \n" "\n\n" }}
{{- end -}}
{{- end -}}
