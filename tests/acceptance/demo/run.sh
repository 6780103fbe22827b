#!/bin/bash
# The demo: two projects built twice, and what of them is equal.
#
#   run.sh                 both parts
#   run.sh hello           Debian's hello, from its source package, twice under nsbuild
#   run.sh unreproducible  a project that differs on every build, twice bare and twice under nsbuild
#
# The second build of each pair happens later, in another directory and with every CPU kept busy (at a
# worse nice value, so that an ordinary user, whose build has no real-time priority, need not wait long).
# Exit status: 0 when everything that nsbuild built is equal, else 1. All output is in .cache/demo.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../../.." && pwd)
cache=${NSBUILD_DEMO_CACHE:-$repo/.cache/demo}
nsbuild=${NSBUILD:-$repo/.venv/bin/nsbuild}
busy=()
failed=0

make_busy() {
  local count
  count=$(nproc)
  for ((; count > 0; count--)); do
    nice -n 10 sh -c "while :; do :; done" &
    busy+=($!)
  done
}

stop_busy() {
  if [ ${#busy[@]} -gt 0 ]; then
    kill "${busy[@]}" 2>/dev/null || true
    wait "${busy[@]}" 2>/dev/null || true
    busy=()
  fi
}
trap stop_busy EXIT

# Run a command with its output in the log $1; show the log's end when it fails.
logged() {
  local log=$1 status=0
  shift
  "$@" >"$log" 2>&1 </dev/null || status=$?
  if [ "$status" -ne 0 ]; then
    tail -n 30 "$log" >&2
    echo "demo: exit status $status from: $*" >&2
    echo "demo: the whole log is $log" >&2
    exit 1
  fi
}

# The directory $1 of the host is /build inside, because the path of a build is one of its inputs.
build_inside() {
  local directory=$1
  shift
  logged "$directory.log" "$nsbuild" exec --volume "$directory:/build" --workdir /build / "$@"
}

sum() {
  if [ -f "$1" ]; then sha256sum <"$1" | cut -c 1-64; else echo "missing"; fi
}

install_build_dependencies() {
  if dpkg-checkbuilddeps "$1/debian/control" 2>/dev/null; then return; fi
  echo "demo: apt installs the build dependencies of hello"
  local sudo=()
  [ "$(id -u)" -eq 0 ] || sudo=(sudo)
  logged "$cache/build-dep.log" "${sudo[@]}" apt-get -q -y build-dep "$1"
}

demo_hello() {
  local pool=$cache/hello/source run directory file first second word
  local sums=$cache/hello/SHA256SUMS
  "$here/../fetch-source.sh" "$pool" hello
  rm -rf "$cache/hello/check" "$cache/hello"/run-* "$sums"
  logged "$cache/hello/unpack.log" dpkg-source -x "$pool"/hello_*.dsc "$cache/hello/check"
  install_build_dependencies "$cache/hello/check"

  for run in 1 2; do
    directory=$cache/hello/run-$run
    mkdir -p "$directory"
    cp "$pool"/hello_* "$directory"
    [ "$run" -eq 1 ] || make_busy
    echo "demo: dpkg-buildpackage of hello, build $run, $(date '+%F %T')"
    # shellcheck disable=SC2016
    build_inside "$directory" sh -c \
      'set -e; dpkg-source -x hello_*.dsc hello; cd hello; dpkg-buildpackage -b -us -uc'
    stop_busy
  done

  echo
  printf '%-36s %-20s %-20s\n' "SHA-256 of" "build 1" "build 2, loaded"
  for file in $(cd "$cache/hello" && find run-1 run-2 -maxdepth 1 -type f -name '*_*' \
    ! -name '*.dsc' ! -name '*.tar.*' -printf '%f\n' | sort -u); do
    first=$(sum "$cache/hello/run-1/$file")
    second=$(sum "$cache/hello/run-2/$file")
    word=equal
    if [ "$first" != "$second" ] || [ "$first" = missing ]; then word=DIFFERENT failed=1; fi
    printf '%-36s %-20s %-20s %s\n' "$file" "${first:0:18}.." "${second:0:18}.." "$word"
    printf '%s  %s\n' "$first" "run-1/$file" "$second" "run-2/$file" >>"$sums"
  done
  if [ -z "${file:-}" ]; then echo "demo: no artifacts in $cache/hello/run-1" >&2; failed=1; fi
  echo "demo: the whole sums are in $sums"
  echo
}

demo_unreproducible() {
  local base=$cache/unreproducible run kind artifact word bare
  rm -rf "$base"
  mkdir -p "$base"
  # The Go program is an input here, not a product: the threads of the go tool sleep while others wait
  # for the disk, and as sleeping takes no time yet, how often they do is up to the disk. Their clock
  # passes that on to what runs after it, and Go seeds its maps from the clock as well.
  logged "$base/go.log" env HOME="$base" GOCACHE="$base/go-cache" GO111MODULE=off GOFLAGS= \
    go build -o "$base/order" "$here/unreproducible/order.go"
  for run in 1 2; do
    for kind in bare nsbuild; do
      mkdir -p "$base/$kind-$run"
      cp "$here/unreproducible"/{Makefile,stamp.c} "$base/order" "$base/$kind-$run"
    done
    echo "demo: make of the unreproducible project, build $run"
    logged "$base/bare-$run.log" make -C "$base/bare-$run"
    [ "$run" -eq 1 ] || make_busy
    build_inside "$base/nsbuild-$run" make
    stop_busy
    sleep 1.1
  done

  echo
  printf '%-24s %-12s %-12s %s\n' "artifact" "bare" "nsbuild" "SHA-256 under nsbuild"
  for artifact in $(cd "$base" && find bare-1/out nsbuild-1/out -maxdepth 1 -type f ! -name '.*' \
    -printf '%f\n' | sort -u); do
    bare=different
    if cmp -s "$base"/bare-{1,2}/out/"$artifact"; then bare=EQUAL failed=1; fi
    word=equal
    cmp -s "$base"/nsbuild-{1,2}/out/"$artifact" || word=DIFFERENT failed=1
    printf '%-24s %-12s %-12s %.32s..\n' "$artifact" "$bare" "$word" \
      "$(sum "$base/nsbuild-1/out/$artifact")"
  done
  echo
}

mkdir -p "$cache"
case ${1:-all} in
  hello) demo_hello ;;
  unreproducible) demo_unreproducible ;;
  all)
    demo_unreproducible
    demo_hello
    ;;
  *)
    echo "usage: $0 [hello|unreproducible]" >&2
    exit 2
    ;;
esac

if [ "$failed" -ne 0 ]; then
  echo "demo: not everything is as it should be: see above" >&2
  exit 1
fi
echo "demo: everything that was built twice under nsbuild is equal"
