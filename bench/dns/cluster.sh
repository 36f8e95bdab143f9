# shellcheck shell=bash disable=SC2154
# A real API server that has the imports.

# The objects as etcd keeps them, in transactions of 250: one a line.
transactions() { # IMPORTS
  jq --null-input --compact-output --argjson n "$1" '
    def metadata($name; $i): {
      name: $name, namespace: "ns-\($i % 100)", uid: "00000000-0000-4000-8000-\(1000000000000 + $i | tostring[1:])",
      creationTimestamp: "2026-01-01T00:00:00Z"};
    def address($net; $i): "10.\($net + ($i / 65536 | floor)).\($i / 256 % 256 | floor).\($i % 256)";
    def put($key; $value): {requestPut: {key: ("/registry/" + $key | @base64), value: ($value | tojson | @base64)}};
    def namespace($i): put("namespaces/ns-\($i)"; {
      apiVersion: "v1", kind: "Namespace", metadata: (metadata("ns-\($i)"; $i) | del(.namespace)),
      spec: {finalizers: ["kubernetes"]}, status: {phase: "Active"}});
    def imported($i): put("multicluster.x-k8s.io/serviceimports/ns-\($i % 100)/svc-\($i)"; {
      apiVersion: "multicluster.x-k8s.io/v1beta1", kind: "ServiceImport", metadata: metadata("svc-\($i)"; $i),
      spec: {type: "ClusterSetIP", ips: [address(64; $i)], ports: [{name: "http", protocol: "TCP", port: 80}]}});
    def sliced($i): put("endpointslices/ns-\($i % 100)/svc-\($i)"; {
      apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice",
      metadata: (metadata("svc-\($i)"; $i) + {labels: {
        "multicluster.kubernetes.io/service-name": "svc-\($i)", "multicluster.kubernetes.io/source-cluster": "east"}}),
      addressType: "IPv4", ports: [{name: "http", protocol: "TCP", port: 80}],
      endpoints: [range(3) | {addresses: [address(128 + . * 2; $i)], conditions: {ready: true}}]});
    {success: [range(100) | namespace(.)]},
    (range(0; $n; 125) as $first | {success: [range($first; [$first + 125, $n] | min) | imported(.), sliced(.)]})'
}

free_port() {
  local port
  while port=$((20000 + RANDOM % 10000)) && ss -Hlnut "sport = :$port" | grep -q .; do :; done
  echo "$port"
}

# Sets kubeconfig.
start_cluster() { # IMPORTS
  local client peer port
  client=http://127.0.0.1:$(free_port) peer=http://127.0.0.1:$(free_port) port=$(free_port)
  start etcd "$etcd" --data-dir="$work/etcd" --unsafe-no-fsync --max-txn-ops=1000 --listen-client-urls="$client" \
    --advertise-client-urls="$client" --listen-peer-urls="$peer" --initial-advertise-peer-urls="$peer" \
    --initial-cluster="default=$peer"
  wait_for 60 etcd curl --fail --silent "$client/health"
  # The shell itself would read a line by the octet.
  transactions "$1" | split --lines=1 --filter="curl --fail --silent --show-error --output /dev/null --data-binary @- $client/v3/kv/txn"
  openssl genrsa -out "$work/key" 2048 2>/dev/null
  openssl rsa -in "$work/key" -pubout -out "$work/key.pub" 2>/dev/null
  echo 'bench,admin,admin,system:masters' >"$work/tokens"
  start api-server "$api_server" --etcd-servers="$client" --bind-address=127.0.0.1 --secure-port="$port" --cert-dir="$work" \
    --token-auth-file="$work/tokens" --authorization-mode=AlwaysAllow --service-cluster-ip-range=10.32.0.0/16 \
    --service-account-key-file="$work/key.pub" --service-account-signing-key-file="$work/key" \
    --service-account-issuer=https://kubernetes.default.svc --endpoint-reconciler-type=none
  kubeconfig=$work/kubeconfig
  cat >"$kubeconfig" <<END
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:$port", insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: bench}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
END
  wait_for 120 'the API server' "$kubectl" --kubeconfig "$kubeconfig" get --raw /readyz
  "$kubectl" --kubeconfig "$kubeconfig" apply --server-side -f crds/yaml/multicluster.x-k8s.io_serviceimports.yaml >/dev/null
  wait_for 120 'the imports' "$kubectl" --kubeconfig "$kubeconfig" -n ns-0 get serviceimport svc-0
}

# A headless import with one endpoint, for changes.
create_headless() {
  local object='{"apiVersion": "multicluster.x-k8s.io/v1beta1", "kind": "ServiceImport",
    "metadata": {"name": "headless", "namespace": "ns-0"}, "spec": {"type": "Headless", "ports": [{"port": 80, "protocol": "TCP"}]}}'
  local slice='{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "headless", "namespace": "ns-0",
    "labels": {"multicluster.kubernetes.io/service-name": "headless", "multicluster.kubernetes.io/source-cluster": "east"}},
    "addressType": "IPv4", "ports": [{"port": 80, "protocol": "TCP"}],
    "endpoints": [{"addresses": ["10.200.0.0"], "conditions": {"ready": true}}]}'
  printf '%s\n---\n%s\n' "$object" "$slice" | "$kubectl" --kubeconfig "$kubeconfig" apply --server-side -f - >/dev/null
}
