"""Host file systems of several kinds, and checkouts of one project that a host stores differently.

Two checkouts hold the same bytes under the same names. The host made them in another order, at
other times and on another file system, and so gives them other times, numbers, sizes of directories
and order of entries.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

DATA_FILES = 40
"""Enough that two directories with the same order of entries are no accident."""
KINDS = ("ext4", "tmpfs", "overlay")


class Checkout(NamedTuple):
    """When (seconds since 1970) and in which order the files of a checkout were made."""

    order: int
    when: int


EARLIER = Checkout(order=1, when=1_600_000_000)
LATER = Checkout(order=2, when=1_700_000_123)
LATEST = Checkout(order=3, when=1_750_000_456)
"""All later than nsbuild's default epoch, as any real checkout is."""


def run(*command: str | Path) -> None:
    """Run a tool of the host; what it says is shown when it fails."""
    done = subprocess.run(list(command), capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, f"{command}: {(done.stdout + done.stderr).decode()}"


@contextmanager
def mounted(kind: str, at: Path, scratch: Path) -> Iterator[None]:
    """A fresh file system of one of KINDS on the directory `at`; `scratch` takes what is behind it.

    The ext4 has blocks of 4 KiB, as any has that is not very small: in smaller ones a linker's file
    has more holes, and fewer blocks. Only for root.
    """
    scratch.mkdir()
    if kind == "ext4":
        image = scratch / "image"
        run("truncate", "-s", "128M", image)
        run("mke2fs", "-q", "-t", "ext4", "-b", "4096", image)
        run("mount", "-o", "loop", image, at)
    elif kind == "tmpfs":
        run("mount", "-t", "tmpfs", "-o", "size=256M", "tmpfs", at)
    else:
        for name in ("lower", "upper", "work"):
            (scratch / name).mkdir()
        layers = ",".join(f"{name}dir={scratch / name}" for name in ("lower", "upper", "work"))
        run("mount", "-t", "overlay", "-o", layers, "overlay", at)
    try:
        yield
    finally:
        run("umount", at)
        shutil.rmtree(scratch)


def _sources(project: Path) -> dict[str, bytes]:
    """Relative path -> content, of the project and of the data that goes with it."""
    files = {
        str(path.relative_to(project)): path.read_bytes()
        for path in project.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    for number in range(DATA_FILES):
        name = f"src/data/file-{number:02}"
        files[name] = f"word {number}\n".encode() * (number * number + 1)
    return files


def check_out(project: Path, into: Path, how: Checkout, uid: int = 0, gid: int = 0) -> None:
    """Write the files of `project` into the directory `into`, for the owner given.

    One file has two names, and whichever of them comes first in the order is made first.
    """
    files = _sources(project)
    twins = ("src/main.c", "src/twin-of-main.c")
    files[twins[1]] = files[twins[0]]
    write_out(files, into, how, twins)
    if os.getuid() == 0:
        for path in (into, *into.rglob("*")):
            os.chown(path, uid, gid)
    date(into, how)


def write_out(
    files: dict[str, bytes], into: Path, how: Checkout, twins: tuple[str, ...] = ()
) -> None:
    """Make the files in the order of `how`; those of `twins` are one file of two names."""
    names = sorted(files)
    random.Random(how.order).shuffle(names)
    for name in names:
        path = into / name
        path.parent.mkdir(parents=True, exist_ok=True)
        other = into / twins[name == twins[0]] if name in twins else None
        if other is not None and other.exists():
            path.hardlink_to(other)
        else:
            path.write_bytes(files[name])
        path.chmod(0o644)


def date(top: Path, how: Checkout) -> None:
    """Give everything below `top` times as `how` says, each its own."""
    for number, path in enumerate([top, *sorted(top.rglob("*"))]):
        if path.is_dir():
            path.chmod(0o755)
        os.utime(path, (how.when + 2 * number + 1, how.when + 3 * number))
