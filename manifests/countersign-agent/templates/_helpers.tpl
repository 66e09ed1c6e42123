{{- define "countersign-agent.labels" -}}
app.kubernetes.io/name: countersign-agent
app.kubernetes.io/component: agent
app.kubernetes.io/part-of: countersign
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{- define "countersign-agent.selector" -}}
app.kubernetes.io/name: countersign-agent
app.kubernetes.io/component: agent
{{- end -}}

{{- define "countersign-agent.image" -}}
{{ printf "%s@%s" .repository .digest }}
{{- end -}}

{{- define "countersign-agent.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "countersign-agent.workloads" -}}
- apiGroups: [""]
  resources: [configmaps, persistentvolumeclaims, pods, serviceaccounts, services, limitranges, resourcequotas]
- apiGroups: [apps]
  resources: [deployments, statefulsets, daemonsets, replicasets]
- apiGroups: [batch]
  resources: [jobs, cronjobs]
- apiGroups: [networking.k8s.io]
  resources: [ingresses, networkpolicies]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
{{- end -}}

{{- define "countersign-agent.clusterKinds" -}}
- apiGroups: [""]
  resources: [namespaces, persistentvolumes]
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
- apiGroups: [apiregistration.k8s.io]
  resources: [apiservices]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings, clusterroles, clusterrolebindings]
- apiGroups: [admissionregistration.k8s.io]
  resources: [validatingadmissionpolicies, validatingadmissionpolicybindings, validatingwebhookconfigurations, mutatingwebhookconfigurations]
- apiGroups: [storage.k8s.io]
  resources: [storageclasses, csidrivers]
- apiGroups: [scheduling.k8s.io]
  resources: [priorityclasses]
- apiGroups: [node.k8s.io]
  resources: [runtimeclasses]
- apiGroups: [networking.k8s.io]
  resources: [ingressclasses]
{{- end -}}

{{- /* The kinds that are configured, each rule with the verbs given: (dict "root" . "verbs" (list …)) */ -}}
{{- define "countersign-agent.rules" -}}
{{- $rules := include "countersign-agent.workloads" .root | fromYamlArray -}}
{{- if eq .root.Values.rbac.preset "cluster" -}}
{{- $rules = concat $rules (include "countersign-agent.clusterKinds" .root | fromYamlArray) -}}
{{- end -}}
{{- if .root.Values.rbac.secrets -}}
{{- $rules = append $rules (dict "apiGroups" (list "") "resources" (list "secrets")) -}}
{{- end -}}
{{- range .root.Values.rbac.customGroups -}}
{{- $rules = append $rules (dict "apiGroups" (list .) "resources" (list "*")) -}}
{{- end -}}
{{- $rules = concat $rules .root.Values.rbac.extraKinds -}}
{{- $verbs := .verbs -}}
{{- range $rules }}
- apiGroups: {{ toJson .apiGroups }}
  resources: {{ toJson .resources }}
  verbs: {{ toJson $verbs }}
{{- end -}}
{{- end -}}
