# shellcheck shell=bash
# What every part of the demo needs: where things are, how it speaks, how it calls the programs that it built.

demo_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
checkout=$(dirname "$demo_dir")

# The cache holds what a version says all about, and outlives `down`. The state is one per machine, not per checkout:
# clusters, ports and networks are the machine's too.
cache=${TOMBOLO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tombolo}
state=${TOMBOLO_STATE:-${XDG_STATE_HOME:-$HOME/.local/state}/tombolo/demo}
kubeconfig=$state/kubeconfig
network=tombolo-demo
gateway_port=30843

say() { printf '%5ds  %s\n' "$SECONDS" "$*" >&2; }
fail() {
  printf '%5ds  failed: %s\n' "$SECONDS" "$*" >&2
  exit 1
}

# Runs a command whose output matters only if it fails.
quietly() { # NAME COMMAND...
  local log=$state/log/$1
  shift
  mkdir -p "$state/log"
  "$@" >"$log" 2>&1 </dev/null && return
  tail -n 40 "$log" >&2
  fail "'$*' (its whole output is in $log)"
}

# Waits until a command succeeds: wait_for SECONDS WHAT COMMAND...
wait_for() {
  local until=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < until)) || fail "waited in vain for $what"
    sleep 0.5
  done
}

hash_of() { sha256sum | cut -c1-12; }

program_path() { "$demo_dir/binaries/build.sh" --path "$1"; }

# Puts programs of ours first in PATH: what happens to be installed may be of another version.
use_programs() {
  local name path
  mkdir -p "$state/bin"
  for name; do
    path=$("$demo_dir/binaries/build.sh" "$name")
    ln -sfT "$path" "$state/bin/$name"
  done
}

k() { # CLUSTER ARGUMENTS... : kubectl in that cluster
  local cluster=$1
  shift
  kubectl --kubeconfig "$kubeconfig" --context "kind-$cluster" "$@"
}
