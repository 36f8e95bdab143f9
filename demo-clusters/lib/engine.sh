# shellcheck shell=bash
# The container engine: the user's docker if it answers, else a dockerd of the demo's own, which shares nothing with the
# machine: own directories and socket, no iptables rules (nodes talk over one bridge, ports are published by a proxy
# process), no forwarding, no default bridge.

engine_dir=$state/engine
engine_socket=$engine_dir/docker.sock
engine_data=$cache/docker
engine_cgroup=tombolo-demo
engine_cpu_shares=65536

# The process of a file, if it is still the one that was started: its number may have been given to another since.
engine_process() { # PID-FILE CONFIGURATION-FILE
  local pid
  pid=$(cat "$1" 2>/dev/null) || return 1
  tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF -- "$2" || return 1
  echo "$pid"
}

own_engine_pid() { engine_process "$engine_dir/dockerd.pid" "$engine_dir/daemon.json"; }

# Finds the engine that runs, without starting any.
engine_find() {
  if [[ -e $engine_dir ]]; then
    own_engine_pid >/dev/null || return 1
    export DOCKER_HOST=unix://$engine_socket
  fi
  command -v docker >/dev/null && timeout 20 docker info >/dev/null 2>&1
}

engine_is_own() { [[ -e $engine_dir ]]; }

engine_up() {
  if engine_find; then return; fi
  ((EUID == 0)) || fail 'docker does not answer. Start it, or run this as root to get an engine for the demo alone'
  say 'starting a docker engine for the demo'
  require_packages docker.io jq
  mkdir -p "$engine_dir" "$engine_data"
  # Of processes that are no more, whose numbers dockerd would take for theirs. A containerd that outlived its dockerd is used again.
  rm -f "$engine_dir/dockerd.pid"
  engine_process "$engine_dir/exec/containerd/containerd.pid" "$engine_dir/exec/containerd/containerd.toml" >/dev/null ||
    rm -f "$engine_dir/exec/containerd/containerd.pid"
  install -m 755 "$demo_dir/lib/runc-without-sys-resource" "$engine_dir/"
  local runtime=runc
  if (((0x$(awk '$1 == "CapBnd:" { print $2 }' /proc/self/status) >> 24 & 1) == 0)); then
    say 'this machine withholds CAP_SYS_RESOURCE: containers do without it'
    runtime=runc-without-sys-resource
  fi
  jq -n --arg data "$engine_data" --arg dir "$engine_dir" --arg socket "unix://$engine_socket" \
    --arg runtime "$runtime" --arg cgroup "/$engine_cgroup" '{
      "data-root": $data, "exec-root": "\($dir)/exec", pidfile: "\($dir)/dockerd.pid", hosts: [$socket],
      runtimes: {"runc-without-sys-resource": {path: "\($dir)/runc-without-sys-resource"}},
      "default-runtime": $runtime, "cgroup-parent": $cgroup, "exec-opts": ["native.cgroupdriver=cgroupfs"],
      bridge: "none", iptables: false, ip6tables: false, "ip-forward": false, "ip-masq": false,
      "log-opts": {"max-size": "10m"}
    }' >"$engine_dir/daemon.json"
  # All clusters together would get no more of a busy machine than one compiler does: leases are lost, requests to etcd time out.
  if [[ -w /sys/fs/cgroup/cpu/cpu.shares ]]; then
    mkdir -p "/sys/fs/cgroup/cpu/$engine_cgroup"
    echo "$engine_cpu_shares" >"/sys/fs/cgroup/cpu/$engine_cgroup/cpu.shares"
  fi
  # A session of its own, or ctrl-C on the demo would end it too; and without the lock, which it would hold for ever.
  setsid dockerd --config-file "$engine_dir/daemon.json" >>"$engine_dir/dockerd.log" 2>&1 </dev/null 8>&- &
  disown
  export DOCKER_HOST=unix://$engine_socket
  local tries=0
  until docker info >/dev/null 2>&1; do
    ((++tries < 120)) || {
      tail -n 20 "$engine_dir/dockerd.log" >&2
      fail "dockerd did not start (its log is $engine_dir/dockerd.log)"
    }
    sleep 0.5
  done
  say 'the docker engine runs'
}

engine_down() {
  engine_is_own || return 0
  local pid
  if pid=$(own_engine_pid); then
    say 'stopping the docker engine'
    kill "$pid"
    timeout 60 tail --pid "$pid" -f /dev/null || fail "dockerd ($pid) does not stop"
  fi
  # What the engine leaves behind, empty.
  find /sys/fs/cgroup -depth -type d -path "*/$engine_cgroup*" -exec rmdir {} + 2>/dev/null || true
  rmdir /run/docker/plugins /run/docker /run/containerd/s /run/containerd 2>/dev/null || true
  rm -rf "$engine_dir"
}

network_up() { # NETWORK
  local ipv6=()
  [[ $1 == "$network" ]] || ipv6=(--ipv6 --subnet "$network6_range" --gateway "$network6_gateway")
  docker network inspect "$1" >/dev/null 2>&1 || docker network create "${ipv6[@]}" "$1" >/dev/null
}

# The machine's own address on a network: network_gateway NETWORK 4|6
network_gateway() {
  local addresses
  addresses=$(docker network inspect -f '{{range .IPAM.Config}}{{println .Gateway}}{{end}}' "$1")
  if [[ $2 == 6 ]]; then grep : <<<"$addresses"; else grep -F . <<<"$addresses"; fi
}

has_image() { docker image inspect "$1" >/dev/null 2>&1; }
image_megabytes() { echo $((($(docker image inspect -f '{{.Size}}' "$1") + 524288) / 1048576)); }

# Images that a newer one has taken the place of. One that a container runs from stays.
remove_other_images() { # IMAGE
  local image
  for image in $(docker images --format '{{.Repository}}:{{.Tag}}' "${1%:*}"); do
    [[ $image == "$1" ]] || docker image rm "$image" >/dev/null 2>&1 || true
  done
  # Importing under a name that is taken leaves the old image without one. In somebody's engine those may be theirs.
  if engine_is_own; then docker image prune --force >/dev/null; fi
}
