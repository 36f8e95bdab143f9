#!/usr/bin/env bash
# Counts the instructions of the hot paths under callgrind and compares them with bench/instructions.txt: unlike times, counts are
# the same on a machine that has other things to do.
#
#   bench/instructions.sh [--tolerance 1.10] [--accept]
#
# Prints each count, the committed one and their ratio, and fails if a ratio is above the tolerance, or if a count is only here or
# only there. --accept writes the table anew instead. The counts are of the bench profile without link-time optimisation, with
# which a build takes minutes; those of another compiler are others, so the table says of which it is.
# Needs Rust; installs Debian's jq and valgrind, and with cargo the runner of gungraun's version in Cargo.lock into the cache.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=demo-clusters/lib/common.sh
source demo-clusters/lib/common.sh
# shellcheck source=demo-clusters/lib/prerequisites.sh
source demo-clusters/lib/prerequisites.sh

tolerance=1.10 accept=false table=bench/instructions.txt
while (($#)); do
  case $1 in
    --tolerance) tolerance=$2 && shift ;;
    --accept) accept=true ;;
    *)
      sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
      exit 2
      ;;
  esac
  shift
done

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Library and runner speak a protocol that each version changes.
require_runner() {
  local version root
  version=$(sed -n '/^name = "gungraun-runner"$/{n;s/^version = "\(.*\)"$/\1/p}' Cargo.lock)
  root=$cache/gungraun-runner-$version
  if [[ ! -x $root/bin/gungraun-runner ]]; then
    say "building gungraun-runner $version"
    quietly gungraun-runner cargo install --locked --root "$root" --target-dir "$scratch/target" --version "$version" gungraun-runner
  fi
  PATH=$root/bin:$PATH
}

# What counts depend on besides our own code.
conditions() { printf "%s for %s, %s\n" "$(rustc --version)" "$(rustc -vV | sed -n "s/^host: //p")" "$(valgrind --version)"; }

# Prints name and instructions of each benchmark, by name.
count() {
  # The runner finds what it counts by its symbols.
  CARGO_PROFILE_BENCH_STRIP=none CARGO_PROFILE_BENCH_LTO=off CARGO_PROFILE_BENCH_CODEGEN_UNITS=16 \
    cargo bench --quiet --locked --workspace --bench instructions -- --output-format=json |
    jq --raw-output '
      (.profiles[] | select(.tool == "Callgrind").data.total.metrics.Ir.values.new) as $instructions
      | [.package_dir, .function_name, .id] as $name
      | "\($name | map(. // empty) | join("/")) \($instructions // error("no count of \($name)"))"' |
    LC_ALL=C sort
}

# Prints the counts of a file beside those of the table, and fails if they are too far apart.
compare() { # COUNTS
  awk -v tolerance="$tolerance" '
    function row(count, committed, ratio, name) { printf "%12s %12s %7s  %s\n", count, committed, ratio, name }
    BEGIN { row("instructions", "committed", "ratio", "") }
    /^#/ { next }
    NR == FNR { committed[$1] = $2; next }
    !($1 in committed) { row($2, "-", "new", $1); wrong++; next }
    {
      ratio = $2 / committed[$1]
      row($2, committed[$1], sprintf("%.3f", ratio), $1 (ratio > tolerance ? "  <== above " tolerance : ""))
      wrong += ratio > tolerance
      delete committed[$1]
    }
    END {
      for (name in committed) { row("-", committed[name], "gone", name); wrong++ }
      exit wrong > 0
    }' "$table" "$1"
}

require_rust
require_packages jq valgrind
require_runner
say 'building and counting'
count >"$scratch/counts"

if $accept; then
  {
    printf '# What bench/instructions.sh --accept has counted, with\n# %s\n' "$(conditions)"
    cat "$scratch/counts"
  } >"$table"
  say "$(wc -l <"$scratch/counts") counts are in $table"
  exit
fi

status=0
compare "$scratch/counts" || status=$?
counted_with=$(sed -n '2s/^# //p' "$table")
if [[ $counted_with != "$(conditions)" ]]; then
  say "the table is of $counted_with, this is $(conditions): differences may come from that"
fi
if ((status != 0)); then
  fail "counts differ from $table: if that is meant to be, bench/instructions.sh --accept"
fi
