"""pbuilder and sbuild: a package that differs on every build is the same twice, by nsbuild alone.

Each is run as docs/builders.md says, in a root that is bootstrapped once. What lies outside
differs from one run to the next: time, process numbers, directories, a busy machine.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.acceptance import debian
from tests.system.capabilities import needs, needs_tools
from tests.system.harness import Runner, burn_pids, load, next_second

TIMEOUT = 600
"""Seconds for one build, which takes ten to thirty on an idle machine of 2025."""
EPOCH = "2015-02-03"
"""Later than the changelog's date, which is all that matters where nothing is fetched."""
PBUILDER = "/usr/sbin/pbuilder"

Build = Callable[[Path], None]
"""Builds the package into a directory, of which nothing is known but that it exists."""


class Outside(NamedTuple):
    """Where the builders find what they need: outside of any container, on a disk."""

    place: Path
    archive: Path
    source: Path


@pytest.fixture(scope="module")
def outside() -> Iterator[Outside]:
    needs("root", os.getuid() == 0)
    needs_tools("mmdebstrap", "dpkg-source", "apt-get")
    needs("Debian, with a mirror that apt knows", debian.suite() and debian.mirror())
    place = Path(tempfile.mkdtemp(prefix="nsbuild-tests-", dir="/var/tmp"))
    try:
        place.chmod(0o755)
        debian.make_root(place / "root.tar", TIMEOUT)
        (place / "root.tar").chmod(0o644)
        yield Outside(place, place / "root.tar", debian.make_source(place))
    finally:
        shutil.rmtree(place)


def twice(outside: Outside, build: Build) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """What two builds under different conditions have made."""
    results = []
    for busy in (False, True):
        burn_pids()
        next_second(time.time())
        into = Path(tempfile.mkdtemp(prefix="build-", dir=outside.place))
        into.chmod(0o755)
        with load() if busy else nullcontext():
            build(into)
        results.append(debian.built(into))
        shutil.rmtree(into)
    return results[0], results[1]


def equal(results: tuple[dict[str, bytes], dict[str, bytes]]) -> list[str]:
    """Which of the files are the same in both."""
    first, second = results
    return [name for name in first if first[name] == second[name]]


ALL = [".deb", ".buildinfo", ".changes"]


def finished(ns: Runner, command: list[str], env: dict[str, str] | None = None) -> None:
    """Run `command` to its end, which must be a good one."""
    # Builders pass TMPDIR on, and the harness's is not in the root.
    seen = ns.outside(command, env={"TMPDIR": "/tmp", **(env or {})}, timeout=TIMEOUT)
    assert seen.code == 0, (seen.stdout[-3000:], seen.stderr[-2000:])


def pbuilder(outside: Outside, into: Path, place: Path, path: str = "") -> list[str]:
    """pbuilder's command line; `place` is `into` as it sees it, `path` comes before its PATH."""
    text = f"""
BASETGZ={outside.archive}
BUILDPLACE={place}/work
BUILDRESULT={place}
APTCACHE=
USENETWORK=no
PBUILDERSATISFYDEPENDSCMD=/usr/lib/pbuilder/pbuilder-satisfydepends-apt
{f"export PATH={path}:$PATH" if path else ""}
"""
    (into / "work").mkdir()
    (into / "pbuilderrc").write_text(text)
    (into / "home").mkdir()
    words = [PBUILDER, "build", "--configfile", f"{place}/pbuilderrc", "--buildresult", str(place)]
    return [*words, str(outside.source)]


@pytest.fixture(scope="module")
def pbuilder_differs(root: Runner, outside: Outside) -> None:
    """Fails the test if pbuilder by itself makes anything twice the same."""
    needs_tools(PBUILDER)
    bare = twice(outside, lambda into: finished(root, pbuilder(outside, into, into)))
    assert equal(bare) == []


def inside(root: Runner, outside: Outside, into: Path, *options: str) -> list[str]:
    """nsbuild exec with `into` as /var/tmp/build and what it takes to build."""
    at = f"{outside.place}:{outside.place}:ro"
    binds = ["-v", at, "-v", f"{into}:/var/tmp/build", "-w", "/var/tmp/build"]
    return root.command("exec", f"--epoch={EPOCH}", *binds, *options, "/")


@pytest.mark.slow
@pytest.mark.timeout(6 * TIMEOUT)
@pytest.mark.usefixtures("pbuilder_differs")
def test_pbuilder_inside(root: Runner, outside: Outside) -> None:
    """All of pbuilder in one container."""

    def build(into: Path) -> None:
        command = pbuilder(outside, into, Path("/var/tmp/build"))
        finished(root, [*inside(root, outside, into), *command])

    assert equal(twice(outside, build)) == ALL


@pytest.mark.slow
@pytest.mark.timeout(6 * TIMEOUT)
@pytest.mark.usefixtures("pbuilder_differs")
def test_pbuilder_whose_chroot_is_ours(root: Runner, outside: Outside) -> None:
    """pbuilder as it is, with nsbuild installed as chroot: its calls are one build by their state.

    /usr/local/sbin is a file system of the test's own.
    """
    needs_tools("unshare")
    install = 'mount -t tmpfs none /usr/local/sbin && "$@" install-chroot >/dev/null && exec $0'

    def build(into: Path) -> None:
        command = pbuilder(outside, into, into, "/usr/local/sbin")
        around = ["unshare", "-m", "sh", "-c", install, " ".join(command), *root.command()]
        finished(root, around, {"NSBUILD_EPOCH": EPOCH, "NSBUILD_STATE": str(into / "state")})
        assert (into / "state/state.json").exists()

    assert equal(twice(outside, build)) == ALL


@pytest.mark.slow
@pytest.mark.timeout(6 * TIMEOUT)
def test_sbuild_unshare(root: Runner, user: Runner, outside: Outside) -> None:
    """sbuild's mode for ordinary users, who are as many inside: root starts the container."""
    needs_tools("sbuild", "newuidmap")
    name = user.account.name

    def sbuild(place: Path) -> list[str]:
        skip = [f"--no-run-{what}" for what in ("lintian", "autopkgtest", "piuparts")]
        skip += [f"--no-apt-{what}" for what in ("update", "upgrade", "distupgrade")]
        root_is = ["--chroot-mode=unshare", f"--chroot={outside.archive}"]
        where = [f"--dist={debian.suite()}", f"--build-dir={place}", "--nolog"]
        return ["sbuild", *root_is, *where, *skip, str(outside.source)]

    def give(into: Path) -> None:
        os.chown(into, user.account.uid, user.account.gid)

    def build(into: Path) -> None:
        give(into)
        options = ("-u", name, "-e", "HOME=/var/tmp/build")
        finished(root, [*inside(root, outside, into, *options), *sbuild(Path("/var/tmp/build"))])

    def bare(into: Path) -> None:
        give(into)
        finished(user, [*user.account.prefix, *sbuild(into)], {"HOME": str(into)})

    assert equal(twice(outside, build)) == ALL
    assert equal(twice(outside, bare)) == []
