{{- define "keyward.name" -}}{{ default .Release.Name .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}{{- end }}
{{- define "keyward.labels" -}}
app.kubernetes.io/name: keyward
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}
{{- define "keyward.selector" -}}
app.kubernetes.io/name: keyward
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}
{{- define "keyward.serviceAccount" -}}{{ default (include "keyward.name" .) .Values.serviceAccount.name }}{{- end }}
{{- define "keyward.image" -}}{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}{{- end }}

{{- /* The value of a variable as it was given: Kubernetes expands $(NAME) and makes one $ of
two, and Helm writes a whole number of a file of values as 1e+06. */ -}}
{{- define "keyward.value" -}}{{ (kindIs "string" . | ternary . (toJson .)) | replace "$" "$$" | quote }}{{- end }}

{{- /* The environment of every process. dict: root, secret */ -}}
{{- define "keyward.env" -}}
- {name: KEYWARD_PUBLIC_URL, value: {{ include "keyward.value" .root.Values.publicURL }}}
- {name: KEYWARD_DATABASE_URL, valueFrom: {secretKeyRef: {name: {{ .secret | quote }}, key: url}}}
- {name: KEYWARD_MASTER_KEY, value: {{ if .root.Values.masterKey.secret }}"file:/etc/keyward/master.json"{{ else }}{{ include "keyward.value" .root.Values.masterKey.uri }}{{ end }}}
- {name: KEYWARD_ADMIN_ADDR, value: ":{{ .root.Values.admin.port }}"}
{{- if not (hasKey .root.Values.env "KEYWARD_LOG_FORMAT") }}
- {name: KEYWARD_LOG_FORMAT, value: json}
{{- end }}
- {name: KEYWARD_DRAIN_DELAY, value: {{ .root.Values.drainDelay | quote }}}
{{- range $name, $value := .root.Values.env }}
- {name: {{ $name }}, value: {{ include "keyward.value" $value }}}
{{- end }}
{{- end }}

{{- define "keyward.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}
{{- define "keyward.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}
{{- define "keyward.mounts" -}}
volumeMounts:
  - {name: temporary, mountPath: /tmp}
{{- if .Values.masterKey.secret }}
  - {name: master-key, mountPath: /etc/keyward, readOnly: true}
{{- end }}
{{- end }}
{{- define "keyward.volumes" -}}
volumes:
  - {name: temporary, emptyDir: {}} # checkpoints before they are sent to a bucket
{{- if .Values.masterKey.secret }}
  - name: master-key
    secret: {secretName: {{ .Values.masterKey.secret | quote }}, defaultMode: 0440}
{{- end }}
{{- end }}
{{- define "keyward.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
