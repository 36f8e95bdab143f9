# shellcheck shell=bash
# The images of Tombolo's own programs: one static binary each and nothing else.

tombolo_programs=(tombolo-operator tombolo-gateway tombolo-dns)

rust_host() { (cd "$checkout" && rustc -vV | sed -n 's/^host: //p'); }

# Builds the programs for one architecture; sets tombolo_binaries to the folder where they are.
build_tombolo() { # amd64|arm64
  local target package arguments=()
  case $1 in
    amd64) target=x86_64-unknown-linux-gnu ;;
    arm64) target=aarch64-unknown-linux-gnu ;;
    *) fail "no images for the architecture '$1': amd64 or arm64" ;;
  esac
  if [[ $target != "$(rust_host)" ]]; then
    if [[ ! -d $(cd "$checkout" && rustc --print sysroot)/lib/rustlib/$target ]]; then
      say "fetching Rust's standard library for $target"
      (cd "$checkout" && rustup target add "$target") >"$state/log/rustup" 2>&1 ||
        fail "Rust's standard library for $target cannot be had here: 'rustup target add $target' says: $(tail -n 1 "$state/log/rustup")"
    fi
    require_packages "gcc-${target%%-*}-linux-gnu" "libc6-dev-$1-cross"
    arguments+=(--config "target.$target.linker='${target%%-*}-linux-gnu-gcc'")
    export "CC_${target//-/_}=${target%%-*}-linux-gnu-gcc"
  fi
  # For the target only: build scripts and procedural macros must stay dynamic.
  arguments+=(--config "target.$target.rustflags=['-C', 'target-feature=+crt-static']" --target "$target")
  for package in "${tombolo_programs[@]}"; do arguments+=(--package "$package"); done
  say "building ${tombolo_programs[*]} for $1"
  (cd "$checkout" && cargo build --release --locked "${arguments[@]}" --bins >&2) || fail 'cargo build'
  tombolo_binaries=${CARGO_TARGET_DIR:-$checkout/target}
  [[ $tombolo_binaries == /* ]] || tombolo_binaries=$checkout/$tombolo_binaries
  tombolo_binaries+=/$target/release
}

# Makes the images; sets tombolo_tag. One tag for all three, a hash of what is in them: the same programs are not loaded twice.
tombolo_images_up() { # amd64|arm64
  local arch=$1 program image platform=() work
  build_tombolo "$arch"
  tombolo_tag=dev-$(for program in "${tombolo_programs[@]}"; do sha256sum <"$tombolo_binaries/$program"; done | hash_of)
  if [[ $arch != "$(go_arch)" ]]; then
    tombolo_tag+=-$arch
    platform=(--platform "linux/$arch")
  fi
  for program in "${tombolo_programs[@]}"; do
    image=$program:$tombolo_tag
    if ! has_image "$image"; then
      work=$state/image.new
      rm -rf "$work"
      install -D -m 755 "$tombolo_binaries/$program" "$work/root/$program"
      tar -C "$work/root" --owner 0 --group 0 --numeric-owner -c . | docker import "${platform[@]}" \
        -c 'USER 65532:65532' -c "ENTRYPOINT [\"/$program\"]" - "$image" >/dev/null
      rm -rf "$work"
    fi
    remove_other_images "$image"
    say "image $image, $(image_megabytes "$image") MB"
  done
}

go_arch() {
  case $(uname -m) in
    x86_64) echo amd64 ;;
    aarch64) echo arm64 ;;
    *) fail "neither amd64 nor arm64: $(uname -m)" ;;
  esac
}
