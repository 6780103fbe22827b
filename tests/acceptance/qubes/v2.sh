#!/bin/bash
# What tests/acceptance/qubes/run does with qubes-builder v2; it sources this file.
# shellcheck disable=SC2034,SC2154 # its variables and ours

python=${QUBES_PYTHON:-python3} own=()
all_ways=(local executor inside podman)
all_components=(app-linux-input-proxy gui-common app-linux-img-converter)
clones=(qubes-builderv2)
tools=(pbuilder debootstrap dpkg-buildpackage debchange reprepro sudo)
packages="pbuilder debootstrap dpkg-dev devscripts reprepro sudo python3-debian"
maintainer=0064428F455451B3EBE78A7F063938BA42CFA724
modules="click, packaging, pathspec, lxml, yaml, dateutil"

check() {
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null ||
    die "$python is no Python >= 3.12, which v2 needs; name one in QUBES_PYTHON"
  "$python" -c "import $modules" ||
    die "$python lacks modules of v2 (pip install click packaging pathspec lxml pyyaml python-dateutil)"
  if [[ " ${ways[*]} " == *" inside "* ]]; then
    # What root's own Python consists of is shown in the home directory, which is empty but for that.
    mapfile -t own < <("$python" -c 'import sys
for place in sorted({sys.prefix, sys.base_prefix}):
    if place.startswith("/root/"):
        print(f"--volume={place}:{place}:ro")')
    "${nsbuild[@]}" exec --tmpfs=/root:mode=0700 "${own[@]}" / "$python" -c "import $modules" ||
      die "$python does not run in a container, where /root is empty, for --way=inside"
  fi
  [[ " ${ways[*]} " == *" podman "* ]] || return 0
  "$python" -c 'import podman' || die "$python lacks a module of v2 for --way=podman (pip install podman)"
  command -v mmdebstrap >/dev/null || die "no mmdebstrap here, for --way=podman (apt-get install mmdebstrap)"
}

prepare() {
  local copy component
  plugins=$(cd "$repo" && "$python" -m nsbuild.integrations.qubes_builder)
  # Only the clone that makes the cache is ever changed. Builds run in copies of the other one, because
  # Python leaves bytecode in them.
  rm -rf "$work/v2" "$work/v2-cache"
  for copy in v2 v2-cache; do
    git -c safe.directory='*' clone -q "$checkouts/qubes-builderv2" "$work/$copy"
  done
  for component in "${components[@]}"; do
    bare_clone "qubes-$component" "$work/git/$component"
  done
  make_cache
  # Midnight after the chroot was made: no file in it is from the future then, nor is any signature.
  epoch=$((($(stat -c %Y "$(compgen -G "$cache/chroot/vm-bookworm/*/pbuilder/base.tgz")") / 86400 + 1) * 86400))
  mkdir -p "$work/inside"
  [[ " ${ways[*]} " != *" podman "* ]] || make_image
}

# What v2's `podman` has to find: the image of its own dockerfiles/ in a store below WORK, and a command
# podman. v2 mounts nothing of the machine into a container, so the components' clones are in the image.
make_image() {
  local base=localhost/qubes-base
  image=localhost/qubes-builder socket=$work/nsbuild.sock
  export NSBUILD_STORE=$work/store
  mkdir -p "$work/bin"
  printf '#!/bin/sh\nexec %s "$@"\n' "${nsbuild[*]}" >"$work/bin/podman"
  chmod 755 "$work/bin/podman"
  # An earlier call that was ended in the middle has left its container.
  "${nsbuild[@]}" rm --all --force >/dev/null
  echo "qubes: nsbuild makes an image as v2's dockerfiles/debian.Dockerfile says, $(date '+%F %T')"
  "${nsbuild[@]}" image exists "$base" ||
    "${nsbuild[@]}" image bootstrap --quiet --suite=bookworm --tag="$base" ${mirror:+"--mirror=$mirror"} \
      >"$work/image.log" 2>&1 || died "$work/image.log" "$?" "nsbuild image bootstrap"
  {
    # Without what Debian recommends, since v2 needs nothing of it. The end is for dpkg to take
    # SOURCE_DATE_EPOCH from the changelog, as it does under podman.
    echo "FROM $base"
    echo "RUN echo 'APT::Install-Recommends no;' >/etc/apt/apt.conf.d/90qubes"
    grep -v '^FROM ' "$work/v2/dockerfiles/debian.Dockerfile"
    echo "COPY --chown=user:user . $work/git"
    echo 'ENTRYPOINT ["env", "-u", "SOURCE_DATE_EPOCH"]'
  } >"$work/Containerfile"
  "${nsbuild[@]}" build --network=host --tag="$image" --file="$work/Containerfile" "$work/git" \
    >"$work/image.log" 2>&1 || died "$work/image.log" "$?" "nsbuild build"
}

# `nsbuild system service` for a build, until stop_others. Its log is in the directory $1.
serve() {
  NSBUILD_EPOCH=$epoch "${nsbuild[@]}" system service --time=0 "unix://$socket" >"$1/service.log" 2>&1 &
  service=$!
  for _ in $(seq 100); do
    [ ! -S "$socket" ] || return 0
    sleep 0.1
  done
  died "$1/service.log" "(none yet)" "nsbuild system service"
}

make_cache() {
  cache=$work/cache/artifacts/cache
  if compgen -G "$cache/chroot/vm-bookworm/*/pbuilder/base.tgz" >/dev/null; then return; fi
  echo "qubes: v2 makes a Debian chroot (init-cache), without nsbuild, $(date '+%F %T')"
  rm -rf "$work/cache"
  configure "$work/cache" "$work/cache" <<<"executor: {type: local, options: {directory: $work/cache/exec}}"
  if [ -n "$mirror" ]; then
    # The second step of init-cache forgets `mirrors:`.
    sed -i "s,MIRRORSITE=https:.*/debian$,MIRRORSITE=$mirror," \
      "$work/v2-cache/qubesbuilder/plugins/chroot_deb/pbuilder/pbuilderrc"
  fi
  qb "$work/v2-cache" "$work/cache" "$work/cache" init-cache
}

# builder.yml in the directory $1, which qb is going to see as $2, with the executor on stdin.
configure() {
  local component
  mkdir -p "$1/artifacts"
  {
    cat <<CONFIG
git:
  baseurl: https://github.com
  prefix: QubesOS/qubes-
  branch: main
  maintainers: ['$maintainer']
backend-vmm: xen
debug: true
verbose: true
qubes-release: r4.3
artifacts-dir: $2/artifacts
distributions: [vm-bookworm]
cache:
  vm-bookworm:
    packages: [debhelper, fakeroot, python3-setuptools]
    install-packages: true
stages: [fetch, init-cache, prep, build]
components:
CONFIG
    for component in "${components[@]}"; do
      printf '  - %s:\n      url: file://%s\n' "$component" "$work/git/$component"
    done
    [ -z "$mirror" ] || printf 'mirrors:\n  debian: [%s]\n' "$mirror"
    cat
  } >"$1/builder.yml"
}

# v2's clone $1 with the configuration in $2, which it sees as $3: the stages behind that. The words of
# `around` come before it. The log is in $2.
around=()
qb() {
  local clone=$1 directory=$2 seen=$3 status=0
  shift 3
  (cd "$clone" && QUBES_BUILDER_NO_UPDATE_CHECK=1 "${around[@]}" "$python" ./qb \
    --builder-conf "$seen/builder.yml" -d vm-bookworm package "$@") \
    >"$directory/log" 2>&1 </dev/null || status=$?
  [ "$status" -eq 0 ] || died "$directory/log" "$status" "qb package $*"
}

build() {
  local way=$1 directory=$2 seen=$2 executor left
  executor="executor: {type: local, options: {directory: $seen/exec}}"
  around=()
  case $way in
    local)
      # Without a network, as the other two.
      [ "$(id -u)" -ne 0 ] || around=(unshare --net)
      ;;
    executor)
      executor="plugins-dirs: ['$plugins']
executor:
  type: nsbuild
  options:
    directory: $seen/exec
    command: ${nsbuild[*]}
    epoch: $epoch"
      ;;
    inside)
      # Paths are inputs, so it has the same name in all rounds. SOURCE_DATE_EPOCH is for dpkg to
      # take from the changelog, as it does without nsbuild.
      seen=$work/inside
      executor="executor: {type: local, options: {directory: $seen/exec}}"
      around=("${nsbuild[@]}" exec "--epoch=$epoch" "--volume=$directory:$seen" "--workdir=$seen/v2"
        --tmpfs=/root:mode=0700 "${own[@]}" --env=QUBES_BUILDER_NO_UPDATE_CHECK / env -u SOURCE_DATE_EPOCH)
      ;;
    podman)
      executor="executor: {type: podman, options: {image: $image, base_url: 'unix://$socket'}}"
      around=(env "PATH=$work/bin:$PATH")
      serve "$directory"
      ;;
  esac
  configure "$directory" "$seen" <<<"$executor"
  cp -a "$cache" "$directory/artifacts/cache"
  cp -a "$work/v2" "$directory/v2"
  qb "$directory/v2" "$directory" "$seen" fetch prep build
  if [ "$way" = podman ]; then
    left=$("${nsbuild[@]}" ps -aq)
  else
    left=$(find "$directory/exec" -mindepth 1 2>/dev/null | head -n 3)
  fi
  [ -z "$left" ] || { echo "qubes: left by $way: $left" >&2; failed=1; }
}

built() {
  find "$1"/artifacts/components/*/*/vm-bookworm/build -type f "${@:2}"
}
