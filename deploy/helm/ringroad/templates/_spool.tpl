{{/* Reliable deletes: `[spool]`, its volume, and the rights to it. */}}

{{/* The table `[spool]`, as JSON. */}}
{{- define "ringroad.spool.table" -}}
{{- with .Values.spool -}}
{{- $table := dict
      "dir" .dir
      "max_bytes" (printf "%sB" .size)
      "fsync" .fsync
      "replay" .replay
      "replay_rate" .replayRate
      "unknown_servers" .unknownServers -}}
{{- if eq .fsync "interval" }}{{ $_ := set $table "fsync_interval" .fsyncInterval }}{{ end -}}
{{- toJson $table -}}
{{- end -}}
{{- end -}}

{{- define "ringroad.spool.volume" -}}
- name: spool
  {{- if eq .Values.spool.volume "hostPath" }}
  hostPath:
    path: {{ .Values.spool.hostPath | default (printf "/var/lib/ringroad/%s-%s" .Release.Namespace (include "ringroad.fullname" .)) }}
    type: DirectoryOrCreate
  {{- else }}
  emptyDir:
    # A pod with more is evicted: directories count, too.
    sizeLimit: {{ div (mul 5 (include "ringroad.bytes" .Values.spool.size | int64)) 4194304 | add1 }}Mi
  {{- end }}
{{- end -}}

{{/* An emptyDir is made for podSecurityContext.fsGroup; a hostPath is root's. */}}
{{- define "ringroad.spool.prepare" -}}
{{- if and .Values.spool.enabled (eq .Values.spool.volume "hostPath") .Values.spool.prepare.enabled -}}
initContainers:
  - name: prepare-spool
    image: {{ include "ringroad.image" (dict "image" .Values.spool.prepare.image "default" "latest") | quote }}
    imagePullPolicy: {{ .Values.spool.prepare.image.pullPolicy }}
    command: [sh, -ec]
    args:
      - |
        chown -R {{ int .Values.podSecurityContext.runAsUser }}:{{ int (.Values.podSecurityContext.runAsGroup | default .Values.podSecurityContext.runAsUser) }} {{ .Values.spool.dir }}
        chmod 0700 {{ .Values.spool.dir }}
    securityContext:
      runAsNonRoot: false
      runAsUser: 0
      runAsGroup: 0
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities:
        drop: [ALL]
        add: [CHOWN, FOWNER, DAC_READ_SEARCH]
    resources:
      requests:
        cpu: 10m
        memory: 8Mi
      limits:
        memory: 32Mi
    volumeMounts:
      - name: spool
        mountPath: {{ .Values.spool.dir }}
{{- end -}}
{{- end -}}

{{- define "ringroad.checks.spool" -}}
{{- $spool := .Values.spool -}}
{{- if $spool.enabled -}}
{{- if and (eq $spool.volume "hostPath") (not (include "ringroad.onNodes" .)) -}}
{{- fail (printf "spool.volume hostPath does not go with mode %s: the next pod may be on another node, and what is spooled would wait on this one for nobody. Say emptyDir" .Values.mode) -}}
{{- end -}}
{{- if and (eq $spool.volume "hostPath") $spool.prepare.enabled (kindIs "invalid" .Values.podSecurityContext.runAsUser) -}}
{{- fail "spool.prepare.enabled needs podSecurityContext.runAsUser: whom is the directory to be given? Or make it ready on the nodes and say spool.prepare.enabled=false" -}}
{{- end -}}
{{- if and .Values.config (not (contains $spool.dir .Values.config)) -}}
{{- fail (printf "spool.enabled makes a volume at %s, and config does not name that directory: write dir = \"%s\" under [spool], and spool = true in the pools that are to use it" $spool.dir $spool.dir) -}}
{{- end -}}
{{- range .Values.mcrouterArgs -}}
{{- if or (hasPrefix "--async-dir" .) (hasPrefix "--async_dir" .) (hasPrefix "-a" .) (hasPrefix "--asynclog-disable" .) -}}
{{- fail (printf "mcrouterArgs %s does not go with spool.enabled: the directory is the value spool.dir" .) -}}
{{- end -}}
{{- end -}}
{{- if hasKey (dig "spool" (dict) .Values.settings) "dir" -}}
{{- fail "settings.spool.dir can't be set with spool.enabled: it follows from the value spool.dir" -}}
{{- end -}}
{{- end -}}
{{- if and $spool.hostPath (or (not $spool.enabled) (ne $spool.volume "hostPath")) -}}
{{- fail "spool.hostPath is given, but spool.enabled and spool.volume=hostPath are not" -}}
{{- end -}}
{{- if .Values.prometheusRule.enabled -}}
{{- if .Values.mcrouterConfig -}}
{{- fail "prometheusRule.enabled does not go with mcrouterConfig: it has no admin port, so there are no metrics. Write the configuration as settings; `ringroad convert` helps" -}}
{{- end -}}
{{- if not (or $spool.enabled .Values.config (hasKey .Values.settings "spool")) -}}
{{- fail "prometheusRule.enabled is given, but there is no spool, and all alerts are about it: say spool.enabled=true" -}}
{{- end -}}
{{- end -}}
{{- end -}}
