# shellcheck shell=bash
# The image of the sample's and the tests' pods: agnhost, and what one looks around a network with.

toolbox_image() {
  echo "tombolo-toolbox:$({
    program_path agnhost
    cat "$demo_dir/lib/toolbox-image.sh"
    declare -f debian_root debian_toolbox_root
  } | hash_of)"
}

# The names under which the MCS-API's conformance tests ask for such tools, with the entrypoint that each must have.
toolbox_aliases=(nicolaka/netshoot:v0.15 alpine/socat:1.7.4.4)

toolbox_image_up() {
  local image tar agnhost work root
  image=$(toolbox_image)
  if has_image "$image" && has_image "${toolbox_aliases[0]}" && has_image "${toolbox_aliases[1]}"; then return; fi
  say 'making the toolbox image'
  require_packages mmdebstrap
  tar=$(debian_toolbox_root)
  agnhost=$("$demo_dir/binaries/build.sh" agnhost)
  work=$state/toolbox.new
  root=$work/root
  rm -rf "$work"
  mkdir -p "$root"
  tar -C "$root" -xf "$tar" --exclude='./usr/share/perl*' --exclude='./usr/lib/*/perl*' --exclude='./usr/lib/*/gconv' \
    --exclude='./var/lib/dpkg' --exclude='./var/cache' --exclude='./usr/bin/*perl*' --exclude='*/libperl.so*' \
    --exclude='./usr/include' --exclude='./usr/share/bash-completion' --exclude='./dev/*'
  cp "$agnhost" "$root/usr/bin/agnhost"
  # Nothing ran the packages' scripts, which would have made these.
  ln -sf nc.openbsd "$root/bin/nc"
  ln -sf mawk "$root/usr/bin/awk"
  [[ -e $root/bin/sh ]] || ln -s dash "$root/bin/sh"
  printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n' >"$root/etc/passwd"
  printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
  # agnhost netexec keeps uploads here, and the demo's pods are not root.
  mkdir -m 1777 "$root/uploads"
  local path='ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
  tar -C "$root" -c . | docker import -c "$path" -c 'ENTRYPOINT ["/usr/bin/agnhost"]' -c 'CMD ["pause"]' - "$image" >/dev/null
  tar -C "$root" -c . | docker import -c "$path" -c 'CMD ["/bin/sh"]' - "${toolbox_aliases[0]}" >/dev/null
  tar -C "$root" -c . | docker import -c "$path" -c 'ENTRYPOINT ["/usr/bin/socat"]' - "${toolbox_aliases[1]}" >/dev/null
  rm -rf "$work"
  remove_other_images "$image"
  say "made $image, $(image_megabytes "$image") MB"
}
