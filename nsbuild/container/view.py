"""A container's files as its root sees them, from outside: for diff, export, commit and copies.

Of one that does not run, its layers are mounted once more, in namespaces of our own and nowhere in
the tree: a detached mount goes with its last descriptor. One that runs is entered instead, because
overlayfs does not like its upper directory to be mounted twice.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from nsbuild.container.attendance import connect_to
from nsbuild.container.layers import new_overlay, read_only_overlay
from nsbuild.container.records import RUNNING, Record, Records
from nsbuild.container.spec import RootSpec
from nsbuild.container.specjson import decode
from nsbuild.errors import NsbuildError
from nsbuild.kernel.asroot import as_root, in_container
from nsbuild.supervisor.parley import SETTLE

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def inside(records: Records, record: Record, act: Callable[[], None]) -> None:
    """Do `act` in a child whose root is the container's; what it writes is the container's."""
    root = decode(record.spec).root
    if record.state == RUNNING:
        settle(records, record)
        in_container(supervisor_of(record), act)
        return

    def enter() -> None:
        top = _mounted(root)
        os.fchdir(top)
        os.chroot(".")
        act()

    as_root(enter, mounts=True)


def read(record: Record, act: Callable[[str, str], None]) -> None:
    """Do `act` with paths of all that the container shows and of what it was made from.

    In a child, as root, without anything that is mounted in the container.
    """
    root = decode(record.spec).root
    if not root.layers:
        raise NsbuildError(
            f"container {record.name} has the directory {root.target} as its root, and no layers"
        )

    def enter() -> None:
        act(_path(_layered(root.target, *root.layers[::-1])), _path(_layered(*root.layers[::-1])))

    as_root(enter, mounts=True)


def settle(records: Records, record: Record) -> None:
    """Have the files of a container that runs carry their virtual times (docs/files.md)."""
    try:
        with connect_to(records.directory(record.id)) as client:
            client.send(SETTLE)
            client.recv(1)
    except OSError as error:
        raise NsbuildError.from_os(f"cannot reach container {record.id}", error) from error


def supervisor_of(record: Record) -> int:
    """The supervisor's number: it lives in the container's mount namespace."""
    with open(f"/proc/{record.pid}/task/{record.pid}/children") as file:
        children = file.read().split()
    if not children:
        raise NsbuildError(f"container {record.id} is about to end")
    return int(children[0])


def _path(fd: int) -> str:
    return f"/proc/self/fd/{fd}/."


def _mounted(root: RootSpec) -> int:
    if not root.layers:
        return os.open(root.target, _DIRECTORY)
    upper, work = os.open(root.target, _DIRECTORY), os.open(root.work, _DIRECTORY)
    return new_overlay(upper, work, *(os.open(path, _DIRECTORY) for path in root.layers[::-1]))


def _layered(*paths: str) -> int:
    """A read-only overlay of `paths`, the topmost first; a single one as it is."""
    opened = [os.open(path, _DIRECTORY) for path in paths]
    if len(opened) == 1:
        return opened[0]
    return read_only_overlay(*opened)
