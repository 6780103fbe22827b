#!/bin/bash
# Fetch the source package $2 of Debian into the directory $1, with apt.
#
# Where the machine's apt has no deb-src line, its own deb lines are read as deb-src ones from a copy
# below that directory; nothing of the system's apt is changed.
set -euo pipefail

target=$1
package=$2
mkdir -p "$target"
target=$(cd "$target" && pwd)

if compgen -G "$target/${package}_*.dsc" >/dev/null; then
  echo "the source of $package is there already"
  exit 0
fi

own=$target/.apt
apt_options=()

# Copy the machine's deb sources to $1 as deb-src ones, in either of apt's two formats.
derive_sources() {
  local file
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ ! -f "$file" ] || sed -n 's/^deb[[:space:]]/deb-src /p' "$file" >"$1/$(basename "$file" .list).list"
  done
  for file in /etc/apt/sources.list.d/*.sources; do
    [ ! -f "$file" ] || sed 's/^Types:.*/Types: deb-src/' "$file" >"$1/$(basename "$file")"
  done
}

use_own_lists() {
  apt_options=(
    -o "Dir::Etc::SourceList=/dev/null"
    -o "Dir::Etc::SourceParts=$own/sources.list.d"
    -o "Dir::State::Lists=$own/lists"
    -o "Dir::Cache=$own/cache"
    -o "APT::Sandbox::User=$(id -un)"
    -o "APT::Update::Post-Invoke::="
    -o "APT::Update::Post-Invoke-Success::="
  )
  if [ -e "$own/updated" ]; then return; fi
  rm -rf "$own"
  mkdir -p "$own/sources.list.d" "$own/lists/partial" "$own/cache/archives/partial"
  derive_sources "$own/sources.list.d"
  echo "apt reads the source lists (into $own)"
  apt-get -q "${apt_options[@]}" update >"$own/update.log" 2>&1 || {
    cat "$own/update.log" >&2
    exit 1
  }
  touch "$own/updated"
}

if ! apt-get -q source --print-uris "$package" >/dev/null 2>&1; then
  use_own_lists
fi

fetch() {
  apt-get -q "${apt_options[@]}" -o "APT::Sandbox::User=$(id -un)" source --download-only "$1"
}

echo "apt fetches the source of $package"
cd "$target"
fetch "$package" || {
  # A mirror may lack the newest version that its list names.
  for version in $(apt-cache "${apt_options[@]}" showsrc --only-source "$package" |
    sed -n 's/^Version: //p'); do
    if fetch "$package=$version"; then exit 0; fi
  done
  exit 1
}
