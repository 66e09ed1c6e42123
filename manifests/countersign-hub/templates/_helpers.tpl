{{- define "countersign-hub.labels" -}}
app.kubernetes.io/name: countersign-hub
app.kubernetes.io/component: hub
app.kubernetes.io/part-of: countersign
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{- define "countersign-hub.selector" -}}
app.kubernetes.io/name: countersign-hub
app.kubernetes.io/component: hub
{{- end -}}

{{- define "countersign-hub.image" -}}
{{ printf "%s@%s" .repository .digest }}
{{- end -}}

{{- define "countersign-hub.listenNames" -}}
{{- $service := list .Release.Name (printf "%s.%s" .Release.Name .Release.Namespace) (printf "%s.%s.svc" .Release.Name .Release.Namespace) (printf "%s.%s.svc.cluster.local" .Release.Name .Release.Namespace) -}}
{{- concat (list "localhost" "127.0.0.1") $service .Values.listenNames | join "," -}}
{{- end -}}

{{- define "countersign-hub.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}
