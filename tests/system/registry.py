"""A registry of images on the loopback interface, and a root file system to make images of."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CONFIG = """\
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}", secret: none}}
"""
_GUARDED = """\
auth: {{htpasswd: {{realm: nsbuild, path: {users}}}}}
"""
USER, PASSWORD = "ann", "s3cret"
_USERS = "ann:$2y$05$HAZNluZoKrm6yhwfivPdMOASCHxgg8TR3sN.9QhAbJGu3qpsc6Qra\n"
"""That, as `htpasswd -nbB` hashes it."""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def registry(directory: Path, guarded: bool = False) -> Iterator[str]:
    """HOST:PORT of an empty registry, which keeps what it gets below `directory`.

    One that is `guarded` serves nobody but USER with PASSWORD.
    """
    port = _free_port()
    config = directory / "registry.yml"
    text = _CONFIG.format(root=directory / "registry", port=port)
    if guarded:
        users = directory / "users"
        users.write_text(_USERS)
        text += _GUARDED.format(users=users)
    config.write_text(text)
    with subprocess.Popen(
        ["docker-registry", "serve", str(config)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            deadline = time.monotonic() + 30
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    assert time.monotonic() < deadline, "the registry does not answer"
                    time.sleep(0.05)
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()


def rootfs_tarball(path: Path, owners: bool = True, filler: int = 0) -> Path:
    """A tarball of a small root file system with busybox; with `filler`, so many more files."""
    busybox = shutil.which("busybox")
    assert busybox
    with tarfile.open(path, "w") as archive:

        def add(name: str, kind: bytes, mode: int, uid: int = 0, **more: object) -> None:
            member = tarfile.TarInfo(name)
            member.type, member.mode, member.uid, member.gid = kind, mode, uid, uid
            member.mtime = 1_000_000_000
            for key, value in more.items():
                setattr(member, key, value)
            archive.addfile(member)

        for name in ("bin", "etc", "home", "home/user", "tmp"):
            add(name, tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755)
        archive.add(busybox, "bin/busybox", filter=_plain)
        for name in ("sh", "ls", "cat"):
            add(f"bin/{name}", tarfile.LNKTYPE, 0o755, linkname="bin/busybox")
        add("bin/link", tarfile.SYMTYPE, 0o777, linkname="/bin/busybox")
        if owners:
            add("home/user/own", tarfile.REGTYPE, 0o4750, 1000)
            add("home/user/other", tarfile.REGTYPE, 0o640, 65534)
        for number in range(filler):
            add(f"home/user/{number}", tarfile.REGTYPE, 0o644)
    return path


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode, member.mtime = 0o755, 1_000_000_000
    return member
