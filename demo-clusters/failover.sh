#!/usr/bin/env bash
# Kills gateway replicas of one of the clusters that demo.sh made, and prints how long new connections failed, of clients in that
# cluster and of clients in the other one:
#   demo-clusters/failover.sh process|pod|silent [kills]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec cargo run --quiet --locked --package tombolo-demo-clusters --bin failover -- "$@"
