# shellcheck shell=bash
# IP families. A cluster has IPv4 alone, IPv6 alone, or both. All clusters of a family have the same pod range and the same
# service range, so nothing can work by routing pod addresses.

pod_range=10.244.0.0/16
pod_range6=fd00:10:244::/56
service_range=10.96.0.0/16
service_range6=fd00:10:96::/112

# A docker network has IPv6 from its beginning or never: clusters that need it have one of their own.
network6=$network-ipv6
network6_range=fd00:10:89::/64
network6_gateway=fd00:10:89::1

# Prints a family for each cluster: families_of FAMILY[,…] CLUSTER...
families_of() {
  local given family
  IFS=, read -ra given <<<"$1"
  shift
  for family in "${given[@]}"; do
    case $family in
      ipv4 | ipv6 | dual) ;;
      *) fail "--ip-family takes ipv4, ipv6 or dual, not '$family'" ;;
    esac
  done
  case ${#given[@]} in
    1) for _; do echo "${given[0]}"; done ;;
    "$#") printf '%s\n' "${given[@]}" ;;
    *) fail "--ip-family takes one for all clusters, or one for each: there are $# clusters and ${#given[@]} families" ;;
  esac
}

cluster_family() { cat "$(cluster_state "$1")/family" 2>/dev/null || echo ipv4; }
cluster_network() { cat "$(cluster_state "$1")/network" 2>/dev/null || echo "$network"; }

# Its node's address: cluster_address CLUSTER [4|6]
cluster_address() {
  local field=IPAddress
  [[ ${2:-4} == 4 ]] || field=GlobalIPv6Address
  docker inspect -f "{{(index .NetworkSettings.Networks \"$(cluster_network "$1")\").$field}}" "$(cluster_node "$1")"
}

# Where pods of one cluster reach the gateways of another, one address a line; nothing if they have no family in common.
# dialled_at OTHER HERE
dialled_at() {
  local address4 address6
  address4=$(cluster_address "$1" 4):$gateway_port
  address6=[$(cluster_address "$1" 6)]:$gateway_port
  case $(cluster_family "$2")/$(cluster_family "$1") in
    # For a cluster of IPv6 alone, that of its translator.
    ipv4/*) echo "$address4" ;;
    ipv6/ipv4) ;;
    ipv6/*) echo "$address6" ;;
    dual/ipv4) echo "$address4" ;;
    dual/ipv6) echo "$address6" ;;
    dual/dual) printf '%s\n' "$address6" "$address4" ;;
  esac
}

# Takes the links' packets at the node's IPv4 address to gateways that have IPv6 alone: what a load balancer of both families,
# or a NAT64, does between real clusters. Without one, clusters of one family each cannot be linked, whoever dials.
translator_up() { # CLUSTER
  k "$1" apply -f - >/dev/null <<POD
apiVersion: v1
kind: Pod
metadata: {name: tombolo-translator, namespace: kube-system}
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 0
  containers:
    - name: translator
      image: $(toolbox_image)
      imagePullPolicy: IfNotPresent
      env: [{name: NODE, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}]
      # A flow that is silent for longer than a link ever is has ended.
      command: [socat, -T120, "UDP4-LISTEN:$gateway_port,fork,reuseaddr", "UDP6:[\$(NODE)]:$gateway_port"]
POD
  quietly "translator-$1" k "$1" -n kube-system wait pod/tombolo-translator --for condition=Ready --timeout 120s
}

# What kind is to know of a cluster's network.
kind_networking() { # FAMILY
  case $1 in
    ipv4)
      echo "  podSubnet: $pod_range"
      echo "  serviceSubnet: $service_range"
      ;;
    ipv6)
      echo '  ipFamily: ipv6'
      # Else kind publishes the API server at ::1, which not every machine has.
      echo '  apiServerAddress: 127.0.0.1'
      echo "  podSubnet: $pod_range6"
      echo "  serviceSubnet: $service_range6"
      ;;
    dual)
      echo '  ipFamily: dual'
      echo "  podSubnet: $pod_range,$pod_range6"
      echo "  serviceSubnet: $service_range,$service_range6"
      ;;
  esac
}

# The pods' network on our node image, which has that of IPv4. A node has the first part of the range.
cni_config() { # FAMILY
  local ranges='' routes=''
  if [[ $1 != ipv6 ]]; then
    ranges+="[{\"subnet\": \"${pod_range%/*}/24\"}],"
    routes+='{"dst": "0.0.0.0/0"},'
  fi
  if [[ $1 != ipv4 ]]; then
    ranges+="[{\"subnet\": \"${pod_range6%/*}/64\"}],"
    routes+='{"dst": "::/0"},'
  fi
  cat <<CNI
{"cniVersion": "1.0.0", "name": "bridge", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [${ranges%,}], "routes": [${routes%,}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
CNI
}
