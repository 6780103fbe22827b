"""Real packages built twice, bare and under nsbuild, and what of them is equal.

    python -m tests.acceptance.packages [--write FILE] [PACKAGE...]

Each is built from Debian's source package by dpkg-buildpackage, and from upstream's archive alone
by `./configure && make && make install`, with the result in a plain tar and SOURCE_DATE_EPOCH
unset. The two builds of a pair happen at different times from files of different ages; those under
nsbuild lie on different file systems and under different paths of the host too, and the second has
a busy process on each CPU beside it. --write makes the page for the documentation.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from difflib import unified_diff
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from tests.acceptance.table import BuildError, make_table
from tests.system.harness import load, next_second

CHECKOUT = Path(__file__).resolve().parents[2]
CACHE = CHECKOUT / ".cache/packages"
FETCH = CHECKOUT / "tests/acceptance/fetch-source.sh"
MEMORY = Path("/dev/shm")
ONE_CPU = ("taskset", "-c", "0")
AGES = (1_600_000_000, 1_700_000_123)
"""Times of the source files in the first and in the second build: seconds since 1970."""
CONFIGURE = './configure --prefix=/usr && make && make install DESTDIR="$top/dest"'
# What nsbuild sets as well, so that bare builds differ by what is not asked for only.
PLAIN = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": os.environ.get("HOME", "/"),
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "MAKEFLAGS": "-j1",
}


class Package(NamedTuple):
    """How a package is built.

    `kind` is the option of dpkg-buildpackage: -B leaves documentation out, where TeX or a compiler
    for another system would be needed. `upstream` builds upstream's archive and installs to
    $top/dest.
    """

    name: str
    kind: str = "-b"
    nocheck: bool = False
    upstream: str = CONFIGURE


JQ = f"autoreconf -fi && CFLAGS=-O2 {CONFIGURE.replace('--prefix', '--disable-docs --prefix')}"
LUA = 'make linux && make install INSTALL_TOP="$top/dest/usr"'
PACKAGES = (
    Package("hello"),
    Package("sed", nocheck=True),
    Package("gzip", kind="-B", nocheck=True),
    Package("bash", kind="-B", nocheck=True),
    Package("dash"),
    Package("zlib"),
    Package("lua5.4", upstream=LUA),
    Package("jq", nocheck=True, upstream=JQ),
)


class Artifact(NamedTuple):
    """The SHA-256 of one file in two bare builds and two under nsbuild; "" where it is missing."""

    name: str
    bare: tuple[str, str]
    inside: tuple[str, str]

    @property
    def differs_bare(self) -> bool:
        return self.bare[0] != self.bare[1]

    @property
    def equal(self) -> bool:
        return self.inside[0] == self.inside[1] != ""


class Result(NamedTuple):
    """`seconds` of the builds: bare, under nsbuild; `changes` tell in what those two differ."""

    package: Package
    version: str
    artifacts: tuple[Artifact, ...]
    seconds: tuple[float, float]
    changes: tuple[str, ...]


PAGE_TOP = """# Real packages, built twice

