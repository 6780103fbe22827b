"""What is shown of files: times and numbers that depend on what the build did, and on nothing else.

The kernel stamps files with the real clock. What a build may see instead follows from three kinds
of knowledge: the kernel's time, if it lies before the container's start (`start`, real time): then
the file is an *input*, shown as it is but never later than the epoch; the *events*, calls that
wrote or changed the file, each at the virtual time of who made it; and times that were set
*explicitly*, which are kept.

An event does not say whether anything was written. The kernel's mtime does: after each look that
found the file written, its virtual time is put into the file itself (`stamp`), so that any later
write is seen as a kernel time that differs from the one last seen, however soon it comes; kernel
times are too coarse for a comparison with a clock.

All times are nanoseconds since 1970. Numbers of files (st_ino) have 31 bits, are never 0, 1 or 2,
and are hashes of a name: of the path for an input, of the creator's causal name for a new file.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .digest import sha1

if TYPE_CHECKING:
    from .continuation import Earlier

UNSEEN = -(1 << 70)
"""No kernel time is this one."""

AS_MTIME = UNSEEN
"""The atime of a file whose both times were set to now."""

_NUMBERS = (1 << 31) - 3
_FIRST = 3


class File:
    """What is known of one inode.

    `atime` is the last one that was set, None for none: then it is shown as mtime.
    `btime` is when it was made inside, None for an input, which shows the mtime it had at `first`.
    `mtime` is shown as long as the kernel's is `seen`; `written` and `changed` are the times of the
    last events that may have changed the content and have changed the inode, 0 for none; `own` says
    that `mtime` came from a virtual clock, so that who sees it moves up to it. `version` counts the
    writes that were noticed; `memo` is whatever its user has made of all this, and is forgotten
    when something changes. `earlier` is what earlier calls of the same build left, None where
    that does not count.
    """

    __slots__ = (
        "atime",
        "btime",
        "changed",
        "earlier",
        "explicit",
        "first",
        "identity",
        "memo",
        "mtime",
        "number",
        "own",
        "seen",
        "sure",
        "version",
        "written",
    )

    def __init__(self, number: int, identity: int) -> None:
        self.number = number
        self.identity = identity
        self.btime: int | None = None
        self.first: int | None = None
        self.mtime = 0
        self.atime: int | None = None
        self.seen = UNSEEN
        self.written = 0
        self.changed = 0
        self.explicit: int | None = None
        self.own = False
        self.sure = False
        self.memo: object = None
        self.version = 0
        self.earlier: Earlier | None = None

    @property
    def ctime(self) -> int:
        """The last change of content or inode; as mtime where there was none."""
        content = self.mtime if self.own else 0
        return max(self.changed, content) or self.mtime

    @property
    def birth(self) -> int:
        """When it was made, as far as that is known; it stays the same for good."""
        known = self.btime if self.btime is not None else self.first
        return self.mtime if known is None else known

    def look(self, kernel_mtime: int, start: int, epoch: int) -> int | None:
        """Take notice of the kernel's mtime; the stamp to put into the file, or None."""
        if kernel_mtime == self.seen:
            return None
        self.memo = None
        self.version += 1
        sure, self.sure = self.sure, False
        if self.explicit is not None and _stored(self.explicit, kernel_mtime):
            self.mtime, self.own = self.explicit, False
        elif self.written and (sure or kernel_mtime >= _as_coarse(start, kernel_mtime)):
            self.mtime, self.own = self.written, True
            return self.mtime
        else:
            # At or after the start without an event: written by somebody outside, as the log that
            # a caller has redirected the command's output to.
            earlier = self.earlier
            if earlier is None:
                self.mtime, self.own = min(kernel_mtime, epoch), False
            else:
                self.mtime, self.own = earlier.judge(kernel_mtime, start, epoch, self.identity)
            if self.first is None:
                self.first = self.mtime
        self.seen = kernel_mtime
        return None

    def stamped(self, kernel_mtime: int) -> None:
        """The stamp was put into the file, or could not be: its mtime is this from here on."""
        self.seen = kernel_mtime
        self.explicit = None

    def write(self, time: int) -> None:
        """An event at `time` that may write the content, or a directory's entries."""
        self.written = max(self.written, time)

    def rewrite(self) -> None:
        """The last event writes the content for sure, even if the kernel's mtime stays."""
        self.seen = UNSEEN
        self.explicit = None
        self.sure = True
        self.memo = None

    def change(self, time: int) -> None:
        """An event at `time` that changes the inode."""
        self.changed = max(self.changed, time)
        self.memo = None

    def set_times(self, mtime: int | None, atime: int | None) -> None:
        """Times that are about to be set explicitly; None leaves one alone.

        An mtime counts when the kernel has it. The kernel's atime says nothing: whether reading
        moves it depends on how the host has mounted the file system.
        """
        if mtime is not None:
            self.explicit = mtime
        if atime is not None:
            self.atime = None if atime == AS_MTIME else atime
            self.memo = None


