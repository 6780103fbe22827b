"""Being the machine's chroot, and not being it any more: in copies of /usr that are thrown away."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system import chroots
from tests.system.capabilities import needs, needs_tools
from tests.system.chroots import Roots, Seen, run

NSBUILD = f"{shlex.quote(sys.executable)} -m nsbuild"
FIRST = "Tue Dec 22 15:26:18 UTC 2015"


@pytest.fixture(scope="module")
def roots() -> Iterator[Roots]:
    needs("root", os.getuid() == 0)
    needs_tools("busybox", "ldd", "unshare", "dpkg-divert")
    with chroots.standing() as standing:
        yield standing


def aside(roots: Roots, script: str) -> Seen:
    """Run `script` with overlays on /usr and on dpkg's database; what it said, stderr included."""
    place = roots.top / "overlays"
    place.mkdir(exist_ok=True)
    cover = 'mount --make-rprivate / && mount -t tmpfs none "$0" && cd "$0" && '
    cover += (
        "mkdir u w du dw && mount -t overlay -o lowerdir=/usr,upperdir=u,workdir=w none /usr && "
    )
    cover += (
        "mount -t overlay -o lowerdir=/var/lib/dpkg,upperdir=du,workdir=dw none /var/lib/dpkg && "
    )
    cover += "cd / && exec 2>&1\n"
    seen = run(["unshare", "-m", "sh", "-c", cover + script, str(place), str(roots.box)])
    assert seen.stderr == b""
    return seen


def lines(seen: Seen) -> list[str]:
    return seen.stdout.decode().splitlines()


def test_beside_the_real_one(roots: Roots) -> None:
    script = f"""
{NSBUILD} install-chroot; {NSBUILD} install-chroot
command -v chroot; chroot "$1" date; chroot "$1" sh -c 'exit 5'; echo $?
PYTHONPATH=/nonsense PYTHONHOME=/nonsense chroot "$1" date
{NSBUILD} uninstall-chroot; {NSBUILD} uninstall-chroot; ls /usr/local/sbin; hash -r
command -v chroot
"""
    assert lines(aside(roots, script)) == [
        "nsbuild's chroot is /usr/local/sbin/chroot now",
        "nsbuild's chroot is /usr/local/sbin/chroot already",
        "/usr/local/sbin/chroot",
        FIRST,
        "5",
        FIRST,
        "/usr/local/sbin/chroot is no longer nsbuild's",
        "/usr/local/sbin/chroot was not nsbuild's",
        *sorted(os.listdir("/usr/local/sbin")),
        "/usr/sbin/chroot",
    ]


def test_in_the_place_of_the_real_one(roots: Roots) -> None:
    before = Path("/usr/sbin/chroot").stat()
    script = f"""
{NSBUILD} install-chroot --divert; {NSBUILD} install-chroot --divert
dpkg-divert --list /usr/sbin/chroot; /usr/sbin/chroot "$1" date
/usr/sbin/chroot.distrib --version | head -1 | cut -d' ' -f1-3
{NSBUILD} uninstall-chroot --divert; {NSBUILD} uninstall-chroot --divert
dpkg-divert --list /usr/sbin/chroot; stat -c '%s %a' /usr/sbin/chroot; ls /usr/sbin/chroot.distrib
"""
    assert lines(aside(roots, script)) == [
        "nsbuild's chroot is /usr/sbin/chroot now",
        "nsbuild's chroot is /usr/sbin/chroot already",
        "local diversion of /usr/sbin/chroot to /usr/sbin/chroot.distrib",
        FIRST,
        "chroot (GNU coreutils)",
        "/usr/sbin/chroot is no longer nsbuild's",
        "/usr/sbin/chroot was not nsbuild's",
        f"{before.st_size} {before.st_mode & 0o7777:o}",
        "ls: cannot access '/usr/sbin/chroot.distrib': No such file or directory",
    ]


