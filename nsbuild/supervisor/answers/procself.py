"""Files of /proc/PID that change by themselves: opened by us, as they are to be shown.

A plain open for reading is notified. Almost all are let go on after a look at the last name of the
path; one that names such a file in a /proc, wherever links lead, gets a descriptor of a memfd with
the text that nsbuild.determinism.proctext makes of the kernel's. What is read is therefore the
moment of the open. What takes rights to be read of other processes is left to the kernel there.

Compilers' opens (see the profile) are not notified. Who opens such a file in the same way and asks
fstat about it before reading, as gzip, xz and stdio do, gets the memfd then.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from nsbuild.determinism import proctext
from nsbuild.kernel.files import AT_FDCWD, AT_SYMLINK_NOFOLLOW, statx
from nsbuild.kernel.process import namespace_numbers, read_small, read_whole
from nsbuild.kernel.statfs import PROC_SUPER_MAGIC, statfs
from nsbuild.kernel.x86_64 import NR
from nsbuild.supervisor.answers import Handler, signed32
from nsbuild.supervisor.answers.links import Links
from nsbuild.supervisor.answers.nodes import NAMES, Nodes
from nsbuild.supervisor.answers.time import NSEC_PER_CLOCK_TICK
from nsbuild.supervisor.filetimes import FileTimes, path_of
from nsbuild.supervisor.listener import Call
from nsbuild.supervisor.pagecache import PageCache
from nsbuild.supervisor.places import Places
from nsbuild.supervisor.processes import Process

_OWN = frozenset((b"mountstats", b"maps", b"io"))
"""Only a process's own: reading another's takes rights that only the kernel can judge."""
_TABLES = frozenset((b"mountinfo", b"mounts"))
"""Anybody may read them, init's as well."""
_ALL = frozenset((b"stat", b"status", b"statm", b"schedstat", b"timens_offsets", b"net/dev"))
_NAMES = _OWN | _TABLES | _ALL
_NUMBERED = rb"/([0-9]+)/(?:task/[0-9]+/)?"
_PATH = re.compile(rb"(?s:.*)%b(%b)" % (_NUMBERED, b"|".join(sorted(_NAMES))))
"""Such a file in whatever proc there is, should it be one."""
_INIT = 1
_LONGEST_NAME = 249
"""Bytes; memfd_create(2)."""
_LINKS = frozenset((b"mtab",))
"""Names under which links lead to one of them."""
_PROC = frozenset(name.rpartition(b"/")[2] for name in _NAMES | _LINKS)
ONLY_BY_US = _PROC | NAMES
"""Last names of paths that may have to be opened here; all others are let go on."""


