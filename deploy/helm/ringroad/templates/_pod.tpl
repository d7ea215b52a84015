{{/* The pod of ringroad, the same in every mode but for how its port is reached. */}}

{{- define "ringroad.probe" -}}
{{- if .root.Values.mcrouterConfig -}}
tcpSocket:
  port: {{ int .root.Values.port }}
{{- else if eq .root.Values.mode "hostNetwork" -}}
exec:
  command:
    - /usr/local/bin/ringroad
    - health
    - --admin={{ include "ringroad.adminListen" .root }}
    {{- if .live }}
    - --live
    {{- end }}
{{- else -}}
httpGet:
  path: {{ .live | ternary "/healthz" "/readyz" }}
  port: {{ int .root.Values.adminPort }}
{{- end -}}
{{- end -}}

{{- define "ringroad.podTemplate" -}}
metadata:
  labels:
    {{- include "ringroad.selector" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- if or .Values.rollOnConfigChange .Values.podAnnotations }}
  annotations:
    {{- if .Values.rollOnConfigChange }}
    checksum/config: {{ include "ringroad.configData" . | sha256sum }}
    {{- end }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
spec:
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with .Values.serviceAccountName }}
  serviceAccountName: {{ . }}
  {{- end }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if eq .Values.mode "hostNetwork" }}
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  terminationGracePeriodSeconds: {{ include "ringroad.graceSeconds" . }}
  securityContext:
    {{- toYaml .Values.podSecurityContext | nindent 4 }}
  {{- with include "ringroad.spool.prepare" . }}
  {{- . | nindent 2 }}
  {{- end }}
  containers:
    - name: ringroad
      image: {{ include "ringroad.image" (dict "image" .Values.image "default" .Chart.AppVersion) | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      {{- if .Values.mcrouterConfig }}
      command: [mcrouter]
      args:
        - -p
        - {{ int .Values.port | quote }}
        - --config-file={{ include "ringroad.configFile" . }}
        {{- if .Values.spool.enabled }}
        - --async-dir={{ .Values.spool.dir }}
        {{- end }}
        {{- with .Values.mcrouterArgs }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- else }}
      args:
        - run
        - --config={{ include "ringroad.configFile" . }}
        {{- with .Values.extraArgs }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
      {{- with .Values.extraEnv }}
      env:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if ne .Values.mode "hostNetwork" }}
      ports:
        - name: memcache
          containerPort: {{ int .Values.port }}
          {{- if eq .Values.mode "hostPort" }}
          hostPort: {{ int .Values.port }}
          {{- end }}
        {{- if not .Values.mcrouterConfig }}
        - name: admin
          containerPort: {{ int .Values.adminPort }}
        {{- end }}
      {{- end }}
      livenessProbe:
        {{- include "ringroad.probe" (dict "root" . "live" true) | nindent 8 }}
        initialDelaySeconds: 5
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 3
      readinessProbe:
        {{- include "ringroad.probe" (dict "root" . "live" false) | nindent 8 }}
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: 2
      {{- if include "ringroad.canSleep" . }}
      lifecycle:
        preStop:
          sleep:
            seconds: {{ int .Values.preStopSleepSeconds }}
      {{- end }}
      securityContext:
        {{- toYaml .Values.securityContext | nindent 8 }}
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      volumeMounts:
        - name: config
          mountPath: /etc/ringroad
          readOnly: true
        - name: run
          mountPath: /run/ringroad
        {{- if .Values.spool.enabled }}
        - name: spool
          mountPath: {{ .Values.spool.dir }}
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "ringroad.fullname" . }}
    - name: run
      emptyDir:
        medium: Memory
        sizeLimit: 1Mi
    {{- if .Values.spool.enabled }}
    {{- include "ringroad.spool.volume" . | nindent 4 }}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- include "ringroad.placement" . | nindent 2 }}
{{- end -}}

{{/* On which nodes; the test's pods follow. */}}
{{- define "ringroad.placement" -}}
{{- range $key := list "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" -}}
{{- with get $.Values $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* maxUnavailable and maxSurge, with what the chart chooses where they are not given. */}}
{{- define "ringroad.rollingUpdate" -}}
{{- $unavailable := .Values.updateStrategy.maxUnavailable -}}
{{- $surge := .Values.updateStrategy.maxSurge -}}
{{- if kindIs "invalid" $surge -}}
{{- $surge = ternary 0 1 (or (eq .Values.mode "hostPort") (and (ne .Values.mode "deployment") (not (has ($unavailable | toString) (list "<nil>" "0" "0%"))))) -}}
{{- end -}}
{{- if kindIs "invalid" $unavailable -}}
{{- $unavailable = ternary 1 0 (has ($surge | toString) (list "0" "0%")) -}}
{{- end -}}
maxUnavailable: {{ $unavailable }}
maxSurge: {{ $surge }}
{{- end -}}
