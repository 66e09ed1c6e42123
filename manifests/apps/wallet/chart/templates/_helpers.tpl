{{- define "wallet.selector" -}}
app.kubernetes.io/name: wallet
{{- end }}
{{- define "wallet.labels" -}}
{{ include "wallet.selector" . }}
countersign.dev/owner: payments
{{- end }}
