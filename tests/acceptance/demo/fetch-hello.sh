#!/bin/bash
# Fetch the source package of Debian's hello into the directory given, with apt.
#
# Where the machine's apt has no deb-src line, its own deb lines are read as deb-src ones from a copy
# below that directory; nothing of the system's apt is changed.
set -euo pipefail

target=$1
mkdir -p "$target"
target=$(cd "$target" && pwd)

if compgen -G "$target/hello_*.dsc" >/dev/null; then
  echo "demo: the source of hello is there already"
  exit 0
fi

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
  local own=$target/.apt
  rm -rf "$own"
  mkdir -p "$own/sources.list.d" "$own/lists/partial" "$own/cache/archives/partial"
  derive_sources "$own/sources.list.d"
  apt_options=(
    -o "Dir::Etc::SourceList=/dev/null"
    -o "Dir::Etc::SourceParts=$own/sources.list.d"
    -o "Dir::State::Lists=$own/lists"
    -o "Dir::Cache=$own/cache"
    -o "APT::Sandbox::User=$(id -un)"
    -o "APT::Update::Post-Invoke::="
    -o "APT::Update::Post-Invoke-Success::="
  )
  echo "demo: apt reads the source lists (into $own)"
  apt-get -q "${apt_options[@]}" update >"$own/update.log" 2>&1 || {
    cat "$own/update.log" >&2
    exit 1
  }
}

if ! apt-get -q source --print-uris hello >/dev/null 2>&1; then
  use_own_lists
fi

echo "demo: apt fetches the source of hello"
cd "$target"
apt-get -q "${apt_options[@]}" -o "APT::Sandbox::User=$(id -un)" source --download-only hello
