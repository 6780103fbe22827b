"""The parts of the model of files: inodes and paths, processes and what they know of each other."""

from __future__ import annotations

import errno
import itertools
import stat
from collections.abc import Callable

DIR, FILE, LINK = stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK
_MAX_LINKS = 40
"""MAXSYMLINKS of linux/namei.h."""


class Fail(Exception):
    """The call ends with an errno."""

    def __init__(self, number: int) -> None:
        super().__init__(errno.errorcode[number])
        self.number = number


class Event:
    """One act of one process; `value` is its time, nanoseconds, once that was shown.

    `known` is the vector clock. A `weak` event may have the time of the one before.
    """

    def __init__(self, who: str, known: dict[str, int], weak: bool) -> None:
        self.who = who
        self.known = known
        self.weak = weak
        self.value: int | None = None

    def before(self, other: Event) -> bool:
        """Whether the other could know of this one."""
        return self.known[self.who] <= other.known.get(self.who, 0)

    def shows(self, value: int) -> bool:
        """Whether `value` may be its time."""
        if self.value is None:
            self.value = value
        return self.value == value

    def __str__(self) -> str:
        return f"event {self.known[self.who]} of {self.who} at {self.value}"


Time = Event | int
"""An event's, or one that is known: nanoseconds since 1970."""


class Node:
    """An inode. `mtime` is whose time it shows, `written` the last event that let it be written.

    `changed` is the last event that changed the inode; `maybe` says that a call has failed, or done
    nothing, which nsbuild could not know beforehand: then ctime may be later than that. `atime` and
    `birth` are None for "as mtime". A `twofold` one is a hard link to an input on an overlayfs,
    which shows each name as an inode of its own (Documentation/filesystems/overlayfs.rst, without
    "index"): nothing follows from one for the other, and a rename over it is ESTALE.
    """

    def __init__(self, kind: int, mode: int, size: int = 0, mtime: int = 0) -> None:
        self.kind = kind
        self.mode = mode
        self.size = size
        self.nlink = 1
        self.entries: dict[str, Node] = {}
        self.target = ""
        self.dead = False
        self.twofold = False
        self.sparse = False
        self.number: int | None = None
        self.mtime: Time = mtime
        self.atime: Time | None = None
        self.birth: Time | None = mtime if mtime else None
        self.written: Event | None = None
        self.changed: Event | None = None
        self.maybe = False
        self.ctime = 0

    def resize(self, size: int) -> None:
        """The content is written."""
        self.size = size
        if not size:
            self.sparse = False
        assert self.written is not None
        self.mtime = self.written

    def change(self, event: Event) -> None:
        """The inode changes."""
        self.changed = event
        self.maybe = False

    def enter(self, name: str, node: Node, event: Event) -> None:
        """Get an entry."""
        self.entries[name] = node
        self.mtime = self.written = event

    def leave(self, name: str, event: Event) -> None:
        """Lose an entry."""
        del self.entries[name]
        self.mtime = self.written = event

    def lose_name(self, event: Event) -> None:
        """One of its names is gone; an empty directory then has none."""
        self.dead = self.kind == DIR
        self.nlink -= 1
        if self.nlink:
            self.change(event)
        else:
            self.maybe = True

    def holds(self, node: Node) -> bool:
        """Whether it is `node`, or a directory with `node` somewhere in it."""
        return self is node or any(entry.holds(node) for entry in self.entries.values())

    def check_times(self, seen: dict[str, int], want: Callable[..., None]) -> None:
        """Whether it may have the times of `seen`, and take notice of them."""
        _is(self.mtime, seen["mtime"], "mtime", want)
        _is(seen["mtime"] if self.atime is None else self.atime, seen["atime"], "atime", want)
        if "btime" in seen:
            _is(seen["mtime"] if self.birth is None else self.birth, seen["btime"], "btime", want)
        ctime = seen["ctime"]
        want(ctime >= self.ctime, "ctime", ctime, "was", self.ctime)
        self.ctime = ctime
        last = [event for event in (self.changed, self.mtime) if isinstance(event, Event)]
        latest: Time = seen["mtime"]
        if last:
            latest = last[0] if len(last) == 1 or last[1].before(last[0]) else last[1]
        if not self.maybe:
            _is(latest, ctime, "ctime", want)
        else:
            least = latest.value if isinstance(latest, Event) else latest
            want(ctime >= (least or 0), "ctime", ctime, "before", latest)


def _is(time: Time, seen: int, name: str, want: Callable[..., None]) -> None:
    fits = time.shows(seen) if isinstance(time, Event) else time == seen
    want(fits, name, seen, "and should be", time)


class Proc:
    """A process: where it is, what it has open, what it knows of."""

    def __init__(self, name: str, cwd: Node) -> None:
        self.name = name
        self.cwd = cwd
        self.slots: dict[int, Node] = {}
        self.known: dict[str, int] = {name: 0}
        self.children = 0
        self.background: list[Proc] = []

    def event(self, weak: bool) -> Event:
        """The process does something."""
        self.known[self.name] += 1
        return Event(self.name, dict(self.known), weak)

    def kept(self, slot: int) -> Node:
        """What is open as `slot`."""
        if slot not in self.slots:
            raise Fail(errno.EBADF)
        return self.slots[slot]

    def fork(self) -> Proc:
        """A child."""
        self.children += 1
        child = Proc(f"{self.name}.{self.children}", self.cwd)
        child.slots = dict(self.slots)
        child.known |= self.known
        return child

    def merge(self, other: Proc) -> None:
        """Wait for a child."""
        self._learn(other.known)

    def see(self, node: Node) -> None:
        """Look at a file, and so learn of who made it what it is."""
        for event in (node.mtime, node.changed):
            if isinstance(event, Event):
                self._learn(event.known)

    def _learn(self, known: dict[str, int]) -> None:
        for name, count in known.items():
            self.known[name] = max(self.known.get(name, 0), count)


def walk(cwd: Node, path: str, follow: bool) -> tuple[Node, str, Node | None]:
    """As path_resolution(7): the directory, the last name in it, and what is there."""
    links = itertools.count(1)
    parts = path.split("/")[::-1]
    while True:
        name = parts.pop()
        if cwd.kind != DIR:
            raise Fail(errno.ENOTDIR)
        node = cwd if name == "." else cwd.entries.get(name)
        if node is not None and node.kind == LINK and (parts or follow):
            if next(links) > _MAX_LINKS:
                raise Fail(errno.ELOOP)
            parts += node.target.split("/")[::-1]
        elif not parts:
            return cwd, name, node
        elif node is None:
            raise Fail(errno.ENOENT)
        else:
            cwd = node
