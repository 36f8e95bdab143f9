#!/usr/bin/env bash
# Prints sizes of images, memory of pods at rest, and the time from an export to its name, measured on the clusters that
# demo.sh made. How long the README's two commands take is what they print themselves.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec cargo run --quiet --locked --package tombolo-demo-clusters --bin measure
