"""A clock that goes on: what one call of a build leaves for the next one.

A build may take several calls of nsbuild, each with a container of its own. Its root processes then
count as one that paused: clock, random stream, the ordinals of forks, threads and made files go on
where the call before has stopped, so no number, name or byte of a stream comes twice. The wall
clock goes on at the next full hour. How often a program reads it while it waits for a network is
the network's doing (apt looks whenever a message comes), and the seconds that a call which fetches
has lost or won by that must not reach those that build.

Of files, the disk keeps little more than a time, which alone does not say whether the build or a
real clock has set it. So whatever is shown of a file otherwise than as of an input goes into a
table, by inode. What `Earlier.judge` says of the others follows from when they were written: until
the epoch, before the build's first call (both as ever), or while the build was under way but not by
a call of it. The latter is an edit, which must show as later than all that the calls before it
wrote. A file that was made meanwhile, with a time that is to the nanosecond one of the table's, is
a copy and keeps that.

All times are nanoseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from .clock import LATEST, Clock
from .files import UNSEEN, File, FileTable, Key

NEVER = 1 << 70
"""No kernel time is as late."""
ROUND = 3600 * 10**9
"""A call begins at a multiple of this."""


class Root(NamedTuple):
    """How far a build's root process has come.

    `wall` and `monotonic` are the last readings of its clock, `position` that in its random stream;
    `forks`, `threads` and `made` count what it has forked, its threads and the files it made.
    """

    wall: int
    monotonic: int
    position: int = 0
    forks: int = 0
    threads: int = 0
    made: int = 0


class Left(NamedTuple):
    """A file as a call has left it: see `files.File`. `name` is for people, no rule looks at it."""

    identity: int
    number: int
    seen: int
    mtime: int
    own: bool
    changed: int
    btime: int | None
    first: int | None
    atime: int | None
    name: str = ""

    @property
    def latest(self) -> int:
        """The latest of its times that come from a clock of the build."""
        return max(self.changed, self.mtime if self.own else 0)


def resumption(time: int, step: int) -> int:
    """When the wall clock goes on that has stopped at `time`, and moves by `step`."""
    return min(-(-(time + step) // ROUND) * ROUND, LATEST)


def leave(file: File, name: str) -> Left | None:
    """What the next call has to know of `file`; None if that would find out by itself.

    The file has been looked at after the last write.
    """
    told = file.own or file.changed or file.btime is not None or file.atime is not None
    if not told or file.seen == UNSEEN:
        return None
    return Left(
        *(file.identity, file.number, file.seen, file.mtime, file.own, file.changed),
        *(file.btime, file.first, file.atime, name),
    )


class Earlier:
    """What the earlier calls of a build left.

    `root` is how far they came, None before the first; `since` the real time at which that began;
    `files` by inode; `edited` the time that edits between two calls show.
    """

    def __init__(
        self,
        root: Root | None = None,
        since: int = NEVER,
        files: Mapping[Key, Left] | None = None,
        step: int = 1,
    ) -> None:
        self.root = root
        self.since = since
        self.files = files or {}
        left = self.files.values()
        self._times = {file.mtime: file.own for file in left}
        latest = max((file.latest for file in left), default=0)
        self.edited = resumption(max(root.wall if root else 0, latest), step)

    def begin(self, clock: Clock) -> None:
        """Let `clock`, the root process's, go on."""
        if self.root is not None:
            clock.wall = resumption(self.root.wall, clock.rates.step)
            clock.monotonic = self.root.monotonic

    def judge(self, kernel_mtime: int, start: int, epoch: int, born: int) -> tuple[int, bool]:
        """The mtime of a file that nobody inside has written, and whether a reader moves up.

        `start` is the real time at which this call began, `born` that at which the file was made.
        """
        if kernel_mtime <= epoch:
            return kernel_mtime, False
        if born >= self.since and kernel_mtime in self._times:
            return kernel_mtime, self._times[kernel_mtime]
        if self.since <= kernel_mtime < start:
            return self.edited, True
        # Older than the build; or of the future, as it may have been all the time; or written just
        # now from outside.
        return epoch, False

    def meet(self, table: FileTable, key: Key, identity: int) -> File | None:
        """The file `key` as it was left, entered into `table`; None for one that is not known."""
        left = self.files.get(key)
        if left is None or left.identity != identity:
            return None
        file = table.by_key[key] = File(left.number, identity)
        file.earlier = self
        file.seen, file.mtime, file.own = left.seen, left.mtime, left.own
        file.changed, file.btime = left.changed, left.btime
        file.first, file.atime = left.first, left.atime
        return file

    def numbers(self) -> Iterator[int]:
        """The numbers of all these files, which no new one may get."""
        return (left.number for left in self.files.values())

    def untouched(self, table: FileTable) -> dict[Key, Left]:
        """Those files that nobody has looked at in this call."""
        return {key: left for key, left in self.files.items() if key not in table.by_key}
