{{/* What the pods of `helm test` have in common. */}}

{{- define "ringroad.testPod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
volumes:
  - name: test
    configMap:
      name: {{ include "ringroad.fullname" . }}-test
{{- end -}}

{{- define "ringroad.testContainer" -}}
image: {{ include "ringroad.image" (dict "image" .Values.tests.image "default" "latest") | quote }}
imagePullPolicy: {{ .Values.tests.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
resources:
  requests:
    cpu: 10m
    memory: 32Mi
  limits:
    memory: 64Mi
volumeMounts:
  - name: test
    mountPath: /test
    readOnly: true
{{- end -}}
