"""Images and containers of one account: a store of its own, and the verbs on it.

The image is busybox and a passwd file, made by `nsbuild import`, so that tests have no network and
know every file in it.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.system.capabilities import needs
from tests.system.harness import TIMEOUT, Outcome, Runner

IMAGE = "localhost/busybox:latest"
PASSWD = "root:x:0:0:root:/root:/bin/sh\nsomebody:x:1000:1000::/home:/bin/sh\n"
APPLETS = (
    "basename cat chmod chown cp cut date dd echo env expr false grep head hostname id kill ln ls "
    "md5sum mkdir mkfifo mount mv nproc od printf ps pwd readlink rm rmdir sed seq sh sleep sort "
    "stat tail tee test touch tr true tty umount uname uniq wc yes"
)
MTIME = 1_300_000_000
"""What all files of the image have as their time; before the default epoch."""


def busybox() -> str:
    """A static busybox."""
    path = shutil.which("busybox")
    needs("busybox", path is not None)
    return str(path)


def write_tarball(path: Path) -> None:
    """The image's root file system."""
    with tarfile.open(path, "w") as archive:

        def add(name: str, kind: bytes, mode: int, data: bytes = b"", to: str = "") -> None:
            member = tarfile.TarInfo(name)
            member.type, member.mode, member.linkname = kind, mode, to
            member.size, member.mtime = len(data), MTIME
            archive.addfile(member, io.BytesIO(data))

        for name in ("bin", "etc", "home", "root", "usr", "usr/share", "proc", "sys", "dev"):
            add(name, tarfile.DIRTYPE, 0o755)
        add("tmp", tarfile.DIRTYPE, 0o1777)
        add("bin/busybox", tarfile.REGTYPE, 0o755, Path(busybox()).read_bytes())
        for applet in APPLETS.split():
            add(f"bin/{applet}", tarfile.SYMTYPE, 0o777, to="busybox")
        add("etc/passwd", tarfile.REGTYPE, 0o644, PASSWD.encode())
        add("etc/group", tarfile.REGTYPE, 0o644, b"root:x:0:\nsomebody:x:1000:\n")
        add("usr/share/words", tarfile.REGTYPE, 0o644, b"one\ntwo\n")


class ContainerBox:
    """The verbs about containers, in the store `store`."""

    def __init__(self, ns: Runner, place: Path | None = None) -> None:
        self.ns = ns
        parent = place or ns.work
        self.store = Path(tempfile.mkdtemp(prefix="store-", dir=parent))
        os.chown(self.store, ns.account.uid, ns.account.gid)
        tarball = self.store.parent / "image.tar"
        if not tarball.exists():
            write_tarball(tarball)
            tarball.chmod(0o644)
        self.image = self.ok("import", "-q", str(tarball), IMAGE).text.strip()

    def environment(self) -> dict[str, str]:
        """What the verbs need to find this store."""
        return {"NSBUILD_STORE": str(self.store), "NSBUILD_SCHED": self.policy}

    @property
    def policy(self) -> str:
        """An ordinary user asks for it, since `auto` would warn."""
        return "auto" if self.ns.is_root else "other"

    def __call__(self, *words: str, stdin: bytes = b"", timeout: float = TIMEOUT) -> Outcome:
        """`nsbuild WORDS`."""
        return self.ns.outside(
            self.ns.command(*words), stdin=stdin, env=self.environment(), timeout=timeout
        )

    def ok(self, *words: str, stdin: bytes = b"") -> Outcome:
        """The same; fails unless it succeeds in silence."""
        return self(*words, stdin=stdin).ok()

    def run(self, script: str, options: Sequence[str] = ("--rm",)) -> Outcome:
        """A shell in a new container, in the foreground."""
        return self("run", *options, IMAGE, "sh", "-c", script)

    def waiting(self, *options: str, first: str = "true") -> str:
        """The id of a container that waits for ever, once it has done `first`."""
        # Nobody opens the other end, and no timeout of its own ever fires.
        script = f"{first}; mkfifo /wait; echo ready; read x < /wait"
        identity = self.ok("run", "-d", *options, IMAGE, "sh", "-c", script).text.strip()
        self.until(lambda: "ready" in self.ok("logs", identity).text)
        return identity

    def until(self, true: object, seconds: float = 20) -> None:
        """Wait until the callable `true` says so."""
        assert callable(true)
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, "it did not happen"
            time.sleep(0.05)

    def state(self, name: str) -> str:
        """What `ps` calls it."""
        return self.ok("inspect", "--format", "{{.State.Status}}", name).text.strip()

    def left(self) -> list[str]:
        """Directories of containers that are there."""
        place = self.store / "containers"
        return sorted(os.listdir(place)) if place.exists() else []

    def clear(self) -> None:
        """Remove all containers."""
        self("rm", "-fa")


@pytest.fixture
def box(ns: Runner) -> Iterator[ContainerBox]:
    """A store with the image, as root and as an ordinary user."""
    found = ContainerBox(ns)
    yield found
    found.clear()
