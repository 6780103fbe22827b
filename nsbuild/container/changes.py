"""What a container has changed: its upper directory read as overlayfs writes it.

A character device 0:0 stands for something removed, and a directory with user.overlay.opaque hides
all that the layers below have there (Documentation/filesystems/overlayfs.rst).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from nsbuild.container.rootfs import KERNELS

ADDED, CHANGED, DELETED = "A", "C", "D"
_OPAQUE = "user.overlay.opaque"


def changes(upper: str, before: str, place: str = "/") -> Iterator[tuple[str, str]]:
    """(kind, path inside) of each change, sorted; `before` is what was there without `upper`."""
    here = upper + place
    names = set(os.listdir(here))
    gone = set(_listed(before + place)) - names if _is_opaque(here) else set()
    for name in sorted(names | gone):
        path = os.path.join(place, name)
        if path in KERNELS:
            continue
        was = os.path.lexists(before + path)
        if name in gone or _is_whiteout(upper + path):
            if was:
                yield DELETED, path
            continue
        yield CHANGED if was else ADDED, path
        if stat.S_ISDIR(os.lstat(upper + path).st_mode):
            yield from changes(upper, before, path)


def _listed(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_whiteout(path: str) -> bool:
    status = os.lstat(path)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _is_opaque(path: str) -> bool:
    try:
        return os.getxattr(path, _OPAQUE) in (b"y", b"x")
    except OSError:
        return False
