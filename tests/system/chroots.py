"""Roots for the tests of nsbuild chroot, and runs of it and of the real chroot side by side.

The roots are made here of busybox and of a few programs of the machine with their libraries, so no
archive is needed. They lie in a directory that everybody can enter, with a /proc of the machine's
mounted where a build would have one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.system.account import CHECKOUT, remove
from tests.system.harness import PATH, TIMEOUT

REAL = "/usr/sbin/chroot"
APPLETS = (
    *("awk", "basename", "cat", "chmod", "cmp", "cp", "date", "dd", "echo", "env", "expr", "false"),
    *("grep", "head", "hostname", "id", "kill", "ln", "ls", "md5sum", "mkdir", "mkfifo", "mknod"),
    *("mount", "mv", "nice", "od", "printf", "ps", "pwd", "readlink", "rm", "rmdir", "sed", "seq"),
    *("sh", "sleep", "sort", "stat", "su", "tail", "tee", "test", "touch", "tr", "true", "tty"),
    *("umount", "uname", "uniq", "wc", "which", "xargs", "yes"),
)
PASSWD = """\
root:x:0:0::/root:/bin/sh
daemon:x:1:1::/:/bin/sh
local:x:1234:1235::/:/bin/sh
dot.ted:x:1236:1235::/:/bin/sh
77:x:1277:1235::/:/bin/sh
last:x:1299:1299::/:/bin/sh
"""
GROUP = """\
root:x:0:
daemon:x:1:
lgrp:x:1235:
extra:x:1236:local
more:x:1238:local,daemon
88:x:1288:
"""


class Seen(NamedTuple):
    """What a caller gets of a run; a negative `code` is a signal."""

    code: int
    stdout: bytes
    stderr: bytes


class Roots(NamedTuple):
    """`box` is a small system, `bare` one static program, `libs` dynamic programs; see `make`."""

    top: Path
    box: Path
    bare: Path
    libs: Path
    empty: Path
    foreign: Path
    readonly: Path


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """What both programs run in."""
    base = {"PATH": PATH, "LC_ALL": "C", "PYTHONPATH": str(CHECKOUT), "NSBUILD_CPU": "auto"}
    return {**base, **(more or {})}


def ours(*arguments: str) -> list[str]:
    """The command line of nsbuild chroot."""
    return [sys.executable, "-m", "nsbuild", "chroot", *arguments]


def real(*arguments: str) -> list[str]:
    """That of the machine's own."""
    return [REAL, *arguments]


def run(
    command: Sequence[str],
    stdin: bytes | int = b"",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pass_fds: tuple[int, ...] = (),
) -> Seen:
    """Run `command`; one that hangs fails the test."""
    done = subprocess.run(
        command,
        input=stdin if isinstance(stdin, bytes) else None,
        stdin=stdin if isinstance(stdin, int) else None,
        capture_output=True,
        env=environment(env),
        cwd=cwd,
        timeout=TIMEOUT,
        check=False,
        pass_fds=pass_fds,
    )
    # Coreutils' says the name that it was called by, which is not always the same path.
    said = done.stderr.replace(REAL.encode(), b"chroot")
    return Seen(done.returncode, done.stdout, said)


def make(top: Path) -> Roots:
    """Make the roots in the directory `top`, without any mounts."""
    names = ("box", "bare", "libs", "empty", "foreign", "readonly")
    roots = Roots(top, *(top / name for name in names))
    for root in roots[1:]:
        root.mkdir()
    _make_box(roots.box)
    (roots.bare / "busybox").symlink_to("tool")
    shutil.copy(_busybox(), roots.bare / "tool")
    _make_libs(roots.libs)
    (roots.foreign / "bin").mkdir()
    shutil.copy(_busybox(), roots.foreign / "bin/sh")
    with open(roots.foreign / "bin/sh", "r+b") as file:
        # e_machine of the ELF header, as a program for AArch64 has it.
        file.seek(18)
        file.write(b"\xb7\0")
    return roots


def _busybox() -> str:
    found = shutil.which("busybox")
    assert found, "busybox-static is not installed; `make setup` does it"
    return found


def _make_box(root: Path) -> None:
    for name in ("bin", "dev", "etc", "proc", "root", "sys", "tmp", "home"):
        (root / name).mkdir()
    shutil.copy(_busybox(), root / "bin/busybox")
    for applet in APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    (root / "tmp").chmod(0o1777)
    (root / "etc/passwd").write_text(PASSWD)
    (root / "etc/group").write_text(GROUP)
    (root / "etc/data").write_bytes(bytes(range(256)) * 8)
    for name, text, mode in (
        ("script", '#!/bin/sh\necho script "$0" "$@"\nexit 5\n', 0o755),
        ("unmarked", 'echo unmarked "$0" "$@"\nexit 6\n', 0o755),
        ("orphan", "#!/no/such/interpreter\n", 0o755),
        ("locked", "#!/bin/sh\n", 0o644),
        ("nothing", "", 0o755),
        ("it's", '#!/bin/sh\necho "it\'s me"\n', 0o755),
    ):
        (root / "bin" / name).write_text(text)
        (root / "bin" / name).chmod(mode)
    # A set-uid busybox is refused by none of its applets but those that it knows to need it.
    shutil.copy(_busybox(), root / "bin/suid")
    (root / "bin/suid").chmod(0o4755)
    for name, minor in (("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)):
        os.mknod(root / "dev" / name, 0o20666, os.makedev(1, minor))
        (root / "dev" / name).chmod(0o666)
    os.mknod(root / "dev/tty", 0o20666, os.makedev(5, 0))
    (root / "dev/tty").chmod(0o666)


def _make_libs(root: Path) -> None:
    for name in ("bash", "cat", "id", "env"):
        _copy_program(root, shutil.which(name) or name)
    (root / "bin/sh").symlink_to("bash")
    for name in ("etc", "proc", "tmp", "dev"):
        (root / name).mkdir()


def _copy_program(root: Path, program: str) -> None:
    listed = subprocess.run(
        ["ldd", program], capture_output=True, text=True, check=True, timeout=60
    )
    for path in re.findall(r"(/\S+) \(0x", listed.stdout):
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    (root / "bin").mkdir(exist_ok=True)
    shutil.copy(program, root / "bin" / Path(program).name)


@contextmanager
def mounted(*arguments: str) -> Iterator[None]:
    """mount(8) with `arguments`, the last of which is the mount point, until the end."""
    subprocess.run(["mount", *arguments], check=True, timeout=60)
    try:
        yield
    finally:
        subprocess.run(["umount", arguments[-1]], check=True, timeout=60)


@contextmanager
def standing() -> Iterator[Roots]:
    """The roots with their mounts; all is gone afterwards."""
    top = Path(tempfile.mkdtemp(prefix="nsbuild-tests-", dir="/var/tmp"))
    top.chmod(0o755)
    try:
        roots = make(top)
        with ExitStack() as mounts:
            for root in (roots.box, roots.libs):
                mounts.enter_context(mounted("-t", "proc", "proc", str(root / "proc")))
            mounts.enter_context(mounted("--bind", str(roots.box), str(roots.readonly)))
            options = "bind,remount,ro"
            subprocess.run(["mount", "-o", options, str(roots.readonly)], check=True, timeout=60)
            yield roots
    finally:
        remove(top)