Each package was built twice bare and twice under nsbuild, both from Debian's source package
(`dpkg-buildpackage`) and from upstream's archive alone: `./configure && make && make install
DESTDIR`, without SOURCE_DATE_EPOCH, and the result in a plain `tar`. The bare builds lay under the
same path on one CPU. Those under nsbuild lay on a disk and in a tmpfs, under different paths of the
host that were `/build` inside, and the second had a busy process on each CPU beside it. The source
files were of different ages in each build of a pair. `make packages` repeats it all and writes this
page.

A build may not start before its sources were packed: what `tar` unpacks keeps its time, and
`configure` calls a clock insane that is behind. So each was given as `--epoch` the day after the
newest file in its archives.

Build options: `-B` leaves documentation out that would need TeX or a compiler for another system,
and nocheck a long test suite. The numbers say how many artifacts of the two builds were equal, bit
for bit.

| package | options | built | .deb | .buildinfo | .changes | upstream's tar |
|---|---|---|---|---|---|---|"""
PAGE_SUMS = """
## Sums

These are what nsbuild made. The same files come out where the same versions of the compiler and the
build dependencies are installed.

| file | SHA-256, its first 16 digits |
|---|---|"""


def run(command: Sequence[str | Path], log: Path, env: dict[str, str] | None = None) -> None:
    """Run a command with its output in `log`; raises BuildError."""
    with log.open("ab") as file:
        done = subprocess.run(
            list(command),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode != 0:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise BuildError(f"exit status {done.returncode}, log {log}:\n{last}")


def fetch(package: Package) -> list[Path]:
    """The files of the source package; what it needs to be built is installed if it is missing."""
    pool = CACHE / "source"
    log = CACHE / f"{package.name}.log"
    CACHE.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    run([FETCH, pool, package.name], log)
    sources = sorted(path for path in pool.glob(f"{package.name}_*") if path.suffix != ".asc")
    with tempfile.TemporaryDirectory(dir=CACHE) as top:
        (description,) = (path for path in sources if path.suffix == ".dsc")
        run(["dpkg-source", "--no-check", "-x", description, f"{top}/source"], log)
        scope = ["-B"] if package.kind == "-B" else []
        try:
            run(["dpkg-checkbuilddeps", *scope, f"{top}/source/debian/control"], log)
        except BuildError:
            sudo = [] if os.getuid() == 0 else ["sudo"]
            only = ["--arch-only"] if scope else []
            apt = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y"]
            wait = ["-o", "DPkg::Lock::Timeout=600", "--no-install-recommends"]
            run([*sudo, *apt, *wait, *only, "build-dep", f"{top}/source"], log)
    return sources


def upstream_script(package: Package) -> str:
    """Build upstream's archive, in the directory with the source package."""
    return f"""set -eu
unset SOURCE_DATE_EPOCH
top=$PWD
mkdir upstream
tar -xf {package.name}_*.orig.tar.?z* -C upstream --strip-components=1
(cd upstream && {package.upstream})
tar -cf upstream.tar dest
"""


def debian_script(package: Package) -> str:
    """Build the packages of Debian there."""
    return f"""
dpkg-source --no-check -x {package.name}_*.dsc source
(cd source && dpkg-buildpackage {package.kind} -us -uc)
"""


def epoch(sources: Sequence[Path]) -> int:
    """The day after the newest file in the archives, in seconds since 1970.

    What tar unpacks keeps the time in the archive, and must not lie in the future of the build:
    configure scripts refuse that.
    """
    newest = 0
    for path in sources:
        if ".tar." in path.name:
            with tarfile.open(path) as archive:
                newest = max(newest, *(int(member.mtime) for member in archive))
    return (newest // 86400 + 1) * 86400


def sums(directory: Path) -> dict[str, str]:
    """Name -> SHA-256 of the artifacts in `directory`."""
    patterns = ("*.deb", "*.udeb", "*.buildinfo", "*.changes", "upstream.tar")
    found = [path for pattern in patterns for path in directory.glob(pattern)]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def content(directory: Path) -> dict[str, list[str]]:
    """Name -> lines that tell what is in it, of the artifacts that are text or an archive."""
    told: dict[str, list[str]] = {}
    for pattern in ("*.buildinfo", "*.changes"):
        told.update((path.name, path.read_text().splitlines()) for path in directory.glob(pattern))
    for path in directory.glob("upstream.tar"):
        with tarfile.open(path) as archive:
            told[path.name] = [
                f"{member.mtime} {member.mode:o} {member.size} {member.name}" for member in archive
            ]
    return told


def lay_out(sources: Sequence[Path], top: Path, age: int) -> None:
    """Copy the sources into `top`; `age` becomes the time of the files."""
    top.chmod(0o755)
    for path in sources:
        shutil.copyfile(path, top / path.name)
        os.utime(top / path.name, (age, age))


def build_bare(
    package: Package, sources: Sequence[Path], turn: int, upstream_only: bool
) -> dict[str, str]:
    """On one CPU and under the same path each time, so that these are not why builds differ."""
    top = CACHE / "bare" / package.name
    shutil.rmtree(top, ignore_errors=True)
    top.mkdir(parents=True)
    lay_out(sources, top, AGES[turn])
    options = "nocheck parallel=1" if package.nocheck else "parallel=1"
    script = upstream_script(package) + ("" if upstream_only else debian_script(package))
    command: list[str | Path] = [*ONE_CPU, "env", "-C", top, "sh", "-c", script]
    run(command, log_of(package, f"bare-{turn + 1}"), PLAIN | {"DEB_BUILD_OPTIONS": options})
    made = sums(top)
    shutil.rmtree(top)
    return made


def build_inside(
    package: Package, sources: Sequence[Path], turn: int
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """First on the disk, then in memory where there is a /dev/shm."""
    parent = MEMORY if turn == 1 and os.access(MEMORY, os.W_OK) else CACHE
    top = Path(tempfile.mkdtemp(prefix="nsbuild-package-", dir=parent))
    try:
        lay_out(sources, top, AGES[turn])
        nsbuild = [sys.executable, "-m", "nsbuild", "exec", "-v", f"{top}:/build", "-w", "/build"]
        nsbuild.append(f"--epoch={epoch(sources)}")
        if package.nocheck:
            nsbuild += ["-e", "DEB_BUILD_OPTIONS=nocheck"]
        log = log_of(package, f"nsbuild-{turn + 1}")
        script = upstream_script(package) + debian_script(package)
        run([*nsbuild, "/", "sh", "-c", script], log)
        return sums(top), content(top)
    finally:
        shutil.rmtree(top, ignore_errors=True)


def log_of(package: Package, what: str) -> Path:
    """A new log."""
    log = CACHE / f"{package.name}-{what}.log"
    log.unlink(missing_ok=True)
    return log


def compare(package: Package, bare_upstream_only: bool = False) -> Result:
    """Build it all four times; raises BuildError.

    `bare_upstream_only` spares the time of Debian's build where it would be bare.
    """
    sources = fetch(package)
    start = time.monotonic()
    bare = [build_bare(package, sources, turn, bare_upstream_only) for turn in (0, 1)]
    middle = time.monotonic()
    first, first_content = build_inside(package, sources, 0)
    next_second(time.time())
    with load():
        second, second_content = build_inside(package, sources, 1)
    end = time.monotonic()
    builds = (*bare, first, second)
    artifacts = []
    for name in sorted(set().union(*builds)):
        one, two, three, four = (made.get(name, "") for made in builds)
        artifacts.append(Artifact(name, (one, two), (three, four)))
    version = next(path.stem for path in sources if path.suffix == ".dsc").partition("_")[2]
    changes = tuple(differences(first_content, second_content))
    return Result(package, version, tuple(artifacts), (middle - start, end - middle), changes)


def differences(first: dict[str, list[str]], second: dict[str, list[str]]) -> Iterator[str]:
    """What of two builds' contents differs, in lines of diff; no more than one can read."""
    for name in sorted(first.keys() | second.keys()):
        lines = unified_diff(
            first.get(name, []), second.get(name, []), name, name, n=0, lineterm=""
        )
        yield from islice(lines, 20)


KINDS = ("deb", ".buildinfo", ".changes", "upstream.tar")


def cell(result: Result, kind: str, bare: bool) -> str:
    """How many of the artifacts of a kind are equal: "2 of 2"."""
    of_kind = [artifact for artifact in result.artifacts if artifact.name.endswith(kind)]
    equal = sum(not a.differs_bare if bare else a.equal for a in of_kind)
    return f"{equal} of {len(of_kind)}" if of_kind else "none"


def named(result: Result, artifact: Artifact) -> str:
    """The name of an artifact; upstream's does not tell its package."""
    prefix = f"{result.package.name}: " if artifact.name == "upstream.tar" else ""
    return prefix + artifact.name


def page(results: Sequence[Result]) -> str:
    """The table for the documentation, in Markdown."""
    lines = [PAGE_TOP]
    for result in results:
        package = result.package
        options = package.kind + (", nocheck" if package.nocheck else "")
        for bare, name in ((True, f"{package.name} {result.version}"), (False, "")):
            words = [name, "" if name == "" else options, "bare" if bare else "nsbuild"]
            words += [cell(result, kind, bare) for kind in KINDS]
            lines.append(f"| {' | '.join(words)} |")
    lines.append(PAGE_SUMS)
    for result in results:
        lines += [f"| {named(result, a)} | {a.inside[0]:.16} |" for a in result.artifacts]
    return "\n".join(lines) + "\n"


def show(result: Result) -> None:
    """A line for each artifact."""
    bare, inside = result.seconds
    print(f"{result.package.name} {result.version}: bare {bare:.0f} s, nsbuild {inside:.0f} s")
    for artifact in result.artifacts:
        words = (
            "different" if artifact.differs_bare else "equal",
            "equal" if artifact.equal else "DIFFERENT",
        )
        print(
            f"  {artifact.name:44} {words[0]:12} {words[1]:12} {artifact.inside[0]:.16}", flush=True
        )
    print("".join(f"    {line}\n" for line in result.changes), end="", flush=True)


def main() -> int:
    """Build what is asked for and print it; the exit status says whether all is equal inside."""
    title = "packages", (__doc__ or "").partition("\n")[0]
    return make_table(
        *(title, PACKAGES, compare, show, page),
        lambda result: all(artifact.equal for artifact in result.artifacts),
    )


if __name__ == "__main__":
    sys.exit(main())
