#!/usr/bin/env bash
# Builds the programs that the demo clusters and the tests need from Go modules, without a container registry.
#
#   build.sh NAME...      build these, unless they are cached; print the path of each on standard output
#   build.sh all          all of them
#   build.sh --path NAME  print the path where NAME is, or will be, without building
#   build.sh --list       print the names
#
# For the operator's tests:
#   build.sh kube-apiserver etcd
#
# Each program lies in ${TOMBOLO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tombolo}/bin/<name>-<version>-<key>/<name>, where
# <key> is a hash of everything that the build is given. Progress goes to standard error. Several calls may run at once.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${TOMBOLO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tombolo}

# One set of flags for all: a package compiled for one program is then not compiled again for the next.
export CGO_ENABLED=0 GOFLAGS='-mod=readonly -buildvcs=false' GOWORK=off

# name, folder with the go.mod, package. In the order in which somebody waits for them.
programs='
kube-apiserver            kubernetes   k8s.io/kubernetes/cmd/kube-apiserver
etcd                      etcd         go.etcd.io/etcd/server/v3
kubectl                   kubernetes   k8s.io/kubernetes/cmd/kubectl
kind                      kind         sigs.k8s.io/kind
kubeadm                   kubernetes   k8s.io/kubernetes/cmd/kubeadm
kubelet                   kubernetes   k8s.io/kubernetes/cmd/kubelet
kube-controller-manager   kubernetes   k8s.io/kubernetes/cmd/kube-controller-manager
kube-scheduler            kubernetes   k8s.io/kubernetes/cmd/kube-scheduler
kube-proxy                kubernetes   k8s.io/kubernetes/cmd/kube-proxy
runc                      runc         github.com/opencontainers/runc
containerd                containerd   github.com/containerd/containerd/v2/cmd/containerd
containerd-shim-runc-v2   containerd   github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2
ctr                       containerd   github.com/containerd/containerd/v2/cmd/ctr
bridge                    cni-plugins  github.com/containernetworking/plugins/plugins/main/bridge
loopback                  cni-plugins  github.com/containernetworking/plugins/plugins/main/loopback
host-local                cni-plugins  github.com/containernetworking/plugins/plugins/ipam/host-local
portmap                   cni-plugins  github.com/containernetworking/plugins/plugins/meta/portmap
coredns                   coredns      github.com/coredns/coredns
pause                     kubernetes   build/pause/linux/pause.c
agnhost                   kubernetes   k8s.io/kubernetes/test/images/agnhost
helm                      helm         helm.sh/helm/v3/cmd/helm
'

say() { printf '%5ds  %s\n' "$SECONDS" "$*" >&2; }
fail() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Sets folder, package, version, ldflags, tags and target for a program.
describe() {
  local name=$1 module
  read -r folder package < <(awk -v name="$name" '$1 == name { print $2, $3 }' <<<"$programs") || true
  [[ -n ${folder:-} ]] || fail "no program is called '$name'; see --list"
  ldflags='-s -w' tags='' version=''
  while read -r module version; do
    case $package in "$module" | "$module"/*) break ;; *.c) [[ $module == k8s.io/kubernetes ]] && break ;; esac
  done < <(awk '$1 == "require" && NF > 2 { print $2, $3 } /^\t/ && NF > 1 && $2 ~ /^v/ { print $1, $2 }' "$here/$folder/go.mod")
  case $folder in
    # kubectl and kubeadm compare these with the server's version, and refuse "v0.0.0-master".
    kubernetes)
      local minor=${version#v1.} variable
      minor=${minor%%.*}
      for variable in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        ldflags+=" -X $variable.gitVersion=$version -X $variable.gitMajor=1 -X $variable.gitMinor=$minor"
        ldflags+=" -X $variable.gitTreeState=clean"
      done
      ;;
    containerd)
      tags='no_btrfs no_devmapper no_zfs'
      ldflags+=" -X github.com/containerd/containerd/v2/version.Version=$version"
      ;;
    runc)
      tags='seccomp netgo osusergo'
      ldflags+=" -linkmode external -extldflags -static -X main.version=${version#v}"
      ;;
    helm) ldflags+=" -X helm.sh/helm/v3/internal/version.version=$version" ;;
  esac
  local key
  key=$({ cat "$here/$folder/go.mod" "$here/$folder/go.sum"; echo "$package $ldflags $tags $(uname -m)"; } | sha256sum)
  target=$cache/bin/$name-$version-${key:0:12}/$name
}

compile() { # into $1
  local output=$1
  cd "$here/$folder"
  case $folder/$package in
    */*.c)
      local source
      source=$(go list -m -f '{{.Dir}}' k8s.io/kubernetes)
      # A module that is already in the cache's index, but not unpacked, has no Dir.
      [[ -n $source ]] || source=$(go mod download -json k8s.io/kubernetes | sed -n 's/.*"Dir": "\(.*\)",*/\1/p')
      gcc -Os -Wall -static -DVERSION="v3.10" -o "$output" "$source/$package"
      ;;
    runc/*) CGO_ENABLED=1 go build -tags "$tags" -ldflags "$ldflags" -o "$output" "$package" ;;
    *) go build -tags "$tags" -ldflags "$ldflags" -o "$output" "$package" ;;
  esac
}

build() {
  local name=$1
  describe "$name"
  if [[ ! -x $target ]]; then
    mkdir -p "$cache/bin/.locks"
    (
      # Somebody else may be building the same: then wait for theirs.
      flock 9
      [[ ! -x $target ]] || exit 0
      local began=$SECONDS new
      say "building $name $version"
      new=$(mktemp -d "$cache/bin/.new-XXXXXX")
      trap 'rm -rf "$new"' EXIT
      compile "$new/$name"
      chmod 755 "$new"
      rm -rf "$(dirname "$target")"
      mv -T "$new" "$(dirname "$target")"
      say "built $name $version in $((SECONDS - began)) s, $(($(stat -c %s "$target") / 1048576)) MB"
    ) 9>"$cache/bin/.locks/$(basename "$(dirname "$target")")"
  fi
  echo "$target"
}

command -v go >/dev/null || [[ ${1:-} == --list || ${1:-} == --path ]] || fail 'go is missing: Go 1.26 or newer is needed'

case ${1:-} in
  '' | -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" ;;
  --list) awk 'NF { print $1 }' <<<"$programs" ;;
  --path)
    shift
    for name; do
      describe "$name"
      echo "$target"
    done
    ;;
  all)
    while read -r name; do build "$name"; done < <(awk 'NF { print $1 }' <<<"$programs")
    ;;
  *) for name; do build "$name"; done ;;
esac
