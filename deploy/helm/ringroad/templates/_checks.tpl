{{/* Values that exclude each other. Each is refused with a sentence that says what to do; what a schema can say is in
     values.schema.json. */}}

{{- define "ringroad.checks" -}}
{{- include "ringroad.checks.old" . -}}
{{- include "ringroad.checks.names" . -}}
{{- include "ringroad.checks.mode" . -}}
{{- include "ringroad.checks.config" . -}}
{{- include "ringroad.checks.end" . -}}
{{- include "ringroad.checks.memory" . -}}
{{- include "ringroad.checks.spool" . -}}
{{- end -}}

{{/* Values of the chart stable/mcrouter. */}}
{{- define "ringroad.checks.old" -}}
{{- range $old, $new := dict
      "controller" "mode (hostPort, service, hostNetwork, deployment, statefulset)"
      "daemonset" "port"
      "statefulset" "replicas and affinity"
      "mcrouterCommandParams" "port, and mcrouterConfig for its configuration"
      "clusterSuffix" "clusterDomain, without the dot it begins with" -}}
{{- if hasKey $.Values $old }}{{ fail (printf "%s is a value of the chart stable/mcrouter; here it is %s" $old $new) }}{{ end -}}
{{- end -}}
{{- if hasKey .Values.memcached "replicaCount" }}{{ fail "memcached.replicaCount is a value of the chart stable/mcrouter; here it is memcached.replicas" }}{{ end -}}
{{- end -}}

{{- define "ringroad.checks.names" -}}
{{- $name := include "ringroad.fullname" . -}}
{{- if gt (len $name) 47 }}{{ fail (printf "%s is too long for a name: pods, Services and the test need some letters more; choose a shorter release name, nameOverride or fullnameOverride" $name) }}{{ end -}}
{{- $memcached := include "ringroad.memcachedName" . -}}
{{- if and .Values.memcached.enabled (gt (len $memcached) 52) }}{{ fail (printf "%s is too long for the name of a StatefulSet; choose a shorter release name" $memcached) }}{{ end -}}
{{- range $one := list $name $memcached -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $one) }}{{ fail (printf "%s can't be the name of a Service: letters, digits and dashes, and a letter first. Choose another release name or fullnameOverride" $one) }}{{ end -}}
{{- end -}}
{{- if eq $name $memcached }}{{ fail (printf "ringroad and memcached would both be called %s; choose another fullnameOverride or nameOverride" $name) }}{{ end -}}
{{- end -}}

