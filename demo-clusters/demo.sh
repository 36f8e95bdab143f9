#!/usr/bin/env bash
# Real clusters on this machine, with Tombolo between them.
#
#   demo.sh [up]             make the clusters, build and install Tombolo, link them, show a service of one used in another
#     --clusters N|A,B,…     how many, or which: 2, east and west, unless told
#     --ip-family F[,…]      ipv4, ipv6 or dual: one for all, or one for each in order: --clusters four,six --ip-family ipv4,ipv6
#     --bare                 only the clusters and the toolbox image: no Tombolo
#     --no-sample            Tombolo, linked, but no sample
#   demo.sh show             show the sample again
#   demo.sh status           what is up
#   demo.sh env              shell lines that set KUBECONFIG, PATH and DOCKER_HOST: eval "$(demo.sh env)"
#   demo.sh images           build Tombolo's images and load them into the clusters that are up
#     --arch amd64|arm64     only build, for this architecture
#   demo.sh firewall         renew the rules between the clusters (a node that was restarted has lost them)
#   demo.sh down             remove all of it
#     --clusters A,B,…       only these clusters
#     --cache                and what was built: programs, images, Debian packages
#
# `up` may be interrupted at any point and run again. It needs Rust and Go, and either docker or root on Debian.
set -euo pipefail

SECONDS=0
lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/lib
# shellcheck source=lib/common.sh
source "$lib/common.sh"
# shellcheck source=lib/prerequisites.sh
source "$lib/prerequisites.sh"
# shellcheck source=lib/families.sh
source "$lib/families.sh"
# shellcheck source=lib/engine.sh
source "$lib/engine.sh"
# shellcheck source=lib/debian.sh
source "$lib/debian.sh"
# shellcheck source=lib/toolbox-image.sh
source "$lib/toolbox-image.sh"
# shellcheck source=lib/node-image.sh
source "$lib/node-image.sh"
# shellcheck source=lib/clusters.sh
source "$lib/clusters.sh"
# shellcheck source=lib/tombolo-images.sh
source "$lib/tombolo-images.sh"
# shellcheck source=lib/tombolo.sh
source "$lib/tombolo.sh"
# shellcheck source=lib/sample.sh
source "$lib/sample.sh"

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; }

# Two at once would each undo what the other does.
exclusively() {
  mkdir -p "$state/log"
  exec 8>"$state/lock"
  flock --nonblock 8 && return
  say 'waiting for another demo.sh, which is at work'
  flock 8
}

# Children that run in the background do not hear a ctrl-C.
stop_children() {
  local pid
  for pid in $(jobs -p); do kill "$pid" 2>/dev/null || true; done
}
trap stop_children EXIT
trap 'exit 130' INT TERM

cluster_names() { # N|A,B,…
  local names=(east west north south)
  case $1 in
    *[!a-z0-9,-]*) fail "no names of clusters: '$1'" ;;
    *[!0-9]*) tr ',' ' ' <<<"$1" ;;
    [2-4]) echo "${names[@]:0:$1}" ;;
    *) fail '--clusters takes a number from 2 to 4, or names: --clusters east,west,north' ;;
  esac
}

cmd_up() {
  local clusters=(east west) bare=false sample=true cluster ip_family='' families=''
  while (($#)); do
    case $1 in
      --clusters)
        local names
        names=$(cluster_names "${2:-}")
        read -ra clusters <<<"$names"
        shift
        ;;
      --ip-family)
        ip_family=${2:-}
        [[ -n $ip_family ]] || fail '--ip-family takes ipv4, ipv6 or dual'
        shift
        ;;
      --bare) bare=true ;;
      --no-sample) sample=false ;;
      *) fail "up does not know '$1'" ;;
    esac
    shift
  done
  ((${#clusters[@]} > 1)) || fail 'one cluster has nobody to talk to'
  if [[ -n $ip_family ]]; then families=$(families_of "$ip_family" "${clusters[@]}"); fi
  require_go
  $bare || require_rust
  exclusively
  PATH=$state/bin:$PATH
  require_packages jq
  engine_up
  use_programs kubectl kind helm
  raise_inotify_limit
  node_image_up
  toolbox_image_up
  clusters_up "$families" "${clusters[@]}"
  for cluster in "${clusters[@]}"; do load_images "$cluster" "$(toolbox_image)" "${toolbox_aliases[@]}"; done
  if ! $bare; then
    tombolo_images_up "$(go_arch)"
    install_tombolo "${clusters[@]}"
    link_clusters "${clusters[@]}"
    if $sample; then
      sample_up "${clusters[@]}"
      sample_show "${clusters[@]}"
    fi
  fi
  say "${clusters[*]} are up"
  cat <<END

Look around:    eval "\$($0 env)"
                kubectl --context kind-${clusters[1]} get serviceimports -A
                kubectl --context kind-${clusters[1]} -n demo exec -it client -- sh
Take it down:   $0 down
END
}

cmd_show() {
  PATH=$state/bin:$PATH
  local exporter importer
  read -r exporter importer <"$state/sample" || fail "no sample is up: '$0 up' makes one"
  sample_show "$exporter" "$importer"
}

cmd_images() {
  local arch='' cluster
  case ${1:-} in '') ;; --arch) arch=${2:-none} ;; *) fail "images does not know '$1'" ;; esac
  require_rust
  mkdir -p "$state/log"
  # Not under the lock: it takes long, and nobody else minds.
  build_tombolo "${arch:-$(go_arch)}"
  exclusively
  PATH=$state/bin:$PATH
  engine_up
  tombolo_images_up "${arch:-$(go_arch)}"
  echo "$tombolo_tag"
  [[ -z $arch ]] || return 0
  for cluster in $(made_clusters); do
    load_images "$cluster" "${tombolo_programs[@]/%/:$tombolo_tag}"
  done
}

