# shellcheck shell=bash
# The image that kind makes a node of. Where a registry answers, kind's own; else one of Debian packages, of the files that
# kind's Go module has for its base image, and of programs built from Go modules.

node_programs=(kubeadm kubelet kubectl containerd containerd-shim-runc-v2 ctr runc bridge loopback host-local portmap
  kube-apiserver kube-controller-manager kube-scheduler kube-proxy etcd coredns pause)

kind_module() { (cd "$demo_dir/binaries/kind" && GOFLAGS=-mod=readonly go mod download -json sigs.k8s.io/kind | jq -r .Dir); }

made_node_image() {
  echo "tombolo-node:$({
    for name in "${node_programs[@]}"; do program_path "$name"; done
    cat "$demo_dir/lib/node-image.sh" "$demo_dir/binaries/kind/go.sum"
    declare -f debian_root debian_node_root
  } | hash_of)"
}

# Sets node_image and node_image_is_stock.
node_image_up() {
  node_image=$(made_node_image) node_image_is_stock=false
  if ! has_image "$node_image"; then
    local stock
    stock=$(sed -n 's/^const Image = "\(.*\)"/\1/p' "$(kind_module)/pkg/apis/config/defaults/image.go")
    if ! engine_is_own && stock_node_image "$stock"; then
      node_image=$stock node_image_is_stock=true
      return
    fi
    ((EUID == 0)) || fail "no registry has $stock, and making a node image takes root"
    make_node_image
  fi
}

stock_node_image() {
  has_image "$1" && return
  # Asking for the manifest tells at once whether there is a registry; the pull itself may take as long as it likes.
  timeout 20 docker manifest inspect "$1" >/dev/null 2>&1 || return
  say "pulling $1"
  docker pull --quiet "$1" >/dev/null
}

make_node_image() {
  say 'making the node image: Debian packages and programs from Go modules'
  require_packages mmdebstrap jq gcc libc6-dev libseccomp-dev pkg-config
  local debian=$state/log/node-root name path tar_pid
  # The one waits for the network, the other for the processor.
  debian_node_root >"$debian" &
  tar_pid=$!
  debian_toolbox_root >/dev/null &
  declare -A built=()
  for name in "${node_programs[@]}"; do
    path=$("$demo_dir/binaries/build.sh" "$name")
    built[$name]=$path
  done
  wait "$tar_pid" || fail 'no Debian packages for the node'

  local work root began=$SECONDS
  # One name: what an interruption left is found, and removed, by the next run.
  work=$cache/node.new
  root=$work/root
  rm -rf "$work"
  mkdir -p "$root"
  tar -C "$root" -xf "$(cat "$debian")" --exclude='./dev/*'
  node_files
  node_images
  say 'packing the node image'
  tar -C "$root" -c . | docker import -c 'ENV container=docker' \
    -c 'ENTRYPOINT ["/usr/local/bin/entrypoint","/sbin/init"]' - "$node_image-root" >/dev/null
  # The signal that systemd takes for a shutdown. Older engines' import does not know the word.
  printf 'FROM %s\nSTOPSIGNAL SIGRTMIN+3\n' "$node_image-root" | DOCKER_BUILDKIT=0 docker build --quiet --tag "$node_image" - >/dev/null 2>&1
  docker image rm "$node_image-root" >/dev/null
  remove_other_images "$node_image"
  rm -rf "$work"
  say "made $node_image in $((SECONDS - began)) s, $(image_megabytes "$node_image") MB"
}

