#!/usr/bin/env bash
# Kills replicas of the far gateway in network namespaces of this machine, while new connections are made through the near one, and
# prints how long each outage was.
#
#   bench/failover.sh [--kills 100] [--how kill|stop] [--rate 50]
#
# Needs root, and Debian's iproute2 and util-linux.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec cargo run --quiet --release --locked --package tombolo-bench -- failover "$@"