class StandIn(File):
    """An empty regular file that is shown as the character device `device`, (major, minor).

    A class of its own, because the extension for hot calls leaves alone what is not just a File.
    """

    __slots__ = ("device",)

    def __init__(self, number: int, identity: int, device: tuple[int, int]) -> None:
        super().__init__(number, identity)
        self.device = device


_NSEC = 10**9
_COARSE = (_NSEC, 2 * _NSEC)
"""Not all file systems keep nanoseconds: ext4 with small inodes has seconds, FAT every other."""
_ENDS = frozenset((-(1 << 31), (1 << 31) - 1, (1 << 32) - 1, (1 << 34) - (1 << 31) - 1))
"""The first and last seconds that file systems can keep (ext4 with large inodes, until 2446)."""


def _stored(wanted: int, kernel: int) -> bool:
    """Whether `kernel` is how a file system keeps the time `wanted`."""
    if kernel == wanted or any(kernel == wanted - wanted % grain for grain in _COARSE):
        return True
    second = kernel // _NSEC
    beyond = wanted < kernel if second < 0 else wanted > kernel
    return beyond and second in _ENDS


def _as_coarse(time: int, kernel: int) -> int:
    """`time`, or the earliest that a file system may keep it as that has `kernel` for something."""
    return time if kernel % _NSEC else time - time % _COARSE[-1]


Key = tuple[int, int, int]
"""An inode: its number and its device's major and minor number, as the host has them."""


class FileTable:
    """All files that were seen or made. A file's number is its own for good.

    `identity` distinguishes two inodes that had the same key one after the other; it is the
    kernel's birth time, or 0 where a file system keeps none. `taken` are numbers that none of them
    gets.
    """

    def __init__(self, taken: Iterable[int] = ()) -> None:
        self.by_key: dict[Key, File] = {}
        self._taken = set(taken)

    def find(self, key: Key, identity: int, copied_up: bool) -> File | None:
        """The file `key`, unless that is another inode by now.

        `copied_up`: on an overlay an input gets a new birth time with its first change, and its
        inode is not used again.
        """
        file = self.by_key.get(key)
        if file is not None and file.identity != identity:
            if not copied_up or file.btime is not None:
                return None
            file.identity = identity
        return file

    def add(
        self, key: Key, identity: int, name: bytes, device: tuple[int, int] | None = None
    ) -> File:
        """A file seen for the first time, whose number follows from `name`.

        With `device` it is a stand-in for one.
        """
        number = file_number(name)
        while number in self._taken:
            number = _FIRST + (number - _FIRST + 1) % _NUMBERS
        self._taken.add(number)
        file = File(number, identity) if device is None else StandIn(number, identity, device)
        self.by_key[key] = file
        return file

    def bear(
        self,
        key: Key,
        identity: int,
        name: bytes,
        time: int,
        device: tuple[int, int] | None = None,
    ) -> File:
        """A file made inside at `time` by the creator's act `name`; `device` as in `add`."""
        file = self.add(key, identity, name, device)
        file.btime = file.written = time
        return file


def file_number(name: bytes) -> int:
    """The number that follows from `name`: 3 <= number < 2**31."""
    digest = sha1(name, usedforsecurity=False).digest()
    return _FIRST + int.from_bytes(digest[:8], "big") % _NUMBERS
