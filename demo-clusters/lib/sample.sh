# shellcheck shell=bash
# The sample: a service in the first cluster, exported, and a client in another that uses it.

sample_name=hello.demo.svc.clusterset.local

sample_up() { # CLUSTER...
  local cluster exporter=$1 importer=$2
  say "the sample: exported from $exporter, used in $importer"
  for cluster; do sample_apply "$cluster" namespace.yaml; done
  sample_apply "$exporter" hello.yaml
  sample_apply "$importer" client.yaml
  quietly sample-hello k "$exporter" -n demo rollout status deployment/hello --timeout 120s
  quietly sample-client k "$importer" -n demo wait pod/client --for condition=Ready --timeout 120s
  echo "$exporter $importer" >"$state/sample"
  wait_for 60 "the name $sample_name in $importer" sample_resolves "$importer"
  # The name may be there a moment before kube-proxy has its rules.
  wait_for 60 "an answer of $sample_name in $importer" sample_answers "$importer"
}

sample_apply() { # CLUSTER FILE
  sed "s|image: tombolo-toolbox$|image: $(toolbox_image)|" "$demo_dir/sample/$2" | k "$1" apply -f - >/dev/null
}

# The name has an address of the importing cluster's first family; dig asks for those of IPv4 unless told.
sample_record() { case $(cluster_family "$1") in ipv6) echo AAAA ;; esac; }

# shellcheck disable=SC2046 # None or one word.
sample_resolves() { [[ -n $(k "$1" -n demo exec client -- dig +short +time=1 +tries=1 "$sample_name" $(sample_record "$1")) ]]; }

sample_answers() { k "$1" -n demo exec client -- curl -sS --fail --max-time 1 "http://$sample_name/hostname"; }

sample_show() { # CLUSTER...
  local cluster exporter=$1 importer=$2
  # shellcheck disable=SC2046 # None or one word.
  shown "$importer" -n demo exec client -- dig +noall +answer "$sample_name" $(sample_record "$importer")
  for _ in 1 2 3 4 5; do shown "$importer" -n demo exec client -- curl -sS --max-time 5 "http://$sample_name/hostname"; done
  shown "$exporter" -n demo get pods -o wide
  for cluster in "$exporter" "$importer"; do shown "$cluster" get serviceexports,serviceimports,peers -A; done
}

# Shows a command as one would type it, and runs it.
shown() { # CLUSTER ARGUMENTS...
  local cluster=$1 status=0
  shift
  printf '\n$ kubectl --context kind-%s %s\n' "$cluster" "$*"
  k "$cluster" "$@" || status=$?
  # Programs that answer in a line without an end.
  case " $* " in *' curl '*) echo ;; esac
  return "$status"
}
