# shellcheck shell=bash
# Installs Tombolo in each cluster with its Helm chart, and links every cluster to every other.

install_tombolo() { # CLUSTER...
  local cluster pid pids=()
  for cluster; do
    install_in_cluster "$cluster" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || fail 'Tombolo is not installed in all clusters'; done
}

# Hosts outside Kubernetes may be exported if they are in 198.51.100.0/24, a range that is nobody's (RFC 5737).
install_in_cluster() {
  local cluster=$1 program images=()
  for program in "${tombolo_programs[@]}"; do images+=("$program:$tombolo_tag"); done
  load_images "$cluster" "${images[@]}"
  say "installing Tombolo in $cluster"
  # A machine that is busy with other things may have it away for a moment, which helm takes for the end.
  wait_for 120 "the API server of $cluster" k "$cluster" get --raw /readyz
  # An interrupted helm leaves a release that it then refuses to touch.
  case $(helm_in "$cluster" status tombolo -n tombolo-system -o json 2>/dev/null | jq -r .info.status) in
    pending-install | uninstalling) quietly "helm-clean-$cluster" helm_in "$cluster" uninstall tombolo -n tombolo-system --no-hooks ;;
    pending-*) quietly "helm-clean-$cluster" helm_in "$cluster" rollback tombolo -n tombolo-system --no-hooks ;;
  esac
  quietly "helm-$cluster" helm_in "$cluster" upgrade --install tombolo "$checkout/deploy/helm/tombolo" \
    -n tombolo-system --create-namespace --set "clusterID=$cluster" --set clusterset=demo --set "image.tag=$tombolo_tag" \
    --set gateway.service.type=NodePort --set "gateway.service.nodePort=$gateway_port" \
    --set "gateway.allowedEndpointCIDRs={198.51.100.0/24}" --wait --timeout 5m
  reload_coredns "$cluster"
  say "Tombolo runs in $cluster"
}

helm_in() { # CLUSTER ARGUMENTS...
  local cluster=$1
  shift
  helm --kubeconfig "$kubeconfig" --kube-context "kind-$cluster" "$@"
}

# CoreDNS finds a new Corefile only when the kubelet has brought it, up to a minute later; a restart has it at once.
reload_coredns() {
  local cluster=$1 file corefile
  file=$(cluster_state "$cluster")/corefile
  corefile=$(k "$cluster" -n kube-system get configmap coredns -o 'jsonpath={.data.Corefile}' | hash_of)
  [[ $(cat "$file" 2>/dev/null) != "$corefile" ]] || return 0
  quietly "coredns-$cluster" k "$cluster" -n kube-system rollout restart deployment/coredns
  quietly "coredns-$cluster" k "$cluster" -n kube-system rollout status deployment/coredns --timeout 120s
  echo "$corefile" >"$file"
}

link_clusters() { # CLUSTER...
  local here there
  say "linking $*"
  for there; do
    for here; do
      if [[ $(cluster_family "$here")/$(cluster_family "$there") == ipv4/ipv6 ]]; then translator_up "$there"; fi
    done
  done
  for there; do
    wait_for 120 "the CA of $there (ConfigMap tombolo-ca)" has_ca "$there"
    for here; do
      [[ $here == "$there" ]] || introduce "$there" "$here"
    done
  done
  for there; do
    for here; do
      [[ $here == "$there" ]] ||
        quietly "connected-$here-$there" k "$here" wait "peers.tombolo.io/$there" --for condition=Connected --timeout 120s
    done
  done
  say 'all clusters are linked'
}

has_ca() { [[ -n $(published_ca "$1") ]]; }
published_ca() { k "$1" -n tombolo-system get configmap tombolo-ca -o 'jsonpath={.data.ca\.crt}'; }

# Tells one cluster where another is, and by which CA its gateways are known: introduce OTHER HERE
introduce() {
  local addresses
  mapfile -t addresses < <(dialled_at "$1" "$2")
  jq -n --arg id "$1" --arg ca "$(published_ca "$1")" '{
    apiVersion: "tombolo.io/v1alpha1", kind: "Peer", metadata: {name: $id},
    spec: {clusterID: $id, addresses: $ARGS.positional, caBundle: $ca}}' --args "${addresses[@]}" |
    k "$2" apply --server-side --force-conflicts --field-manager demo -f - >/dev/null
}
