# shellcheck shell=bash disable=SC2034,SC2154
# The three servers, each on a port of its own, and what they are asked.

declare -A pids=() ports=()

start() { # NAME PROGRAM ARGUMENTS...
  local name=$1
  shift
  "$@" >"$work/$name.log" 2>&1 </dev/null &
  pids[$name]=$!
}

# A server: on the first core where it is to have one.
start_server() { # NAME PROGRAM ARGUMENTS...
  local name=$1
  shift
  if ((cores == 1)); then
    start "$name" taskset --cpu-list 0 "$@"
  else
    start "$name" "$@"
  fi
}

stop_all() {
  local name
  # What writes to the API server ends before it.
  for name in "${!pids[@]}"; do kill -KILL "${pids[$name]}" 2>/dev/null || true; done
  for name in "${!pids[@]}"; do wait "${pids[$name]}" 2>/dev/null || true; done
  pids=()
}

answers() { # PORT NAME
  kdig +time=1 +retry=0 +short @127.0.0.1 -p "$1" "$2" A | grep -q .
}

start_coredns() {
  ports[coredns]=$(free_port)
  cat >"$work/Corefile" <<END
clusterset.local:${ports[coredns]} {
  bind 127.0.0.1
  errors
  kubernetes clusterset.local {
    kubeconfig $kubeconfig
    multicluster clusterset.local
    startup_timeout 300s
  }
}
END
  start_server coredns "$coredns" -conf "$work/Corefile"
  wait_for 600 CoreDNS answers "${ports[coredns]}" svc-0.ns-0.svc.clusterset.local
}

start_tombolo() { # NAME PROGRAM
  ports[$1]=$(free_port)
  KUBECONFIG=$kubeconfig start_server "$1" "$2" --listen "127.0.0.1:${ports[$1]}" --admin-address 127.0.0.1:0
  wait_for 600 "$1" answers "${ports[$1]}" svc-0.ns-0.svc.clusterset.local
}

# The same as a server block of a Corefile, as the resolver of a node has it.
start_tombolo_block() { # NAME PROGRAM
  ports[$1]=$(free_port)
  cat >"$work/Corefile-$1" <<END
clusterset.local:${ports[$1]} {
  bind 127.0.0.1
  errors
  multicluster
  loadbalance
  prometheus 127.0.0.1:$(free_port)
}
END
  KUBECONFIG=$kubeconfig start_server "$1" "$2" --corefile "$work/Corefile-$1" --admin-address 127.0.0.1:0
  wait_for 600 "$1" answers "${ports[$1]}" svc-0.ns-0.svc.clusterset.local
}

# Knot also has the names that the others forward.
start_knot() { # IMPORTS
  local soa
  soa='@ 5 SOA ns.dns hostmaster 1 7200 1800 86400 5'
  {
    echo "$soa"
    echo '@ 5 NS ns.dns'
    awk -v n="$1" 'BEGIN { for (i = 0; i < n; i++) {
      name = sprintf("svc-%d.ns-%d.svc", i, i % 100)
      printf "%s 5 A 10.%d.%d.%d\n", name, 64 + int(i / 65536), int(i / 256) % 256, i % 256
      printf "_http._tcp.%s 5 SRV 0 100 80 %s\n", name, name
    } }'
  } >"$work/clusterset.local.zone"
  {
    echo "$soa"
    echo '@ 5 NS ns.dns'
    awk 'BEGIN { for (i = 0; i < 1000; i++) printf "host-%d 300 A 192.0.2.%d\n", i, i % 256 }'
  } >"$work/example.org.zone"
  ports[knot]=$(free_port)
  cat >"$work/knot.conf" <<END
server:
  listen: 127.0.0.1@${ports[knot]}
  rundir: $work
  udp-workers: $cores
  tcp-workers: 1
  background-workers: 1
database:
  storage: $work/knot
zone:
  - domain: clusterset.local
    file: $work/clusterset.local.zone
  - domain: example.org
    file: $work/example.org.zone
END
  start_server knot knotd --config "$work/knot.conf"
  wait_for 60 Knot answers "${ports[knot]}" svc-0.ns-0.svc.clusterset.local
}

# One that has nothing of its own.
start_forwarder() { # NAME PROGRAM CACHE
  ports[$1]=$(free_port)
  cat >"$work/Corefile-$1" <<END
.:${ports[$1]} {
  bind 127.0.0.1
  errors
  $3
  forward . 127.0.0.1:${ports[knot]}
}
END
  if [[ $1 == coredns ]]; then
    start_server "$1" "$2" -conf "$work/Corefile-$1"
  else
    # It asks no API server if no block has the clusterset, but wants to know of one.
    KUBECONFIG=$kubeconfig start_server "$1" "$2" --corefile "$work/Corefile-$1" --admin-address 127.0.0.1:0
  fi
  wait_for 60 "$1" answers "${ports[$1]}" host-0.example.org
}

questions() { # IMPORTS
  awk -v n="$1" 'BEGIN { srand(1); for (line = 0; line < 200000; line++) {
    i = int(rand() * n); name = sprintf("svc-%d.ns-%d.svc.clusterset.local", i, i % 100); kind = rand()
    if (kind < 0.5) print name, "A"
    else if (kind < 0.75) print name, "AAAA"
    else if (kind < 0.85) print "_http._tcp." name, "SRV"
    else print "missing-" name, "A"
  } }'
}

forwarded_questions() {
  awk 'BEGIN { srand(1); for (line = 0; line < 100000; line++) printf "host-%d.example.org A\n", int(rand() * 1000) }'
}
