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

{{- /* All references to keys that are elsewhere, as one text. */ -}}
{{- define "countersign-hub.keyReferences" -}}
{{- $all := list .Values.keys.log .Values.keys.agentCa -}}
{{- range $environment, $key := .Values.keys.sealers -}}
{{- $all = append $all $key -}}
{{- end -}}
{{- join " " $all -}}
{{- end -}}

{{- /* Not empty if the hub talks to Vault, or to AWS. */ -}}
{{- define "countersign-hub.vault" -}}
{{- if or .Values.vault.address (contains "vault:" (include "countersign-hub.keyReferences" .)) }}yes{{ end -}}
{{- end -}}
{{- define "countersign-hub.aws" -}}
{{- if or .Values.aws.roleArn (contains "awskms:" (include "countersign-hub.keyReferences" .)) }}yes{{ end -}}
{{- end -}}

{{- define "countersign-hub.sealerKeys" -}}
{{- $all := list -}}
{{- range $environment, $key := .Values.keys.sealers -}}
{{- $all = append $all (printf "%s=%s" $environment $key) -}}
{{- end -}}
{{- join "," $all -}}
{{- end -}}

{{- /* Addresses and names; what is secret stands in files. */ -}}
{{- define "countersign-hub.env" -}}
{{- if include "countersign-hub.vault" . }}
- { name: VAULT_ADDR, value: {{ required "vault.address: needed for keys in Vault" .Values.vault.address | quote }} }
- { name: COUNTERSIGN_VAULT_ROLE, value: {{ required "vault.role: needed for keys in Vault" .Values.vault.role | quote }} }
- { name: COUNTERSIGN_VAULT_AUTH_MOUNT, value: {{ .Values.vault.authMount | quote }} }
- { name: COUNTERSIGN_VAULT_JWT_FILE, value: /var/run/secrets/countersign/vault/token }
{{- with .Values.vault.namespace }}
- { name: VAULT_NAMESPACE, value: {{ . | quote }} }
{{- end }}
{{- if .Values.vault.caConfigMap }}
- { name: VAULT_CACERT, value: /etc/countersign/vault/ca.crt }
{{- end }}
{{- end }}
{{- with .Values.aws.kmsEndpoint }}
- { name: AWS_ENDPOINT_URL_KMS, value: {{ . | quote }} }
{{- end }}
{{- end -}}
