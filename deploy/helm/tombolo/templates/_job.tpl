{{/* A hook Job that runs a program's own subcommand.
     (dict "root" $ "name" … "component" … "account" … "hook" … "weight" … "args" (list …)) */}}
{{- define "tombolo.job" -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "tombolo.labels" (dict "root" .root "component" .account) | nindent 4 }}
  annotations:
    helm.sh/hook: {{ .hook }}
    helm.sh/hook-weight: {{ .weight | quote }}
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
spec:
  backoffLimit: 3
  activeDeadlineSeconds: 240
  template:
    metadata:
      # Not the programs' own labels, or their Services would select this pod too.
      labels:
        app.kubernetes.io/part-of: tombolo
        app.kubernetes.io/component: {{ .account }}
    spec:
      restartPolicy: Never
      serviceAccountName: tombolo-{{ .account }}
      automountServiceAccountToken: true
      enableServiceLinks: false
      securityContext:
        {{- include "tombolo.podSecurityContext" . | nindent 8 }}
      {{- with .root.Values.image.pullSecrets }}
      imagePullSecrets:
        {{- range . }}
        - name: {{ . }}
        {{- end }}
      {{- end }}
      {{- with (index .root.Values .component).nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with (index .root.Values .component).tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: {{ .account }}
          image: {{ include "tombolo.image" . }}
          imagePullPolicy: {{ include "tombolo.pullPolicy" . }}
          args:
            {{- toYaml .args | nindent 12 }}
          env:
            {{- include "tombolo.environment" . | nindent 12 }}
          resources:
            requests: {cpu: 10m, memory: 32Mi}
            limits: {memory: 128Mi}
          securityContext:
            {{- include "tombolo.containerSecurityContext" . | nindent 12 }}
{{- end }}