# kind's own files and the programs, with the changes to systemd that kind's base image makes.
node_files() {
  local files unit
  files=$(kind_module)/images/base/files
  cp -r --no-preserve=mode,ownership "$files/." "$root/"
  chmod 755 "$root"/kind "$root"/kind/bin "$root"/kind/bin/*.sh "$root"/usr/local/bin/*
  for unit in multi-user local-fs basic; do rm -f "$root/lib/systemd/system/$unit.target.wants"/*; done
  rm -f "$root"/etc/systemd/system/*.wants/* "$root"/lib/systemd/system/sockets.target.wants/*{udev,initctl}* \
    "$root"/lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service
  echo ReadKMsg=no >>"$root/etc/systemd/journald.conf"
  ln -sf /usr/lib/systemd/systemd "$root/sbin/init"

  install -m 755 -t "$root/usr/local/bin" "${built[containerd]}" "${built[containerd-shim-runc-v2]}" "${built[ctr]}"
  install -m 755 -t "$root/usr/local/sbin" "${built[runc]}"
  install -m 755 -t "$root/usr/bin" "${built[kubeadm]}" "${built[kubelet]}" "${built[kubectl]}"
  install -D -m 755 -t "$root/opt/cni/bin" "${built[bridge]}" "${built[loopback]}" "${built[host-local]}" "${built[portmap]}"
  mkdir -p "$root"/etc/{kubernetes/manifests,cni/net.d} "$root/kind/manifests"
  kubernetes_version >"$root/kind/version"

  chroot "$root" systemctl enable kubelet.service containerd.service undo-mount-hacks.service >/dev/null 2>&1
  # It would register things with the machine's kernel.
  chroot "$root" systemctl mask systemd-binfmt.service >/dev/null 2>&1
  # A node that forwards does not depend on whether the machine does.
  echo 'net.ipv4.ip_forward = 1' >"$root/etc/sysctl.d/20-forward.conf"
  # Lowering the oom score takes CAP_SYS_RESOURCE, which the machine may withhold.
  sed -i 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' "$root/etc/containerd/config.toml"
  chroot "$root" ctr oci spec | jq 'del(.process.rlimits)
    | .hooks.createContainer += [{path: "/kind/bin/mount-product-files.sh"}]' >"$root/etc/containerd/cri-base.json"
  # One node, one bridge: enough of a network.
  cat >"$root/etc/cni/net.d/10-bridge.conflist" <<'CNI'
{"cniVersion": "1.0.0", "name": "bridge", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
CNI
}

kubernetes_version() { sed -n 's/.*\bk8s.io\/kubernetes \(v[^ ]*\).*/\1/p' "$demo_dir/binaries/kubernetes/go.mod"; }

# The control plane's images, unpacked into the node's containerd.
node_images() {
  local wanted name layout=$work/images
  mkdir -p "$layout/blobs/sha256"
  echo '{"imageLayoutVersion": "1.0.0"}' >"$layout/oci-layout"
  echo '{"schemaVersion": 2, "manifests": []}' >"$layout/index.json"
  # What kubeadm asks for, and the sandbox image that containerd's configuration names.
  wanted=$("${built[kubeadm]}" config images list --kubernetes-version "$(kubernetes_version)" 2>/dev/null)
  wanted+=$'\n'$(sed -n 's/^ *sandbox_image = "\(.*\)"/\1/p' "$root/etc/containerd/config.toml")
  while read -r name; do
    local program=${name##*/}
    program=${program%%:*}
    [[ -n ${built[$program]:-} ]] || fail "kubeadm asks for $name, which nothing here builds"
    local files=$work/files
    rm -rf "$files"
    mkdir -p "$files/usr/local/bin"
    cp "${built[$program]}" "$files/usr/local/bin/"
    if [[ $program == kube-proxy ]]; then add_iptables "$files"; fi
    add_image "$layout" "$name" "$program" "$files"
  done < <(sort -u <<<"$wanted")

  say "unpacking the control plane's images into the node"
  local run=$work/run
  mkdir -p "$run" "$root/var/lib/containerd"
  printf 'version = 3\nroot = "%s"\nstate = "%s"\ndisabled_plugins = ["io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "%s"\n[ttrpc]\naddress = "%s"\n' \
    "$root/var/lib/containerd" "$run/state" "$run/containerd.sock" "$run/ttrpc.sock" >"$run/config.toml"
  # containerd unpacks by mounting: in a mount namespace of its own, so that an interruption leaves no mount behind.
  # shellcheck disable=SC2016
  quietly node-images unshare --mount bash -euc '
    containerd=$1 ctr=$2 run=$3 layout=$4
    "$containerd" --config "$run/config.toml" >"$run/log" 2>&1 &
    pid=$!
    trap "kill $pid; wait $pid || true" EXIT
    for _ in $(seq 100); do "$ctr" -a "$run/containerd.sock" version && break; sleep 0.2; done
    tar -C "$layout" -c . | "$ctr" -a "$run/containerd.sock" -n k8s.io images import --local --discard-unpacked-layers -
    "$ctr" -a "$run/containerd.sock" -n k8s.io content prune references
    "$ctr" -a "$run/containerd.sock" -n k8s.io images ls
  ' - "${built[containerd]}" "${built[ctr]}" "$run" "$layout"
}

# Adds an image of one layer to an OCI layout: add_image LAYOUT NAME PROGRAM FILES
add_image() {
  local layout=$1 name=$2 program=$3 files=$4 layer config manifest
  tar -C "$files" --owner 0 --group 0 --numeric-owner -cf "$layout/layer" .
  layer=$(add_blob "$layout" "$layout/layer")
  jq -n --arg layer "$layer" --arg entry "/usr/local/bin/$program" --arg arch "$(go env GOARCH)" '{
    architecture: $arch, os: "linux", rootfs: {type: "layers", diff_ids: [$layer]},
    config: {Entrypoint: [$entry], Env: ["PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}}' >"$layout/config"
  local config_size layer_size
  config_size=$(stat -c %s "$layout/config") layer_size=$(stat -c %s "$layout/blobs/${layer/://}")
  config=$(add_blob "$layout" "$layout/config")
  jq -n --arg config "$config" --arg layer "$layer" --argjson config_size "$config_size" --argjson layer_size "$layer_size" '{
    schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: {mediaType: "application/vnd.oci.image.config.v1+json", digest: $config, size: $config_size},
    layers: [{mediaType: "application/vnd.oci.image.layer.v1.tar", digest: $layer, size: $layer_size}]}' >"$layout/manifest"
  local manifest_size
  manifest_size=$(stat -c %s "$layout/manifest")
  manifest=$(add_blob "$layout" "$layout/manifest")
  jq --arg digest "$manifest" --argjson size "$manifest_size" --arg name "$name" '.manifests += [{
    mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $digest, size: $size,
    annotations: {"io.containerd.image.name": $name}}]' "$layout/index.json" >"$layout/index.new"
  mv "$layout/index.new" "$layout/index.json"
}

add_blob() { # LAYOUT FILE
  local digest
  digest=$(sha256sum "$2" | cut -d' ' -f1)
  mv "$2" "$1/blobs/sha256/$digest"
  echo "sha256:$digest"
}

# kube-proxy runs iptables: its programs, modules and libraries, and no more of Debian.
add_iptables() { # FILES
  local files=$1 link program library
  for link in bin sbin lib lib64; do
    if [[ -L $root/$link ]]; then
      mkdir -p "$files/$(readlink "$root/$link")"
      ln -s "$(readlink "$root/$link")" "$files/$link"
    fi
  done
  (
    cd "$root" || exit
    for program in usr/sbin/{iptables,ip6tables}{,-save,-restore} usr/sbin/nft usr/sbin/modprobe; do
      # What looks like a program of its own is a link into /etc/alternatives.
      install -D -m 755 "$root/$(chroot "$root" realpath "/$program")" "$files/$program"
      chroot "$root" ldd "/$program" | grep -o '/[^ ]*'
    done | sort -u | while read -r library; do cp -L --parents ".$library" "$files/"; done
    cp -r --parents usr/lib/*-linux-gnu/xtables "$files/"
    for library in usr/lib/*-linux-gnu/xtables/*.so; do
      chroot "$root" ldd "/$library" | grep -o '/[^ ]*'
    done | sort -u | while read -r library; do cp -L --parents ".$library" "$files/"; done
  )
  mkdir -p "$files/run" "$files/tmp"
}
