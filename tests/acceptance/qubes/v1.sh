#!/bin/bash
# What tests/acceptance/qubes/run does with qubes-builder v1; it sources this file.
#
# v1 wants to be run by an ordinary user who may sudo, and mounts things below its chroot that it never
# unmounts. So each build has a mount namespace in which /etc and /usr/local/sbin are overlays: the
# user, the permission, nsbuild's configuration and nsbuild as chroot exist there only.
# shellcheck disable=SC2034,SC2154 # its variables and ours

all_ways=(local chroot inside)
all_components=(app-linux-input-proxy)
clones=(qubes-builder qubes-builder-debian)
tools=(debootstrap dpkg-parsechangelog debchange reprepro sudo make)
packages="debootstrap dpkg-dev devscripts reprepro sudo make"
user=qubes-v1
id=59999

check() {
  [ "$(id -u)" -eq 0 ] || die "generation 1 needs root, to make the user that v1 wants"
  if getent passwd "$user" "$id" >/dev/null; then die "there is a user $user or $id already"; fi
}

prepare() {
  local name
  for name in builder-debian "${components[@]}"; do
    bare_clone "qubes-$name" "$work/git/$name.git"
  done
  chown -R "$id:$id" "$work/git"
  # The next midnight: later than the mirror's Release file, and than what debootstrap is going to make.
  epoch=$(($(date +%s) / 86400 * 86400 + 86400))
  mkdir -p "$work/builder"
}

# builder.conf
configuration() {
  local name
  cat <<CONFIG
RELEASE := 4.2
BRANCH = main
DIST_DOM0 ?=
DISTS_VM ?= bookworm
BUILDER_PLUGINS = builder-debian
COMPONENTS = builder-debian ${components[*]}
VERBOSE = 2
NO_SIGN = 1
BACKEND_VMM = xen
CONFIG
  for name in builder-debian "${components[@]}"; do
    printf 'GIT_URL_%s = file://%s\n' "${name//-/_}" "$work/git/$name.git"
  done
}

# In a mount namespace of its own: the machine as v1 needs it, for the way $1 and the build in $2.
machine() {
  local way=$1 directory=$2 place
  for place in /etc /usr/local/sbin; do
    mkdir -p "$directory/machine$place/upper" "$directory/machine$place/work"
    mount -t overlay overlay "$place" \
      -o "lowerdir=$place,upperdir=$directory/machine$place/upper,workdir=$directory/machine$place/work"
  done
  echo "$user:x:$id:$id::$work/builder:/bin/bash" >>/etc/passwd
  echo "$user:x:$id:" >>/etc/group
  echo "$user:*:19000:0:99999:7:::" >>/etc/shadow
  echo "$user ALL=(ALL:ALL) NOPASSWD: ALL" >/etc/sudoers.d/qubes-v1
  chmod 0440 /etc/sudoers.d/qubes-v1
  mount --bind "$directory/builder" "$work/builder"
  if [ "$way" = chroot ]; then
    printf 'epoch = %s\nstate = "%s"\n' "$epoch" "$directory/state" >/etc/nsbuild.toml
    "${nsbuild[@]}" install-chroot
  fi
}

# What the user does, whatever is around it.
whole_build() {
  make_v1 get-sources
  use_mirror
  make_v1 "$@"
}

# Without `DEPENDENCIES` v1 wants createrepo, which Debian 12 has not.
make_v1() {
  make DEPENDENCIES="git dpkg-dev debootstrap devscripts" "$@"
}

# The mirror's name is written into v1, and is https, whose certificates a fresh chroot does not know.
use_mirror() {
  [ -z "$mirror" ] || sed -i "s,https://[^/]*/debian,$mirror," \
    qubes-src/builder-debian/prepare-chroot-debian
}

# All of a build in the way $1, in $2.
everything() {
  local around=(sudo -H -u "$user")
  machine "$1" "$2"
  cd "$work/builder" || return
  if [ "$1" = inside ]; then
    around=("${nsbuild[@]}" exec --network=host "--epoch=$epoch" --volume="$work/builder:$work/builder"
      --workdir="$work/builder" --user="$user" --env=HOME="$work/builder" /)
  fi
  "${around[@]}" bash -ec "$(declare -f whole_build make_v1 use_mirror); mirror=$mirror; whole_build \"\$@\"" \
    bash "${components[@]/%/-vm}"
}

build() {
  local way=$1 directory=$2 status=0
  git -c safe.directory='*' clone -q "$checkouts/qubes-builder" "$directory/builder"
  configuration >"$directory/builder/builder.conf"
  chown -R "$id:$id" "$directory/builder"
  (
    export -f everything machine whole_build make_v1 use_mirror
    export way directory work user id epoch mirror
    unshare --mount --propagation=private bash -euo pipefail -c "
      $(declare -p components nsbuild)
      everything \"\$way\" \"\$directory\""
  ) >"$directory/log" 2>&1 </dev/null || status=$?
  [ "$status" -eq 0 ] || died "$directory/log" "$status" "make ${components[*]/%/-vm}"
}

built() {
  find "$1"/builder/qubes-src/*/pkgs -type f "${@:2}"
}
