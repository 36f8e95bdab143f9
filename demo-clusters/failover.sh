#!/usr/bin/env bash
# Kills gateway replicas of the clusters that demo.sh made, and prints how long new connections failed:
#   demo-clusters/failover.sh process|pod|silent near|far [kills]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec cargo run --quiet --locked --package tombolo-demo-clusters --bin failover -- "$@"
