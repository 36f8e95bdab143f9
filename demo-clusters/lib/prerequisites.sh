# shellcheck shell=bash
# What must be on the machine. What Debian has is installed; compilers that Debian has too old are asked for.

at_least() { # HAVE WANT
  [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]
}

require_go() {
  command -v go >/dev/null || fail 'go is missing: install Go 1.26 or newer'
  local have
  have=$(go env GOVERSION)
  at_least "${have#go}" 1.26 || fail "Go is $have, 1.26 or newer is needed"
}

require_rust() {
  command -v cargo >/dev/null || fail 'cargo is missing: install Rust 1.95 or newer'
  local have
  have=$(cd "$checkout" && rustc --version | cut -d' ' -f2)
  at_least "$have" 1.95 || fail "Rust is $have, 1.95 or newer is needed"
}

# Prints those that are not installed.
lacking() { # PACKAGE...
  local package
  for package; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || echo "$package"
  done
}

# Installs the Debian packages that lack: require_packages PACKAGE...
require_packages() {
  local missing
  mapfile -t missing < <(lacking "$@")
  ((${#missing[@]})) || return 0
  command -v apt-get >/dev/null || fail "this is not Debian: install what Debian calls ${missing[*]}"
  ((EUID == 0)) || fail "as root, run: apt-get install --no-install-recommends ${missing[*]}"
  say "installing Debian packages: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  if ! apt-get install -y --no-install-recommends "${missing[@]}" >/dev/null 2>&1; then
    quietly apt-update apt-get update
    quietly apt-install apt-get install -y --no-install-recommends "${missing[@]}"
  fi
}

# The same for servers, of which Debian starts one at once: tests and benchmarks start their own.
require_servers() { # PACKAGE...
  local missing
  mapfile -t missing < <(lacking "$@")
  ((${#missing[@]})) || return 0
  require_packages "${missing[@]}"
  [[ ! -d /run/systemd/system ]] || systemctl disable --now "${missing[@]}" >/dev/null 2>&1 || true
}

# kubelet, containerd and systemd of each node take inotify instances, all as one user; the usual 128 are used up by the third node.
raise_inotify_limit() {
  local file=/proc/sys/fs/inotify/max_user_instances now
  now=$(cat "$file")
  ((now < 1024)) || return 0
  if ((EUID == 0)); then
    [[ -e $state/inotify-instances ]] || echo "$now" >"$state/inotify-instances"
    echo 1024 >"$file"
  else
    say "fs.inotify.max_user_instances is $now: more than two clusters may need more"
  fi
}

restore_inotify_limit() {
  [[ -e $state/inotify-instances ]] || return 0
  cat "$state/inotify-instances" >/proc/sys/fs/inotify/max_user_instances || true
}
