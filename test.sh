#!/usr/bin/env bash
# Every test: formatting, lints, documentation, scripts, chart, unit and integration tests, and the end-to-end tests on real
# clusters: two, and then three of different IP families.
#
#   test.sh           all of it; clusters that were not up before are taken down at the end
#   test.sh --keep    leave the clusters up, to look at them or for the next run
#   test.sh --quick   nothing that needs clusters
#
# Needs what demo-clusters/demo.sh needs: Rust and Go, and either docker or root on Debian.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

keep=false quick=false
for argument; do
  case $argument in
    --keep) keep=true ;;
    --quick) quick=true ;;
    *)
      sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
      exit 2
      ;;
  esac
done

# shellcheck source=demo-clusters/lib/common.sh
source demo-clusters/lib/common.sh
# shellcheck source=demo-clusters/lib/prerequisites.sh
source demo-clusters/lib/prerequisites.sh

logs=$(mktemp -d) passed=0 failed=0 failures=()
trap 'rm -rf "$logs"' EXIT
export CARGO_TERM_COLOR=never

# Runs one step, its output shown as it comes, and counts: the tests that cargo counts, else the step itself.
step() { # NAME COMMAND...
  local name=$1 began=$SECONDS log=$logs/step status=0 good bad
  shift
  say "== $name"
  "$@" 2>&1 </dev/null | tee "$log" || status=$?
  read -r good bad < <(awk '/^test result: / { good += $4; bad += $6 } END { print good + 0, bad + 0 }' "$log")
  if ((good + bad == 0)); then good=$((status == 0)); fi
  # A test program that does not even build has no failed test to show for it.
  if ((status != 0 && bad == 0)); then bad=1; fi
  passed=$((passed + good)) failed=$((failed + bad))
  if ((status != 0)); then failures+=("$name"); fi
  say "== $name: $( ((status == 0)) && echo passed || echo FAILED), $((SECONDS - began)) s"
  return "$status"
}

# What is only sourced is checked as a part of demo.sh, which sources all of it.
check_scripts() {
  local check=(shellcheck --external-sources --source-path=SCRIPTDIR)
  git grep --files-with-matches --extended-regexp '^#!.*[/ ](ba)?sh$' -- ':!*.md' | xargs "${check[@]}" &&
    "${check[@]}" --check-sourced demo-clusters/demo.sh
}
check_chart() {
  helm lint --strict deploy/helm/tombolo --set clusterID=east &&
    cargo test --locked --package tombolo-demo-clusters --test chart -- --ignored
}
document() { RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps --document-private-items; }

end_to_end() { # FILE THREADS
  step "end to end: $1" cargo test --locked --package tombolo-demo-clusters --test "$1" -- --ignored --test-threads "$2"
}

# What one wants to see of clusters that nobody can look at any more.
diagnose() { # CLUSTER...
  local cluster program
  demo-clusters/demo.sh status || true
  eval "$(demo-clusters/demo.sh env)"
  for cluster; do
    for program in operator gateway dns; do
      printf '\n--- %s of %s\n' "$program" "$cluster"
      k "$cluster" -n tombolo-system logs --prefix --tail 60 --selector "tombolo.io/component=$program" || true
    done
  done
}

clusters_up() { { find "$state/clusters" -mindepth 2 -name made -printf '%h\n' 2>/dev/null || true; } | sed 's|.*/||' | sort; }

# Removes the clusters that this run made.
remove_new_clusters() {
  local new
  new=$(comm -13 <(echo "$were_up") <(clusters_up) | paste -sd ,)
  $keep || [[ -z $new ]] || demo-clusters/demo.sh down --clusters "$new"
}

require_go
require_rust
require_packages bind9-dnsutils build-essential cmake default-jdk-headless git iproute2 jq knot-dnsutils musl-tools nodejs shellcheck
require_servers knot unbound
# The tests of the chart, the operator and the resolver run with these; the first call on a machine builds them.
step 'programs from Go modules' demo-clusters/binaries/build.sh helm kubectl kube-apiserver etcd coredns
PATH=$(dirname "$(program_path helm)"):$(dirname "$(program_path kubectl)"):$PATH
export PATH

step 'formatting' cargo fmt --all --check || true
step 'lints' cargo clippy --locked --workspace --all-targets -- -D warnings || true
step 'documentation' document || true
step 'scripts' check_scripts || true
step 'chart' check_chart || true
step 'unit and integration tests' cargo test --locked --workspace --no-fail-fast || true
step 'real clients of the resolver' cargo test --locked --package tombolo-dns --test resolver --test clients -- --ignored || true

if ! $quick; then
  were_up=$(clusters_up)
  if step 'clusters' demo-clusters/demo.sh up --no-sample; then
    for cluster in east west; do
      k "$cluster" delete namespace --selector tombolo.io/e2e --wait=false >/dev/null || true
    done
    before=$failed
    end_to_end services 4 || true
    end_to_end udp 4 || true
    end_to_end identity 2 || true
    end_to_end headless 3 || true
    end_to_end traffic 4 || true
    end_to_end policy 3 || true
    end_to_end boundaries 2 || true
    end_to_end resolvers 1 || true
    end_to_end faults 1 || true
    end_to_end uninstall 1 || true
    if ((failed > before)); then diagnose east west; fi
  fi
  # One set after the other: a small machine has no room for both.
  remove_new_clusters
  if step 'clusters of each IP family' demo-clusters/demo.sh up --clusters four,six,both --ip-family ipv4,ipv6,dual --no-sample; then
    before=$failed
    end_to_end families 2 || true
    if ((failed > before)); then diagnose four six both; fi
  fi
  remove_new_clusters
  if ! $keep && [[ -z $were_up ]]; then demo-clusters/demo.sh down; fi
fi

for name in "${failures[@]}"; do echo "FAILED: $name"; done
say 'all steps are done'
echo "$passed passed, $failed failed"
((failed == 0))
