# shellcheck shell=bash
# The clusters: kind clusters of one node each, on one docker network that stands for what lies between real clusters. All of
# them have the same pod range and the same service range, so nothing can work by routing pod addresses.

pod_range=10.244.0.0/16
service_range=10.96.0.0/16

cluster_state() { echo "$state/clusters/$1"; }
cluster_node() { echo "$1-control-plane"; }
cluster_address() { docker inspect -f "{{(index .NetworkSettings.Networks \"$network\").IPAddress}}" "$(cluster_node "$1")"; }
made_clusters() { find "$state/clusters" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' 2>/dev/null | sort; }

in_node() { # CLUSTER COMMAND...
  local node
  node=$(cluster_node "$1")
  shift
  docker exec -i "$node" "$@"
}

kind_here() { KIND_EXPERIMENTAL_DOCKER_NETWORK=$network kind "$@"; }

clusters_up() { # CLUSTER...
  local cluster pid pids=() jobs
  network_up
  for cluster; do refuse_foreign_cluster "$cluster"; done
  # A node that starts takes a processor, and 1.5 GB for some time.
  jobs=$(($(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo) / 1572864))
  ((jobs <= $(nproc) + 1)) || jobs=$(($(nproc) + 1))
  for cluster; do
    if ((${#pids[@]} > 0 && ${#pids[@]} >= jobs)); then
      wait "${pids[0]}" || fail "cluster ${cluster} was not made"
      pids=("${pids[@]:1}")
    fi
    cluster_up "$cluster" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || fail 'not all clusters were made'; done
  # One after the other: all write the same file.
  for cluster; do quietly "kubeconfig-$cluster" kind_here export kubeconfig --name "$cluster" --kubeconfig "$kubeconfig"; done
  for cluster; do firewall_up "$cluster"; done
}

# Somebody's own kind cluster may have this name.
refuse_foreign_cluster() {
  local networks
  networks=$(docker inspect -f '{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}' "$(cluster_node "$1")" 2>/dev/null) || return 0
  [[ " $networks" == *" $network "* ]] || fail "there is a kind cluster $1 already, which is not the demo's. See --clusters"
}

cluster_up() {
  local cluster=$1 dir node
  dir=$(cluster_state "$cluster") node=$(cluster_node "$cluster")
  mkdir -p "$dir"
  if [[ -e $dir/made ]] && cluster_answers "$cluster" "$node"; then
    say "cluster $cluster is up"
    return
  fi
  # An interruption may have left half of one.
  rm -f "$dir/made"
  if docker inspect "$node" >/dev/null 2>&1; then quietly "delete-$cluster" kind_here delete cluster --name "$cluster" --kubeconfig "$dir/kubeconfig"; fi
  say "making cluster $cluster"
  local began=$SECONDS
  kind_config >"$dir/kind.yaml"
  quietly "create-$cluster" kind_here create cluster --name "$cluster" --image "$node_image" --config "$dir/kind.yaml" \
    --kubeconfig "$dir/kubeconfig" --wait 180s
  # kind's wait is for the node. What the first pod needs comes some seconds later; there is something to do meanwhile.
  load_images "$cluster" "$(toolbox_image)" "${toolbox_aliases[@]}"
  wait_for 120 "the default service account in $cluster" kubectl --kubeconfig "$dir/kubeconfig" -n default get serviceaccount default
  quietly "coredns-$cluster" kubectl --kubeconfig "$dir/kubeconfig" -n kube-system rollout status deployment/coredns --timeout 180s
  touch "$dir/made"
  say "cluster $cluster is up, after $((SECONDS - began)) s"
}

cluster_answers() { # CLUSTER NODE
  local running
  running=$(docker inspect -f '{{.State.Running}}' "$2" 2>/dev/null) || return 1
  if [[ $running != true ]]; then
    say "starting the node of cluster $1 again"
    docker start "$2" >/dev/null || return 1
  fi
  local until=$((SECONDS + 90))
  until docker exec "$2" kubectl --kubeconfig /etc/kubernetes/admin.conf get --raw /readyz >/dev/null 2>&1; do
    ((SECONDS < until)) || return 1
    sleep 1
  done
}

kind_config() {
  cat <<CONFIG
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
networking:
  podSubnet: $pod_range
  serviceSubnet: $service_range
  # The stock image brings kind's own network, ours a bridge.
  disableDefaultCNI: $([[ $node_image_is_stock == true ]] && echo false || echo true)
nodes:
  - role: control-plane
CONFIG
  [[ ! -e /sys/fs/cgroup/cgroup.controllers ]] || return 0
  cat <<CONFIG
kubeadmConfigPatches:
  - |
    kind: KubeletConfiguration
    apiVersion: kubelet.config.k8s.io/v1beta1
    # This machine has only the old cgroups.
    failCgroupV1: false
CONFIG
}

# Lets nothing of another cluster into a node but packets to the gateways' port, and answers. The API server, kubelet, pods
# and services of a cluster are then out of reach for the others, as between clusters in different networks.
firewall_up() {
  local cluster=$1 host node
  node=$(cluster_address "$cluster")
  host=$(docker network inspect -f '{{(index .IPAM.Config 0).Gateway}}' "$network")
  # In mangle, which comes before the address translation of node ports: the packet still has the port it was sent to.
  # Built beside the old chain and put in its place at once, so that a second run leaves no gap.
  quietly "firewall-$cluster" in_node "$cluster" sh -euc "
    iptables-restore --wait --noflush <<RULES
*mangle
:TOMBOLO-DEMO - [0:0]
-A TOMBOLO-DEMO -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN
-A TOMBOLO-DEMO -s $host -j RETURN
-A TOMBOLO-DEMO -d $node -p udp --dport $gateway_port -j RETURN
-A TOMBOLO-DEMO -j DROP
COMMIT
RULES
    iptables -w -t mangle -C PREROUTING -i eth0 -j TOMBOLO-DEMO 2>/dev/null || iptables -w -t mangle -I PREROUTING -i eth0 -j TOMBOLO-DEMO
    if [ \"\$(cat /proc/sys/net/ipv6/conf/eth0/disable_ipv6 2>/dev/null || echo 1)\" = 0 ]; then
      ip6tables -w -t mangle -C PREROUTING -i eth0 -j DROP 2>/dev/null || ip6tables -w -t mangle -I PREROUTING -i eth0 -j DROP
    fi" || fail "the firewall of cluster $cluster"
}

# Puts images of the engine into a cluster's node, unless they are there: load_images CLUSTER IMAGE...
load_images() {
  local cluster=$1 image there missing=()
  shift
  there=$(in_node "$cluster" ctr -n k8s.io images ls -q </dev/null 2>/dev/null)
  for image; do
    # containerd puts a registry before the name.
    [[ $there$'\n' == *"/$image"$'\n'* ]] || missing+=("$image")
  done
  ((${#missing[@]})) || return 0
  say "loading into $cluster: ${missing[*]}"
  mkdir -p "$state/log"
  docker save "${missing[@]}" | in_node "$cluster" ctr -n k8s.io images import --local --snapshotter overlayfs - >"$state/log/load-$cluster" 2>&1 || {
    tail -n 20 "$state/log/load-$cluster" >&2
    fail "images were not loaded into $cluster"
  }
}

clusters_down() {
  local cluster
  for cluster in $(made_clusters); do
    if docker inspect "$(cluster_node "$cluster")" >/dev/null 2>&1; then
      say "removing cluster $cluster"
      quietly "delete-$cluster" kind_here delete cluster --name "$cluster" --kubeconfig "$kubeconfig"
    fi
    rm -rf "$(cluster_state "$cluster")"
  done
  if docker network inspect "$network" >/dev/null 2>&1; then docker network rm "$network" >/dev/null; fi
}
