#!/usr/bin/env bash
# Measures two gateways beside haproxy, stunnel and wireguard-go in network namespaces of this machine; run.sh --help lists what can
# be chosen.
# Needs root, /dev/net/tun, and Debian's haproxy, stunnel4, wireguard-go, wireguard-tools, ethtool, iptables, iproute2 and
# util-linux.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec cargo run --quiet --release --locked --package tombolo-bench -- run "$@"
