# shellcheck shell=bash disable=SC2154
# What is measured of a server, and how it is shown.

# Clock ticks of CPU that a process has used, all its threads together.
ticks() { # PID
  sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'
}

resident_mib() { # PID
  awk '/^VmRSS/ { printf "%.0f", $2 / 1024 }' "/proc/$1/status"
}

median() { sort -n | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }

ask() { # PORT QUESTIONS ARGUMENTS...
  local port=$1 file=$2 others=()
  shift 2
  if ((cores == 1)); then others=(taskset --cpu-list "1-$(($(nproc) - 1))"); fi
  "${others[@]}" dnsperf -s 127.0.0.1 -p "$port" -d "$file" -c 16 "$@"
}

# Queries a CPU-second, as many at once as dnsperf can keep under way.
throughput() { # NAME QUESTIONS
  local before after done_
  before=$(ticks "${pids[$1]}")
  done_=$(ask "${ports[$1]}" "$2" -l "$seconds" -q 200 2>/dev/null | awk '/Queries completed/ { print $3 }')
  after=$(ticks "${pids[$1]}")
  echo $((done_ * $(getconf CLK_TCK) / (after - before)))
}

# Median and 99th percentile in microseconds, at a rate that all of them can do.
latency() { # NAME QUESTIONS
  ask "${ports[$1]}" "$2" -l "$seconds" -q 200 -Q "$rate" -v 2>/dev/null | awk '/^> / { print $NF * 1000000 }' | sort -n |
    awk '{ all[NR] = $1 } END { printf "%.0f %.0f\n", all[int(NR / 2)], all[int(NR * 0.99)] }'
}

measure() { # WHAT QUESTIONS NAME...
  local what=$1 file=$2 round name p50 p99
  local -A rates=() medians=()
  shift 2
  for name; do throughput "$name" "$file" >/dev/null; done
  for ((round = 0; round < rounds; round++)); do
    for name; do
      rates[$name]+="$(throughput "$name" "$file") "
      latency "$name" "$file" >>"$work/latency-$what-$name"
    done
  done
  for name; do
    medians[$name]=$(tr ' ' '\n' <<<"${rates[$name]}" | grep . | median)
    say "$what $name: ${rates[$name]}"
  done
  for name; do
    p50=$(cut -d' ' -f1 "$work/latency-$what-$name" | median)
    p99=$(cut -d' ' -f2 "$work/latency-$what-$name" | median)
    printf '| %s | %s | %s | %s | %s | %s | %s | %s |\n' "$what" "$name" "${medians[$name]}" \
      "$(ratio "${medians[$name]}" "${medians[coredns]}")" "$(ratio "${medians[$name]}" "${medians[knot]:-}")" \
      "$p50" "$p99" "$(resident_mib "${pids[$name]}")"
  done
}

# From a change in the API to the changed answer, of a clusterset IP and of a headless service's endpoint.
changes() { # IMPORTS NAME...
  local size=$1 api name kind path patch resolvers=()
  shift
  for name; do resolvers+=("$name=127.0.0.1:${ports[$name]}"); done
  create_headless
  api=127.0.0.1:$(free_port)
  start proxy "$kubectl" --kubeconfig "$kubeconfig" proxy --address=127.0.0.1 --port="${api#*:}"
  wait_for 60 'the proxy' curl --fail --silent "http://$api/readyz"
  for kind in import slice; do
    if [[ $kind == import ]]; then
      path=/apis/multicluster.x-k8s.io/v1beta1/namespaces/ns-0/serviceimports/svc-0 patch='{"spec":{"ips":["ADDRESS"]}}'
      name=svc-0
    else
      path=/apis/discovery.k8s.io/v1/namespaces/ns-0/endpointslices/headless name=headless
      patch='{"endpoints":[{"addresses":["ADDRESS"],"conditions":{"ready":true}}]}'
    fi
    "$bench" changes --api "$api" --path "$path" --patch "$patch" --name "$name.ns-0.svc.clusterset.local" --changes "$changes" \
      "${resolvers[@]}" | sed "s/^/| $size /" >>"$scratch/changes"
  done
}

ratio() { # A B
  [[ -n $2 ]] && awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }' || echo –
}
