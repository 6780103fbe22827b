"""Images of Debian, bootstrapped by nsbuild: one digest for one set of packages, and for its heirs.

The last test closes the circle of the proposal: an image that has nsbuild and mmdebstrap in it is
entered by pivot_root, and the nsbuild in there bootstraps the next image. It must be the one
that the nsbuild outside has made.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from nsbuild.images.store import Store
from tests.acceptance.debian import mirror, suite
from tests.system.capabilities import needs, needs_tools
from tests.system.harness import Runner, burn_pids

TIMEOUT = 600
"""Seconds for one image, which takes about 35 on an idle machine of 2025."""
OF_NSBUILD = "ca-certificates,libcap2,libseccomp2,mmdebstrap,python3,uidmap"


def need_a_mirror() -> None:
    needs_tools("mmdebstrap", "apt-get")
    needs("Debian, with a mirror that apt knows and that answers", suite() and mirror())


def elsewhere(directory: Path) -> list[str]:
    """What stands before a command of root's, that it sees another resolv.conf.

    It names the same servers: that others do not answer is seen in when what is written.
    """
    resolver = directory / "resolv.conf"
    resolver.write_text("# another network's\n" + Path("/etc/resolv.conf").read_text())
    script = 'mount --bind "$0" "$(realpath /etc/resolv.conf)"; exec "$@"'
    return ["unshare", "--mount", "sh", "-ec", script, str(resolver)]


def bootstrap(ns: Runner, store: Path, *options: str, within: Sequence[str] = ()) -> str:
    """Bootstrap into `store`; returns the image's id."""
    given = [] if ns.is_root else ["--sched=other"]
    wanted = [f"--suite={suite()}", f"--mirror={mirror()}", "-q", *given, *options]
    outcome = ns.outside(
        [*within, *ns.command("image", "bootstrap", *wanted)],
        env={"NSBUILD_STORE": str(store)},
        timeout=TIMEOUT,
    )
    assert outcome.code == 0, outcome
    return outcome.lines[-1]


@pytest.mark.slow
@pytest.mark.timeout(3 * TIMEOUT)
def test_root_and_a_user_make_the_same_image(root: Runner, user: Runner) -> None:
    need_a_mirror()
    ids = set()
    before = os.umask(0o022)
    try:
        for ns, umask in ((root, 0o022), (user, 0o077)):
            store = ns.directory("store-")
            os.umask(umask)
            within = elsewhere(ns.directory()) if ns.is_root else ()
            ids.add(bootstrap(ns, store, within=within))
            burn_pids()
    finally:
        os.umask(before)
    assert len(ids) == 1


@pytest.mark.slow
@pytest.mark.timeout(3 * TIMEOUT)
def test_an_image_bootstraps_itself(root: Runner, stage: Path) -> None:
    need_a_mirror()
    store = root.directory("store-")
    first = bootstrap(root, store, f"--include={OF_NSBUILD}", "-t", "generation")
    text = (
        "FROM generation\nENV PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/opt/src:/opt/modules\n"
        "COPY src /opt/src\nCOPY modules /opt/modules\n"
    )
    command = root.command("build", "-q", "-f", "-", str(stage))
    built = root.outside(command, text.encode(), {"NSBUILD_STORE": str(store)}, timeout=TIMEOUT)
    assert built.code == 0, built
    second = root.outside(
        in_root(Store(str(store)), built.lines[-1], root.directory("mounts-")), timeout=TIMEOUT
    )
    assert second.code == 0, second
    assert second.lines[-1] == first


def in_root(store: Store, image: str, place: Path) -> list[str]:
    """The command that bootstraps inside of an image, entered by mount(8) and pivot_root(8)."""
    layers = store.unpacked(store.image(image))
    for name in ("upper", "work", "root"):
        (place / name).mkdir()
    options = f"lowerdir={':'.join(reversed(layers))},upperdir={place}/upper,workdir={place}/work"
    inside = (
        "export PYTHONPATH=/opt/src:/opt/modules PYTHONDONTWRITEBYTECODE=1 NSBUILD_STORE=/store; "
        f"exec python3 -m nsbuild image bootstrap -q --suite={suite()} --mirror={mirror()} "
        f"--include={OF_NSBUILD}"
    )
    script = (
        f"set -e; mount -t overlay overlay -o userxattr,{options} {place}/root; cd {place}/root; "
        "for it in proc sys dev; do mount --rbind /$it $it; done; mount -t tmpfs tmpfs tmp; "
        "mkdir store; mount -t tmpfs tmpfs store; cp -L /etc/resolv.conf /etc/hosts etc/; "
        # Not by chroot(2), below which the kernel makes no user namespace.
        f"pivot_root . mnt; cd /; umount -l /mnt; {inside}"
    )
    return ["unshare", "--mount", "sh", "-c", script]
