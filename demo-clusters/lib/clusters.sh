# shellcheck shell=bash
# The clusters: kind clusters of one node each, on one docker network that stands for what lies between real clusters.

cluster_state() { echo "$state/clusters/$1"; }
cluster_node() { echo "$1-control-plane"; }
made_clusters() { find "$state/clusters" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' 2>/dev/null | sort; }

in_node() { # CLUSTER COMMAND...
  local node
  node=$(cluster_node "$1")
  shift
  docker exec -i "$node" "$@"
}

kind_here() { # CLUSTER ARGUMENTS...
  local cluster=$1
  shift
  KIND_EXPERIMENTAL_DOCKER_NETWORK=$(cluster_network "$cluster") kind "$@" --name "$cluster"
}

# Makes clusters; the families are one for each, or '' for what those that are up have, and IPv4 for new ones.
clusters_up() { # FAMILIES CLUSTER...
  local families=$1 cluster pid pids=() jobs
  shift
  for cluster; do refuse_foreign_cluster "$cluster"; done
  plan_families "$families" "$@"
  network_up "$(cluster_network "$1")"
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
  for cluster; do quietly "kubeconfig-$cluster" kind_here "$cluster" export kubeconfig --kubeconfig "$kubeconfig"; done
  for cluster; do firewall_up "$cluster"; done
}

# Somebody's own kind cluster may have this name.
refuse_foreign_cluster() {
  local networks
  networks=$(docker inspect -f '{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}' "$(cluster_node "$1")" 2>/dev/null) || return 0
  [[ " $networks" == *" $network "* || " $networks" == *" $network6 "* ]] ||
    fail "there is a kind cluster $1 already, which is not the demo's. See --clusters"
}

# Notes which family each cluster gets, and the network that all of them share. What is made already stays as it is.
plan_families() { # FAMILIES CLUSTER...
  local wanted=() cluster remedy place=$network each=0
  if [[ -n $1 ]]; then
    mapfile -t wanted <<<"$1"
  else
    for cluster in "${@:2}"; do wanted+=("$(cluster_family "$cluster")"); done
  fi
  shift
  [[ " ${wanted[*]} " =~ ^(\ ipv4)+\ $ ]] || place=$network6
  for cluster; do
    if [[ -e $(cluster_state "$cluster")/made ]]; then
      remedy="'$0 down --clusters $cluster' removes it"
      [[ $(cluster_family "$cluster") == "${wanted[each]}" ]] ||
        fail "cluster $cluster is up as $(cluster_family "$cluster"), not ${wanted[each]}: $remedy"
      [[ $(cluster_network "$cluster") == "$place" ]] ||
        fail "cluster $cluster is on the network $(cluster_network "$cluster"), the others are to be on $place: $remedy"
    fi
    each=$((each + 1))
  done
  each=0
  for cluster; do
    mkdir -p "$(cluster_state "$cluster")"
    echo "${wanted[each]}" >"$(cluster_state "$cluster")/family"
    echo "$place" >"$(cluster_state "$cluster")/network"
    each=$((each + 1))
  done
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
  if docker inspect "$node" >/dev/null 2>&1; then quietly "delete-$cluster" kind_here "$cluster" delete cluster --kubeconfig "$dir/kubeconfig"; fi
  say "making cluster $cluster"
  local began=$SECONDS
  kind_config "$cluster" >"$dir/kind.yaml"
  quietly "create-$cluster" kind_here "$cluster" create cluster --image "$node_image" --config "$dir/kind.yaml" \
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

kind_config() { # CLUSTER
  local dir family
  dir=$(cluster_state "$1") family=$(cluster_family "$1")
  cat <<CONFIG
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
networking:
$(kind_networking "$family")
  # The stock image brings kind's own network, ours a bridge.
  disableDefaultCNI: $([[ $node_image_is_stock == true ]] && echo false || echo true)
nodes:
  - role: control-plane
CONFIG
  if [[ $node_image_is_stock != true && $family != ipv4 ]]; then
    cni_config "$family" >"$dir/cni.conflist"
    cat <<CONFIG
    extraMounts:
      - {hostPath: $dir/cni.conflist, containerPath: /etc/cni/net.d/10-bridge.conflist, readOnly: true}
CONFIG
  fi
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
firewall_up() { # CLUSTER
  local cluster=$1 script
  script=$(firewall_script "$cluster" 4)
  if [[ $(cluster_family "$cluster") == ipv4 ]]; then
    script+="
    if [ \"\$(cat /proc/sys/net/ipv6/conf/eth0/disable_ipv6 2>/dev/null || echo 1)\" = 0 ]; then
      ip6tables -w -t mangle -C PREROUTING -i eth0 -j DROP 2>/dev/null || ip6tables -w -t mangle -I PREROUTING -i eth0 -j DROP
    fi"
  else
    script+=$'\n'$(firewall_script "$cluster" 6)
  fi
  quietly "firewall-$cluster" in_node "$cluster" sh -euc "$script" || fail "the firewall of cluster $cluster"
}

# The rules of one family, as a script for the node: firewall_script CLUSTER 4|6
firewall_script() {
  local host node tables=iptables neighbours=''
  node=$(cluster_address "$1" "$2")
  host=$(network_gateway "$(cluster_network "$1")" "$2")
  if [[ $2 == 6 ]]; then
    tables=ip6tables
    # What ARP is to IPv4 are packets in IPv6.
    neighbours='-A TOMBOLO-DEMO -p ipv6-icmp --icmpv6-type neighbour-solicitation -j RETURN
-A TOMBOLO-DEMO -p ipv6-icmp --icmpv6-type neighbour-advertisement -j RETURN'
  fi
  # In mangle, which comes before the address translation of node ports: the packet still has the port it was sent to.
  # Built beside the old chain and put in its place at once, so that a second run leaves no gap.
  cat <<SCRIPT
    $tables-restore --wait --noflush <<RULES
*mangle
:TOMBOLO-DEMO - [0:0]
-A TOMBOLO-DEMO -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN
$neighbours
-A TOMBOLO-DEMO -s $host -j RETURN
-A TOMBOLO-DEMO -d $node -p udp --dport $gateway_port -j RETURN
-A TOMBOLO-DEMO -d $node -p tcp --dport $gateway_port -j RETURN
-A TOMBOLO-DEMO -j DROP
COMMIT
RULES
    $tables -w -t mangle -C PREROUTING -i eth0 -j TOMBOLO-DEMO 2>/dev/null || $tables -w -t mangle -I PREROUTING -i eth0 -j TOMBOLO-DEMO
SCRIPT
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

clusters_down() { # CLUSTER...
  local cluster place used=''
  for cluster; do
    if docker inspect "$(cluster_node "$cluster")" >/dev/null 2>&1; then
      say "removing cluster $cluster"
      quietly "delete-$cluster" kind_here "$cluster" delete cluster --kubeconfig "$kubeconfig"
    fi
    rm -rf "$(cluster_state "$cluster")"
  done
  for cluster in $(made_clusters); do used+=" $(cluster_network "$cluster") "; done
  for place in "$network" "$network6"; do
    if [[ $used != *" $place "* ]] && docker network inspect "$place" >/dev/null 2>&1; then docker network rm "$place" >/dev/null; fi
  done
}