def test_systemd_nspawn_beside_and_in_the_place_of_the_real_one(roots: Roots) -> None:
    """The real one is a script here, since the package would bring all of systemd along."""
    script = f"""
rm -f /usr/bin/systemd-nspawn; mkdir -p "$1/usr"; export NSBUILD_HOSTNAME=box
{NSBUILD} install-chroot --nspawn --divert; echo $?
printf '#!/bin/sh\necho real "$@"\n' > /usr/bin/systemd-nspawn; chmod 755 /usr/bin/systemd-nspawn
{NSBUILD} install-chroot --nspawn; hash -r; command -v systemd-nspawn
systemd-nspawn -q -D "$1" date; systemd-nspawn -qD "$1" sh -c 'exit 5'; echo $?
{NSBUILD} uninstall-chroot --nspawn; {NSBUILD} uninstall-chroot --nspawn; hash -r
systemd-nspawn a; {NSBUILD} install-chroot --nspawn --divert
dpkg-divert --list /usr/bin/systemd-nspawn; systemd-nspawn -q -D "$1" date
/usr/bin/systemd-nspawn.distrib b; {NSBUILD} uninstall-chroot --nspawn --divert
dpkg-divert --list /usr/bin/systemd-nspawn; systemd-nspawn c; command -v chroot
"""
    *said, last = lines(aside(roots, script))
    assert said == [
        "nsbuild: cannot keep /usr/bin/systemd-nspawn as /usr/bin/systemd-nspawn.distrib: "
        "No such file or directory (no systemd-nspawn is installed; --divert is for one that is)",
        "125",
        "nsbuild's systemd-nspawn is /usr/local/bin/systemd-nspawn now",
        "/usr/local/bin/systemd-nspawn",
        FIRST,
        "5",
        "/usr/local/bin/systemd-nspawn is no longer nsbuild's",
        "/usr/local/bin/systemd-nspawn was not nsbuild's",
        "real a",
        "nsbuild's systemd-nspawn is /usr/bin/systemd-nspawn now",
        "local diversion of /usr/bin/systemd-nspawn to /usr/bin/systemd-nspawn.distrib",
        FIRST,
        "real b",
        "/usr/bin/systemd-nspawn is no longer nsbuild's",
        "real c",
    ]
    assert last == "/usr/sbin/chroot"


def test_in_another_root(roots: Roots) -> None:
    """It is the machine's own under another name here, since a Python must be in it."""
    place = roots.top / "other"
    place.mkdir(exist_ok=True)
    script = f"""
mount --rbind / {place}
{NSBUILD} install-chroot --divert {place}; {NSBUILD} install-chroot {place}
dpkg-divert --list /usr/sbin/chroot
/usr/sbin/chroot.distrib {place} /usr/sbin/chroot "$1" date
{NSBUILD} uninstall-chroot {place}; {NSBUILD} uninstall-chroot --divert {place}
dpkg-divert --list /usr/sbin/chroot
{NSBUILD} install-chroot "$1"; echo $?
"""
    *said, missing, code = lines(aside(roots, script))
    assert said == [
        f"nsbuild's chroot is {place}/usr/sbin/chroot now",
        f"nsbuild's chroot is {place}/usr/local/sbin/chroot now",
        "local diversion of /usr/sbin/chroot to /usr/sbin/chroot.distrib",
        FIRST,
        f"{place}/usr/local/sbin/chroot is no longer nsbuild's",
        f"{place}/usr/sbin/chroot is no longer nsbuild's",
    ]
    assert missing.startswith(f"nsbuild: no nsbuild inside {roots.box} (install it there first")
    assert code == "125"


def test_a_link_of_somebody_elses_that_leads_nowhere(roots: Roots) -> None:
    script = f"""
ln -s /no/such /usr/local/sbin/chroot
{NSBUILD} install-chroot; echo $?; readlink /usr/local/sbin/chroot
"""
    assert lines(aside(roots, script)) == [
        "nsbuild: /usr/local/sbin/chroot is not nsbuild's (move it away first)",
        "125",
        "/no/such",
    ]


def test_somebody_elses(roots: Roots) -> None:
    script = f"""
echo theirs > /usr/local/sbin/chroot
{NSBUILD} install-chroot; echo $?; {NSBUILD} uninstall-chroot; echo $?; cat /usr/local/sbin/chroot
dpkg-divert --quiet --local --no-rename --divert /usr/sbin/chroot.other --add /usr/sbin/chroot
{NSBUILD} install-chroot --divert ; echo $?; ls /usr/sbin/chroot.distrib
{NSBUILD} install-chroot /no/such; {NSBUILD} uninstall-chroot --what; echo $?
"""
    assert lines(aside(roots, script)) == [
        "nsbuild: /usr/local/sbin/chroot is not nsbuild's (move it away first)",
        "125",
        "nsbuild: /usr/local/sbin/chroot is not nsbuild's (it was left as it is)",
        "125",
        "theirs",
        "nsbuild: cannot divert /usr/sbin/chroot: dpkg-divert: error: 'local diversion of "
        "/usr/sbin/chroot to /usr/sbin/chroot.distrib' clashes with 'local diversion of "
        "/usr/sbin/chroot to /usr/sbin/chroot.other'",
        "125",
        "ls: cannot access '/usr/sbin/chroot.distrib': No such file or directory",
        "nsbuild: no directory '/no/such'",
        "nsbuild: unrecognized arguments: --what (see nsbuild uninstall-chroot --help)",
        "125",
    ]
