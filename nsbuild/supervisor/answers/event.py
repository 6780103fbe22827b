"""What one call that writes is about to do, gathered before the kernel goes on with it."""

from __future__ import annotations

import errno

from nsbuild.determinism.files import File
from nsbuild.tuples import NamedTuple


class Look(NamedTuple):
    """What a path leads to before the call: `error` 0, or an errno and no file.

    `file` is None for one that has no memory, `where` its absolute path inside.
    """

    error: int
    file: File | None
    mode: int
    nlink: int
    where: bytes


class Event:
    """What one call is about to do, gathered before the kernel goes on with it."""

    __slots__ = (
        "births",
        "changed",
        "entered",
        "moved",
        "named",
        "rewritten",
        "set_times",
        "unnamed",
        "written",
    )

    def __init__(self) -> None:
        self.entered: list[tuple[File, bytes]] = []
        self.written: list[tuple[File, bytes]] = []
        self.rewritten: list[File] = []
        self.changed: list[tuple[File, bytes]] = []
        self.births: list[tuple[int, bytes]] = []
        self.named: tuple[File, bytes, bytes] | None = None
        self.unnamed: File | None = None
        self.moved: tuple[File, bytes, bytes, File | None, bool] | None = None
        self.set_times: list[tuple[File, int | None, int | None]] = []

    def write(self, look: Look) -> None:
        """The content of what was looked at may change."""
        if look.file is not None:
            self.written.append((look.file, look.where))

    def enter(self, look: Look) -> None:
        """The entries of the directory that was looked at may change."""
        if look.file is not None:
            self.entered.append((look.file, look.where))

    def change(self, look: Look) -> None:
        """The inode of what was looked at changes."""
        if look.file is not None:
            self.changed.append((look.file, look.where))

    @property
    def empty(self) -> bool:
        """Whether nothing is known to happen."""
        return not (self.written or self.changed or self.entered)


NOTHING = Look(errno.ENOENT, None, 0, 0, b"")
