"""Debian roots, bootstrapped twice inside: the archives of both must be the same bytes.

The mirror is the one that apt on this machine uses, and the suite that of this machine. The file
system is made anew by every run, with its device nodes, so two bare runs never agree: each file
has the time of its unpacking.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.acceptance.debian import mirror, suite
from tests.system.capabilities import needs, needs_tools
from tests.system.harness import Runner

TIMEOUT = 600
"""Seconds for one bootstrap, which takes about 75 on an idle machine of 2025."""

ARCHIVE = "tar --sort=name --numeric-owner -C root -cf root.tar ."
COMMANDS = {
    "debootstrap": f"debootstrap --variant=minbase $SUITE root $MIRROR; {ARCHIVE}",
    "mmdebstrap": (
        'mmdebstrap --mode=root --variant=minbase $SUITE root.tar "deb $MIRROR $SUITE main"'
    ),
    "mmdebstrap-unshare": (
        'mmdebstrap --mode=unshare --variant=minbase $SUITE root.tar "deb $MIRROR $SUITE main"'
    ),
    # usrmerge refuses to be unpacked where /usr is a mount, as it is in a container with the host's
    # root, unless there is what an initramfs leaves; see docs/builders.md.
    "mmdebstrap-fakechroot": (
        "mmdebstrap --mode=fakechroot --variant=minbase "
        """--extract-hook='mkdir -p "$1/run/initramfs"' """
        """--customize-hook='rmdir "$1/run/initramfs"' """
        '$SUITE root.tar "deb $MIRROR $SUITE main"'
    ),
}


def bootstrap(ns: Runner, name: str, epoch: str) -> Iterator[str]:
    """What one run says of its archive: its checksum, and the device nodes in it."""
    here = ns.directory()
    script = (
        f"exec 3>&1 >log 2>&1; SUITE={suite()} MIRROR={mirror()}; {COMMANDS[name]}; "
        "sha256sum root.tar >&3; tar tvf root.tar ./dev/null ./dev/urandom >&3; rm -rf root"
    )
    options = ["--network=host", f"--epoch={epoch}", "-v", f"{here}:/build", "-w", "/build"]
    outcome = ns.exec("sh", "-ec", script, options=options, timeout=TIMEOUT)
    log = here / "log"
    assert outcome.code == 0, log.read_text()[-3000:] if log.exists() else outcome
    assert not (here / "root").exists()
    return iter(outcome.lines)


def equal_twice(ns: Runner, name: str) -> None:
    """The archives of two runs are the same bytes, and there are device nodes in them."""
    needs_tools(name.partition("-")[0], "tar", "apt-get")
    needs("Debian, with a mirror that apt knows and that answers", suite() and mirror())
    # Later than the mirror's Release file, or apt would refuse that.
    epoch = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    first, second = (list(bootstrap(ns, name, epoch)) for _ in range(2))
    assert first == second
    assert [line[0] for line in first[1:]] == ["c", "c"]


@pytest.mark.slow
@pytest.mark.timeout(2 * TIMEOUT)
def test_debootstrap_makes_the_same_root_twice(ns: Runner) -> None:
    equal_twice(ns, "debootstrap")


@pytest.mark.slow
@pytest.mark.timeout(2 * TIMEOUT)
@pytest.mark.parametrize("name", ["mmdebstrap", "mmdebstrap-unshare"])
def test_mmdebstrap_makes_the_same_root_twice(root: Runner, name: str) -> None:
    equal_twice(root, name)


@pytest.mark.slow
@pytest.mark.timeout(2 * TIMEOUT)
@pytest.mark.parametrize("name", ["mmdebstrap-unshare", "mmdebstrap-fakechroot"])
def test_mmdebstrap_makes_it_for_an_ordinary_user(user: Runner, name: str) -> None:
    needs_tools("fakechroot", "fakeroot")
    equal_twice(user, name)
