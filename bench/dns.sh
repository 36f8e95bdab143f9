#!/usr/bin/env bash
# Measures tombolo-dns beside CoreDNS and Knot, which answer the same names: queries for each second of CPU that the server uses,
# latency at a fixed rate, and resident memory.
#
#   bench/dns.sh [--imports 10,1000,100000] [--rounds 3] [--seconds 4] [--cores 1] [--rate 5000] [--no-forward] [--changes 500]
#                [--beside PROGRAM]
#
# tombolo-dns and CoreDNS read the imports (each with a slice of three endpoints) from a real API server; etcd is filled before
# it starts, as 200,000 creates would take longer than everything else. Knot has the same records in a zone file. Of the
# questions 50 % are A, 25 % AAAA (no data), 10 % SRV, and 15 % are of names that do not exist. With --cores 1 the server has the
# first core for itself and dnsperf the others. All servers run at once and are measured in turn; the figure is the median of the
# rounds. Then tombolo-dns and CoreDNS are measured with a Corefile that forwards to Knot, with a cache and without. --changes says
# how often an import and an endpoint are changed in the API, to see how soon the answers change (0: not at all); --beside measures
# another tombolo-dns, an older one say, in the same rounds.
# Needs what test.sh needs; installs Debian's dnsperf and knot.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=demo-clusters/lib/common.sh
source demo-clusters/lib/common.sh
# shellcheck source=demo-clusters/lib/prerequisites.sh
source demo-clusters/lib/prerequisites.sh
# shellcheck source=bench/dns/cluster.sh
source bench/dns/cluster.sh
# shellcheck source=bench/dns/servers.sh
source bench/dns/servers.sh
# shellcheck source=bench/dns/measure.sh
source bench/dns/measure.sh

sizes=10,1000,100000 rounds=3 seconds=4 cores=1 rate=5000 forward=true changes=500 beside=
while (($#)); do
  case $1 in
    --imports) sizes=$2 && shift ;;
    --rounds) rounds=$2 && shift ;;
    --seconds) seconds=$2 && shift ;;
    --cores) cores=$2 && shift ;;
    --rate) rate=$2 && shift ;;
    --no-forward) forward=false ;;
    --changes) changes=$2 && shift ;;
    --beside) beside=$2 && shift ;;
    *)
      sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
      exit 2
      ;;
  esac
  shift
done

require_go
require_rust
require_packages curl dnsperf iproute2 jq knot-dnsutils openssl
require_servers knot
say 'building'
mapfile -t programs < <(demo-clusters/binaries/build.sh etcd kube-apiserver kubectl coredns)
etcd=${programs[0]} api_server=${programs[1]} kubectl=${programs[2]} coredns=${programs[3]}
cargo build --quiet --release --locked --workspace --bin tombolo-dns --bin tombolo-bench
tombolo_dns=${CARGO_TARGET_DIR:-target}/release/tombolo-dns bench=${CARGO_TARGET_DIR:-target}/release/tombolo-bench

scratch=$(mktemp -d)
trap 'stop_all; rm -rf "$scratch"' EXIT

model=$(sed -n 's/^model name.*: //p;T;q' /proc/cpuinfo)
printf '%s, %s cores, load %s, %s\n' "$(date --utc +%F)" "$(nproc)" "$(cut -d' ' -f1 /proc/loadavg)" "$model"
"$coredns" -version | sed -n 1p
knotd --version
printf '\n| imports | server | queries a CPU-second | of CoreDNS | of Knot | p50 µs | p99 µs | resident MiB |\n'
printf '| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n'
for size in ${sizes//,/ }; do
  work=$scratch/$size
  mkdir "$work"
  say "$size imports"
  questions "$size" >"$work/questions"
  start_cluster "$size"
  start_knot "$size"
  start_coredns
  start_tombolo tombolo "$tombolo_dns"
  start_tombolo_block tombolo-corefile "$tombolo_dns"
  names=(knot coredns tombolo tombolo-corefile)
  if [[ -n $beside ]]; then
    start_tombolo beside "$beside"
    start_tombolo_block beside-corefile "$beside"
    names+=(beside beside-corefile)
  fi
  measure "$size" "$work/questions" "${names[@]}"
  if ((changes > 0)); then changes "$size" "${names[@]:1}"; fi
  stop_all
done

if $forward; then
  work=$scratch/forward
  mkdir "$work"
  say 'forwarded names'
  forwarded_questions >"$work/questions"
  for cache in 'cache 30' ''; do
    start_knot 10
    start_forwarder coredns "$coredns" "$cache"
    start_forwarder tombolo "$tombolo_dns" "$cache"
    names=(coredns tombolo)
    if [[ -n $beside ]]; then
      start_forwarder beside "$beside" "$cache"
      names+=(beside)
    fi
    measure "$([[ -n $cache ]] && echo cached || echo forwarded)" "$work/questions" "${names[@]}"
    stop_all
  done
fi

if [[ -s $scratch/changes ]]; then
  printf '\n| imports | changed | server | p50 ms | p90 ms | p99 ms | most ms | p99 of CoreDNS |\n'
  printf '| ---: | --- | --- | ---: | ---: | ---: | ---: | ---: |\n'
  cat "$scratch/changes"
fi
