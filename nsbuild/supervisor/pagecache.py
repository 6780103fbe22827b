"""Programs, and files that threads use, are in memory before they are used.

Who finds a page missing sleeps until the disk has brought it, and the next thread or process runs.
So what had been read before, by whomever, would change the order of the threads of one process, and
with it what each of them finds on the clock that they share; and how far the first program of a
pipe gets before the second ends. Under SCHED_FIFO we therefore lock in memory (mlock(2))

- each program and its libraries when it is first run;
- a file when a process opens it that has threads;
- when a process makes its first thread, all that it has open or mapped by then.

To read them once would not be enough: a kernel that gives memory back to its host (DAMON, a
balloon) drops what has not been used for some seconds. Looks at files may sleep for a disk as well,
for names and inodes: those for a process with threads are guarded (see guard).

Performance contract: a program that has run before costs one stat; a process with threads pays a
look at the file for each open, and two context switches for each call that has to do with files.
"""

from __future__ import annotations

import mmap
import os
import stat
from contextlib import AbstractContextManager, nullcontext, suppress

from nsbuild.kernel.files import AT_FDCWD, AT_STATX_DONT_SYNC
from nsbuild.kernel.lockedfile import LockedFile, read_pages
from nsbuild.kernel.process import read_whole

from .devices import Devices
from .extension import statx
from .guard import Guard
from .listener import Call
from .places import Places
from .processes import Process

_LARGEST = 1 << 29
"""Bytes. Larger files are hardly read as a whole, and never at once."""
_SHARE = 4
"""The part of the machine's memory that we lock at most is one in so many."""
_BLOCK = 512
"""What st_blocks counts, in bytes (stat(3type))."""
_MOST = 20_000
"""Of the mappings that a process may have (vm.max_map_count, 65530), as many are ours."""

UNGUARDED: AbstractContextManager[None] = nullcontext()


class PageCache:
    """Has files read into memory; `places` and `devices` are those of the container.

    `priority` is one between the guest's and the supervisor's, `namespace` as for the guard.
    """

    def __init__(self, places: Places, devices: Devices, priority: int, namespace: int) -> None:
        self._places = places
        self._devices = devices
        self._for_guard = priority, namespace
        self._guard: Guard | None = None
        self._known: dict[tuple[int, ...], LockedFile | None] = {}
        self._programs: set[tuple[int, ...]] = set()
        self._left = os.sysconf("SC_PHYS_PAGES") * mmap.PAGESIZE // _SHARE
        devices.busy = self.forget

    def forget(self) -> None:
        """Let everything go: a locked file keeps its mount busy, which the guest may unmount."""
        for pages in self._known.values():
            if pages is not None:
                self._left += pages.size
                pages.close()
        self._known.clear()
        self._programs.clear()

    def guard(self) -> AbstractContextManager[None]:
        """While this is entered nothing of the guest runs, even if we have to sleep."""
        if self._guard is None:
            self._guard = Guard(*self._for_guard)
        return self._guard()

    def opens(self, call: Call, process: Process, dirfd: int, path: bytes, flags: int) -> None:
        """A process is about to open `path` for reading; the arguments are as for Places.at."""
        if path and process.threads_made:
            self._places.at(call, process, dirfd, path, flags, lambda *at: self._read(call, *at))

    def executes(self, call: Call) -> None:
        """A process has a new program, which has yet to run."""
        found = statx(AT_FDCWD, b"%d/exe" % call.tid, AT_STATX_DONT_SYNC)
        if isinstance(found, int):
            return
        program = _key(found)
        if program in self._programs:
            return
        # While the first one starts there is nobody else who could run.
        first = self._guard is None and not self._programs
        self._programs.add(program)
        with UNGUARDED if first else self.guard(), suppress(OSError):
            self._mapped(call)

    def threads(self, call: Call, process: Process) -> None:
        """A process is about to make a thread."""
        if process.threads_made:
            return
        with self.guard(), suppress(OSError):
            self._mapped(call)
            for number in os.listdir(f"{call.tid}/fd"):
                self._read(call, f"{call.tid}/fd/{number}".encode(), 0)

    def _mapped(self, call: Call) -> None:
        # Address, rights, offset, device, inode, path (proc_pid_maps(5)).
        mappings = [line.split(None, 5) for line in read_whole(b"%d/maps" % call.tid).splitlines()]
        for path in {fields[5] for fields in mappings if len(fields) == 6}:
            if path[:1] == b"/":
                self._read(call, path, 0)

    def _read(self, call: Call, path: bytes, flags: int) -> int:
        found = statx(AT_FDCWD, path, flags | AT_STATX_DONT_SYNC)
        if isinstance(found, int):
            return found
        size, mount = found[8], found[23]
        key = _key(found)
        if not stat.S_ISREG(found[6]) or not 0 < size <= _LARGEST or key in self._known:
            return 0
        if found[9] * _BLOCK < size:
            # A tmpfs fills a hole that is looked at in a mapping, and the file becomes larger.
            return 0
        shown = self._devices.mount(mount, call.tid)
        if shown.transient or self._devices.is_outside(shown):
            # Perhaps it is ours to answer for.
            return 0
        self._known[key] = self._lock(path, size)
        return 0

    def _lock(self, path: bytes, size: int) -> LockedFile | None:
        """The file, locked in memory; None if it has only been read."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            if size <= self._left and len(self._known) < _MOST:
                with suppress(OSError):
                    pages = LockedFile(fd, size)
                    self._left -= size
                    return pages
            with suppress(OSError, ValueError):
                read_pages(fd, size)
        finally:
            os.close(fd)
        return None


def _key(found: tuple[int, ...]) -> tuple[int, ...]:
    """Inode, size, change time and device: what has changed may not be in memory any more."""
    return (found[7], found[8], *found[15:17], *found[21:23])