class ProcSelf:
    """Answers opens for reading."""

    def __init__(
        self,
        places: Places,
        times: FileTimes,
        process_of_pid: Callable[[int], Process | None],
        otherwise: Handler,
        nodes: Nodes,
        cache: PageCache | None,
    ) -> None:
        self._places = places
        self._times = times
        self._process_of_pid = process_of_pid
        self._otherwise = otherwise
        self._nodes = nodes
        self._cache = cache
        self._device: tuple[int, ...] = ()

    def handlers(self) -> dict[int, Handler]:
        """See nsbuild.supervisor.answers."""
        links = Links(self._places, self._times).handlers()
        return {NR["open"]: self.open, NR["openat"]: self.open, **links}

    def open(self, call: Call, process: Process) -> None:
        """open(2), openat(2)."""
        args = call.args
        if call.nr == NR["open"]:
            dirfd, address, flags = AT_FDCWD, args[0], args[1]
        else:
            dirfd, address, flags = signed32(args[0]), args[1], args[2]
        if flags & (os.O_ACCMODE | os.O_CREAT | os.O_TRUNC):
            self._otherwise(call, process)
            return
        path = process.memory.read_path(call, address)
        if isinstance(path, int):
            call.resume()
            return
        nofollow = AT_SYMLINK_NOFOLLOW if flags & os.O_NOFOLLOW else 0
        name = path.rpartition(b"/")[2]
        if name in NAMES and self._nodes.open(call, process, dirfd, path, flags):
            return
        if name not in _PROC:
            if self._cache is not None:
                self._cache.opens(call, process, dirfd, path, nofollow)
            call.resume()
            return
        shown: list[tuple[bytes, bytes]] = []

        def act(ours: bytes, how: int) -> int:
            found = statx(AT_FDCWD, ours, how)
            if isinstance(found, int):
                return found
            where = path_of(ours, how)
            text = self._text(call, process, where, ours)
            if text is not None:
                shown.append((where, text))
            return 0

        if self._places.at(call, process, dirfd, path, nofollow, act) or not shown:
            call.resume()
            return
        _hand_out(call, *shown[0], flags)

    def catch_up(self, call: Call, process: Process, fd: int, path: bytes) -> bool:
        """Put what is shown behind the caller's `fd`, a descriptor of the file at `path`.

        False if nothing was done; else `fd` has to be looked at again.
        """
        if not _PATH.fullmatch(path):
            return False
        try:
            if os.readlink(f"{call.tid}/fd/{fd}").startswith("/memfd:"):
                return False
            about = read_small(f"{call.tid}/fdinfo/{fd}").split()
        except OSError:
            return False
        # Lines of "pos:" in decimal and "flags:" in octal, proc_pid_fdinfo(5).
        position, flags = int(about[1]), int(about[3], 8)
        if position or flags & (os.O_ACCMODE | os.O_PATH):
            return False
        text = self._text(call, process, path, b"%d/fd/%d" % (call.tid, fd))
        if text is not None:
            # Who may have fewer descriptors by now than `fd` keeps the kernel's.
            with _readable(path, text) as ours, suppress(OSError):
                call.replace_fd(ours, fd, flags & os.O_CLOEXEC)
        return True

    def _text(self, call: Call, process: Process, path: bytes, ours: bytes) -> bytes | None:
        """What is shown of the file at `path`, `ours` to us; None if it is the kernel's to say."""
        found = _PATH.fullmatch(path)
        if found is None:
            return None
        pid, name = int(found[1]), found[2]
        try:
            values = statx(AT_FDCWD, ours, 0)
            if isinstance(values, int) or statfs(ours)[0] != PROC_SUPER_MAGIC:
                return None
            if values[21:23] == self._own_proc():
                owner = self._process_of_pid(pid)
                own = owner is process
                known = owner is not None or pid == _INIT or name in _TABLES
            else:
                # That of a PID namespace within, in which only the caller itself is known.
                own = pid in namespace_numbers(read_small(f"{process.pid}/status"))[2:]
                owner, known = process if own else None, True
            if not known or (name in _OWN and not own):
                return None
            if name == b"maps":
                # Its paths are as they look from the root of whoever reads.
                with self._places.taken(call, process, b"/", os.O_DIRECTORY):
                    text = read_whole(ours)
            else:
                text = read_whole(ours)
            if name in _TABLES:
                return self._table(name, text, (owner.pid if owner else 0) or call.tid)
            return self._rewritten(call, owner, own, name, text)
        except OSError:
            return None

    def _own_proc(self) -> tuple[int, ...]:
        """Major and minor number of the container's own /proc."""
        if not self._device:
            values = statx(AT_FDCWD, b"/proc", 0)
            self._device = () if isinstance(values, int) else values[21:23]
        return self._device

    def _table(self, name: bytes, text: bytes, tid: int) -> bytes:
        if name == b"mounts":
            return proctext.mounts(text)
        devices = self._times.devices
        return proctext.mountinfo(text, lambda number: devices.mount(number, tid).minor)

    def _rewritten(
        self, call: Call, owner: Process | None, own: bool, name: bytes, text: bytes
    ) -> bytes:
        if name == b"stat":
            used = (owner.cpu, owner.children_cpu) if owner else (0, 0)
            ticks, childrens = (cpu // NSEC_PER_CLOCK_TICK for cpu in used)
            return proctext.stat(text, own, ticks, childrens, owner is None)
        if name == b"status":
            return proctext.status(text, own)
        if name == b"mountstats":
            return proctext.mountstats(text)
        if name == b"maps" and owner is not None:
            return proctext.maps(text, lambda path: self._number(call, owner, path))
        if name == b"net/dev":
            return proctext.net_dev(text)
        return _CONSTANTS[name]

    def _number(self, call: Call, process: Process, path: bytes) -> tuple[int, int]:
        times = self._times

        def act(ours: bytes, how: int) -> int:
            return times.look(process, call.tid, ours, how)

        if self._places.at(call, process, AT_FDCWD, path, 0, act):
            return 0, 0
        number = times.number if times.file is None else times.file.number
        return times.mount.minor, number


_CONSTANTS = {
    b"statm": proctext.STATM,
    b"io": proctext.IO,
    b"schedstat": proctext.SCHEDSTAT,
    b"timens_offsets": proctext.TIMENS_OFFSETS,
}


def _hand_out(call: Call, path: bytes, text: bytes, flags: int) -> None:
    """Answer the call with a descriptor from which `text` can be read, for the file at `path`."""
    with _readable(path, text) as fd:
        try:
            call.answer_with(fd, flags & os.O_CLOEXEC)
        except OSError as error:
            call.fail(error.errno or errno.EMFILE)


@contextmanager
def _readable(path: bytes, text: bytes) -> Iterator[int]:
    """A descriptor, for reading alone, of a memfd that holds `text` and is shown as `path`."""
    # A longer path is shown by no name.
    memory = os.memfd_create(
        os.fsdecode(path) if len(path) <= _LONGEST_NAME else "", os.MFD_CLOEXEC
    )
    try:
        os.write(memory, text)
        fd = os.open(f"self/fd/{memory}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield fd
        finally:
            os.close(fd)
    finally:
        os.close(memory)
