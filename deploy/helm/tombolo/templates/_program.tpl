{{/* This cluster's ID: of its ClusterProperty, as the operator reads it, or else the value. */}}
{{- define "tombolo.clusterID" -}}
{{- $property := dict -}}
{{- if .Capabilities.APIVersions.Has "about.k8s.io/v1beta1/ClusterProperty" -}}
  {{- $property = lookup "about.k8s.io/v1beta1" "ClusterProperty" "" "cluster.clusterset.k8s.io" -}}
{{- end -}}
{{- dig "spec" "value" .Values.clusterID $property -}}
{{- end -}}

{{/* What the three programs have in common. Each takes (dict "root" $ "component" "gateway" …). */}}

{{- define "tombolo.labels" -}}
app.kubernetes.io/name: tombolo
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{/* Selectors are immutable, so they hold nothing that a version or a release name changes. */}}
{{- define "tombolo.selector" -}}
app.kubernetes.io/name: tombolo
tombolo.io/component: {{ .component }}
{{- end }}

{{- define "tombolo.image" -}}
{{- $image := (index .root.Values .component).image -}}
{{- with .root.Values.image.registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- $image.repository }}:{{ coalesce $image.tag .root.Values.image.tag .root.Chart.AppVersion }}
{{- end }}

{{- define "tombolo.pullPolicy" -}}
{{- $image := (index .root.Values .component).image -}}
{{- coalesce $image.pullPolicy .root.Values.image.pullPolicy }}
{{- end }}

{{- define "tombolo.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "tombolo.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "tombolo.podMetadata" -}}
labels:
  {{- include "tombolo.selector" . | nindent 2 }}
  app.kubernetes.io/instance: {{ .root.Release.Name }}
  app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
annotations:
  kubectl.kubernetes.io/default-container: {{ .component }}
  {{- with (index .root.Values .component).podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* Where the pods of a program run: apart from each other where there is room. */}}
{{- define "tombolo.scheduling" -}}
{{- $program := index .root.Values .component -}}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with $program.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $program.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $program.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if $program.affinity }}
affinity:
  {{- toYaml $program.affinity | nindent 2 }}
{{- else if eq .component "operator" }}
# A node that dies is to take either a gateway or the operator's leader with it, who takes the dead
# gateway out of the slices; both at once only where there are too few nodes.
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      {{- range $component := list "operator" "gateway" }}
      - weight: {{ ternary 100 50 (eq $component "operator") }}
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- include "tombolo.selector" (dict "component" $component) | nindent 14 }}
      {{- end }}
{{- end }}
topologySpreadConstraints:
  {{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - topologyKey: {{ $key }}
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    matchLabelKeys: [pod-template-hash]
    labelSelector:
      matchLabels:
        {{- include "tombolo.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}

{{- define "tombolo.environment" -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: POD_UID
  valueFrom: {fieldRef: {fieldPath: metadata.uid}}
- name: POD_IP
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
- name: POD_IPS
  valueFrom: {fieldRef: {fieldPath: status.podIPs}}
- name: NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
{{- with .terminationGracePeriodSeconds }}
# Less than the pod has, or the kubelet's kill would come before the program's own end.
- name: TOMBOLO_GRACE_PERIOD
  value: {{ max 1 (sub . 10) | quote }}
{{- end }}
- name: TOMBOLO_LOG
  value: {{ .root.Values.log.filter | quote }}
- name: TOMBOLO_LOG_FORMAT
  value: {{ .root.Values.log.format }}
{{- end }}

{{- define "tombolo.probes" -}}
readinessProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 2
  timeoutSeconds: 2
livenessProbe:
  httpGet: {path: /livez, port: admin}
  initialDelaySeconds: 5
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
{{- end }}
