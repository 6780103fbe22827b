"""From a path in the container to the host's: below the builder directory, and never out of it.

What a build leaves may hold any symbolic link. Inside, /builder/x or /etc/passwd are the
container's; followed on the host they would be the host's files.
"""

from __future__ import annotations

import os
from pathlib import Path

from .options import BUILDER_DIR

_MOST_LINKS = 40
"""As the kernel: MAXSYMLINKS in include/linux/namei.h."""


def on_host(inside: str, builder: Path) -> Path:
    """The host's path of `inside`, without links; `builder` is BUILDER_DIR on the host.

    What does not exist is taken as it is named. Raises ValueError, in words for the user, for a
    path that is or leads elsewhere.
    """
    todo = _parts(inside)
    done: list[str] = []
    links = 0
    while todo:
        part = todo.pop()
        if part == "..":
            del done[-1:]
            continue
        here = "/" + "/".join([*done, part])
        below = _below(here, builder)
        if below is None or not below.is_symlink():
            done.append(part)
            continue
        links += 1
        if links > _MOST_LINKS:
            raise ValueError(f"{inside} has too many symbolic links")
        target = os.readlink(below)
        if target.startswith("/"):
            done.clear()
        todo += _parts(target)
    place = "/" + "/".join(done)
    below = _below(place, builder)
    if below is None:
        led = "" if place == os.path.normpath(inside) else f" leads to {place}, which"
        raise ValueError(
            f"{inside}{led} is not below {BUILDER_DIR}, and nothing else outlives the container"
        )
    return below


def _parts(path: str) -> list[str]:
    """The components, last one first."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _below(place: str, builder: Path) -> Path | None:
    """Where `place`, which has no links but perhaps the last part, is on the host."""
    if place == BUILDER_DIR:
        return builder
    rest = place.removeprefix(f"{BUILDER_DIR}/")
    return builder / rest if rest != place else None