cmd_firewall() {
  local cluster
  engine_find || fail 'no clusters are up'
  for cluster in $(made_clusters); do firewall_up "$cluster"; done
}

cmd_status() {
  PATH=$state/bin:$PATH
  local cluster
  if ! engine_find; then
    echo 'nothing is up'
    return
  fi
  for cluster in $(made_clusters); do
    printf '\n%s\n' "cluster $cluster, node address $(cluster_address "$cluster")"
    k "$cluster" get pods -A || true
    k "$cluster" get peers,serviceexports,serviceimports -A 2>/dev/null || true
  done
}

cmd_env() {
  echo "export KUBECONFIG=$kubeconfig"
  echo "export PATH=$state/bin:\$PATH"
  echo "export TOMBOLO_TOOLBOX=$(toolbox_image)"
  if engine_is_own; then echo "export DOCKER_HOST=unix://$engine_socket"; fi
}

cmd_down() {
  local with_cache=false image names clusters
  case ${1:-} in
    '') ;;
    --cache) with_cache=true ;;
    --clusters)
      names=$(cluster_names "${2:-}")
      read -ra clusters <<<"$names"
      down_only "${clusters[@]}"
      return
      ;;
    *) fail "down does not know '$1'" ;;
  esac
  [[ -e $state ]] || $with_cache || { say 'nothing is up'; return; }
  exclusively
  PATH=$state/bin:$PATH
  # An engine that died still has the clusters in its data: only it can remove them.
  if engine_is_own && ! engine_find; then engine_up; fi
  if ! engine_find; then
    [[ -z $(made_clusters) ]] || fail 'docker, which has the clusters, does not answer'
  else
    mapfile -t clusters < <(made_clusters)
    clusters_down "${clusters[@]}"
    if $with_cache; then
      for image in $(docker images --format '{{.Repository}}:{{.Tag}}' | grep -E '^tombolo-(node|toolbox|operator|gateway|dns):') "${toolbox_aliases[@]}"; do
        docker image rm "$image" >/dev/null 2>&1 || true
      done
    fi
  fi
  engine_down
  restore_inotify_limit
  # By name: both folders may be ones that somebody chose, with other things in them.
  (cd "$state" && rm -rf bin clusters log image.new toolbox.new kubeconfig kubeconfig.lock sample inotify-instances lock)
  rmdir --ignore-fail-on-non-empty "$state"
  if $with_cache && [[ -e $cache ]]; then
    (cd "$cache" && rm -rf bin debian docker node.new)
    rmdir --ignore-fail-on-non-empty "$cache"
  fi
  say 'all is down'
}

# The engine and all that was built stay.
down_only() { # CLUSTER...
  local cluster
  exclusively
  PATH=$state/bin:$PATH
  engine_find || fail 'docker, which may have the clusters, does not answer'
  for cluster; do
    [[ -d $(cluster_state "$cluster") ]] || fail "there is no cluster $cluster"
    # What `show` shows is gone with either of its clusters.
    if grep -qsw -- "$cluster" "$state/sample"; then rm -f "$state/sample"; fi
  done
  clusters_down "$@"
  say "$* are removed"
}

case ${1:-up} in
  up | show | status | env | images | firewall | down)
    command=${1:-up}
    shift || true
    "cmd_$command" "$@"
    ;;
  -h | --help | help) usage ;;
  --*) cmd_up "$@" ;;
  *)
    usage >&2
    exit 2
    ;;
esac
