# shellcheck shell=bash
# File systems of Debian packages, as tar files in the cache.

debian_suite=bookworm

# The mirror that the machine itself uses, where it is of the same release: it may be nearer, or the only one in reach.
debian_sources() {
  local file
  for file in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
    if grep -qsE "(^Suites:|^deb ).*\b$debian_suite\b" "$file"; then
      echo "$file"
      return
    fi
  done
}

# Prints the path of the tar file: debian_root NAME VARIANT PACKAGES
debian_root() {
  local name=$1 variant=$2 packages=$3 sources tar
  tar=$cache/debian/$name-$(echo "$debian_suite $variant $packages" | hash_of).tar
  mkdir -p "$cache/debian"
  (
    # It may be on its way already, begun before it was needed.
    flock 9
    [[ ! -e $tar ]] || exit 0
    sources=$(debian_sources)
    mmdebstrap --quiet --variant="$variant" --include="$packages" \
      --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
      --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
      --dpkgopt=force-unsafe-io --aptopt='Acquire::Languages "none"' \
      "$debian_suite" - "${sources:--}" </dev/null >"$tar.new" 2>"$state/log/debian-$name" || {
      tail -n 20 "$state/log/debian-$name" >&2
      fail "mmdebstrap for $name"
    }
    mv "$tar.new" "$tar"
  ) 9>"$cache/debian/.lock-$name"
  echo "$tar"
}

debian_node_root() {
  # `variant=important` and its like would bring twice as much; systemd, its tools and what kubelet and kube-proxy call.
  debian_root node essential systemd,systemd-sysv,dbus,conntrack,iptables,nftables,iproute2,ethtool,util-linux,mount,kmod,libseccomp2,ca-certificates,curl,jq,procps,hostname
}

debian_toolbox_root() {
  debian_root toolbox extract base-files,bash,dash,coreutils,grep,sed,mawk,procps,curl,bind9-dnsutils,netcat-openbsd,socat,iproute2,libcap2-bin
}