{{- define "ringroad.checks.mode" -}}
{{- $strategy := .Values.updateStrategy -}}
{{- if and (eq .Values.mode "hostPort") (not (has ($strategy.maxSurge | toString) (list "<nil>" "0" "0%"))) -}}
{{- fail "updateStrategy.maxSurge does not go with mode hostPort: the new pod would wait for a port that the old one holds, and the update would hang. Leave it out, or choose mode service or hostNetwork for updates without a gap" -}}
{{- end -}}
{{- if and (eq .Values.mode "hostPort") (has ($strategy.maxUnavailable | toString) (list "0" "0%")) -}}
{{- fail "updateStrategy.maxUnavailable 0 does not go with mode hostPort: there the old pod must go before the new one comes, so the update would never begin. Say 1 or more" -}}
{{- end -}}
{{- if and (has ($strategy.maxUnavailable | toString) (list "0" "0%")) (has ($strategy.maxSurge | toString) (list "0" "0%")) -}}
{{- fail "updateStrategy.maxUnavailable and maxSurge can't both be 0: no pod could be replaced" -}}
{{- end -}}
{{- if and (has .Values.mode (list "service" "hostNetwork")) (not (has ($strategy.maxUnavailable | toString) (list "<nil>" "0" "0%"))) (not (has ($strategy.maxSurge | toString) (list "<nil>" "0" "0%"))) -}}
{{- fail (printf "updateStrategy.maxUnavailable does not go with mode %s unless maxSurge is 0: of a DaemonSet one of them must be 0" .Values.mode) -}}
{{- end -}}
{{- if and (eq .Values.mode "statefulset") (not (kindIs "invalid" $strategy.maxSurge)) -}}
{{- fail "updateStrategy.maxSurge does not go with mode statefulset: a pod is replaced by one of the same name, never beside it" -}}
{{- end -}}
{{- if and (include "ringroad.onNodes" .) (not (kindIs "invalid" .Values.replicas)) -}}
{{- fail (printf "replicas does not go with mode %s: there is one ringroad on each node. Choose mode deployment or statefulset for a number of your own" .Values.mode) -}}
{{- end -}}
{{- if eq (int .Values.port) (int .Values.adminPort) -}}
{{- fail (printf "port and adminPort are both %d; they must differ" (int .Values.port)) -}}
{{- end -}}
{{- if eq .Values.mode "hostNetwork" -}}
{{- if .Values.networkPolicy.enabled -}}
{{- fail "networkPolicy.enabled does not go with mode hostNetwork: such pods have the node's address, so memcached could not tell ringroad from anything else on the node. Choose mode hostPort or service" -}}
{{- end -}}
{{- if .Values.podMonitor.enabled -}}
{{- fail "podMonitor.enabled does not go with mode hostNetwork: the admin port is a socket inside the pod there, so that two ringroads fit on a node. Choose mode hostPort or service" -}}
{{- end -}}
{{- if .Values.mcrouterConfig -}}
{{- fail "mcrouterConfig does not go with mode hostNetwork: mcrouter's flags can't share a port between an old and a new process. Choose mode hostPort or service" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "ringroad.checks.config" -}}
{{- $given := list -}}
{{- range list "settings" "config" "mcrouterConfig" }}{{ if get $.Values . }}{{ $given = append $given . }}{{ end }}{{ end -}}
{{- if gt (len $given) 1 -}}
{{- fail (printf "%s exclude each other: each is the whole configuration; keep one" (join " and " $given)) -}}
{{- end -}}
{{- if eq .Values.mode "hostNetwork" -}}
{{- range .Values.extraListen -}}
{{- if and (kindIs "string" .) (not (hasPrefix "unix:" .)) -}}
{{- fail (printf "extraListen %s does not go with mode hostNetwork: the new pod would wait for a port that the old one holds, and the update would hang. Write {tcp: \"%s\", reuse_port: true}, or a unix socket" . .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.extraListen (or .Values.config .Values.mcrouterConfig) -}}
{{- fail "extraListen goes with settings only; write the listeners into the configuration itself" -}}
{{- end -}}
{{- if and .Values.mcrouterArgs (not .Values.mcrouterConfig) -}}
{{- fail "mcrouterArgs goes with mcrouterConfig only; for ringroad there is extraArgs" -}}
{{- end -}}
{{- if and .Values.extraArgs .Values.mcrouterConfig -}}
{{- fail "extraArgs goes with ringroad's own configuration; with mcrouterConfig there is mcrouterArgs" -}}
{{- end -}}
{{- if and .Values.podMonitor.enabled .Values.mcrouterConfig -}}
{{- fail "podMonitor.enabled does not go with mcrouterConfig: it has no admin port. Write the configuration as settings; `ringroad convert` helps" -}}
{{- end -}}
{{- if and .Values.memcached.enabled .Values.memcached.existingService -}}
{{- fail "memcached.existingService is given while memcached.enabled is true: say memcached.enabled=false to use the existing one" -}}
{{- end -}}
{{- if and .Values.memcached.existingPortName (not .Values.memcached.existingService) -}}
{{- fail "memcached.existingPortName is given without memcached.existingService" -}}
{{- end -}}
{{- $pools := dig "pools" (dict) .Values.settings -}}
{{- $cache := dig "cache" (dict) $pools -}}
{{- $own := or .Values.config .Values.mcrouterConfig (and $pools (not (hasKey $pools "cache"))) (hasKey $cache "servers") (hasKey $cache "discover") -}}
{{- if not (or .Values.memcached.enabled .Values.memcached.existingService $own) -}}
{{- fail "there is no memcached: memcached.enabled is false. Say which with memcached.existingService, or list servers under settings.pools.cache.servers" -}}
{{- end -}}
{{- range $key, $instead := dict "listen" "port and extraListen" "drain" "drainSeconds" "shutdown_delay" "shutdownDelaySeconds" "workers" "workers" "admin" "adminPort" -}}
{{- if hasKey $.Values.settings $key }}{{ fail (printf "settings.%s can't be set: it follows from the value %s" $key $instead) }}{{ end -}}
{{- end -}}
{{- with .Values.config -}}
{{- range $port := list $.Values.port $.Values.adminPort -}}
{{- if not (or (eq $.Values.mode "hostNetwork") (regexMatch (printf ":%d\\b" (int $port)) $.Values.config)) -}}
{{- fail (printf "config does not listen on port %d: clients are sent to `port` and probes to `adminPort`, so it needs listen = [\":%d\"] and, under [admin], listen = \":%d\"" (int $port) (int $.Values.port) (int $.Values.adminPort)) -}}
{{- end -}}
{{- end -}}
{{- if eq $.Values.mode "hostNetwork" -}}
{{- if not (and (contains "reuse_port" .) (contains (include "ringroad.adminListen" $) .)) -}}
{{- fail (printf "config does not go with mode hostNetwork: the port must be shared and the admin port be a socket; write listen = [{ tcp = \":%d\", reuse_port = true }] and, under [admin], listen = \"%s\"" (int $.Values.port) (include "ringroad.adminListen" $)) -}}
{{- end -}}
{{- end -}}
{{- if not (include "ringroad.drainInConfig" .) -}}
{{- fail "config does not say drain in whole seconds, such as drain = \"10s\": the time that a pod has to end follows from it" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "ringroad.checks.end" -}}
{{- $end := include "ringroad.endSeconds" . | int -}}
{{- $grace := include "ringroad.graceSeconds" . | int -}}
{{- if le $grace $end -}}
{{- fail (printf "terminationGracePeriodSeconds is %d, but preStopSleepSeconds, shutdownDelaySeconds and drainSeconds (with config, the first and its drain) add up to %d: ringroad would be killed while it finishes requests. Leave it out, or say %d or more" $grace $end (add $end 1)) -}}
{{- end -}}
{{- end -}}

{{- define "ringroad.checks.memory" -}}
{{- $limit := dig "limits" "memory" "" .Values.resources -}}
{{- $each := dig "limits" "worker_bytes" "" .Values.settings -}}
{{- $limitBytes := include "ringroad.bytes" $limit -}}
{{- $eachBytes := include "ringroad.bytes" $each -}}
{{- if and $limitBytes $eachBytes (gt (mul 4 (int64 $eachBytes) (int .Values.workers)) (mul 3 (int64 $limitBytes))) -}}
{{- fail (printf "settings.limits.worker_bytes is %v for each of %d workers, and resources.limits.memory is %v: leave a quarter of the limit free, or ringroad is killed for its memory" $each (int .Values.workers) $limit) -}}
{{- end -}}
{{- if and $limitBytes (lt (div (int64 $limitBytes) (mul 2 (int .Values.workers))) 4194304) -}}
{{- fail (printf "resources.limits.memory %v is too little for %d workers: they need 8Mi each" $limit (int .Values.workers)) -}}
{{- end -}}
{{- if .Values.memcached.enabled -}}
{{- $server := dig "limits" "memory" "" .Values.memcached.resources -}}
{{- $serverBytes := include "ringroad.bytes" $server -}}
{{- $items := mul (int .Values.memcached.maxMemory) 1048576 -}}
{{- if and $serverBytes (gt (add $items 16777216) (int64 $serverBytes)) -}}
{{- fail (printf "memcached.maxMemory is %d MiB and memcached.resources.limits.memory %v: memcached needs at least 16 MiB more than its items, or it is killed" (int .Values.memcached.maxMemory) $server) -}}
{{- end -}}
{{- end -}}
{{- end -}}
