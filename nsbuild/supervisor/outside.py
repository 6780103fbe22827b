"""Who waits for the world outside, which nobody in the container can hurry.

When all processes wait, virtual time jumps to the next deadline, unless one of them waits for
something that is still to come by itself: input from a terminal's user, from a pipe that the caller
has handed in, or with the host's network from a peer; or for what is being done already, by a disk
or by whoever reads our output. This runs in the idle process (see nsbuild.supervisor.idle), over
the container's own /proc.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Set
from enum import Enum

from nsbuild.kernel.process import read_small
from nsbuild.kernel.x86_64 import NR

_INPUT = frozenset(
    NR[name]
    for name in [
        "read",
        "readv",
        "pread64",
        "recvfrom",
        "recvmsg",
        "recvmmsg",
        "accept",
        "accept4",
        "connect",
    ]
)
"""Calls that wait for their first argument, a descriptor."""
_OUTPUT = frozenset(
    NR[name]
    for name in [
        "write",
        "writev",
        "pwrite64",
        "sendto",
        "sendmsg",
        "sendmmsg",
        "sendfile",
        "splice",
    ]
)
"""The same, but what they wait for is that others take what is there."""
_POLL = frozenset((NR["poll"], NR["ppoll"]))
_SELECT = frozenset((NR["select"], NR["pselect6"]))
_EPOLL = frozenset((NR["epoll_wait"], NR["epoll_pwait"], NR["epoll_pwait2"]))
_DISK = frozenset((NR["io_getevents"], NR["io_pgetevents"], NR["fsync"], NR["fdatasync"]))
"""Calls that wait for a disk, some of them as if for anything."""

_BIRTHS = frozenset((NR["vfork"], NR["clone"]))

_TTY_MAJORS = frozenset((4, 5, *range(136, 144)))
"""Consoles, /dev/tty and the slaves of pseudo-terminals (admin-guide/devices.txt)."""
_POLLFD = struct.Struct("=ihh")
_MOST = 1024

Identity = tuple[int, int]


class Awaited(Enum):
    """What a thread waits for: somebody inside, or time; the outside; what is being done."""

    INSIDE = 0
    INPUT = 1
    UNDERWAY = 2


class Outside:
    """What counts as outside: `inherited` (device and inode), and with `network` every socket."""

    def __init__(self, proc_fd: int, inherited: Set[Identity], network: bool) -> None:
        self._proc = proc_fd
        self._inherited = inherited
        self._network = network

    def waits(self, task: str, kept: bool) -> Awaited:
        """What the sleeping `task`, "PID/task/TID", waits for.

        Whether a disk does something for one that is `kept` waiting, the supervisor knows better.
        """
        number, *arguments = self.call(task)
        if number in _DISK and not kept:
            return Awaited.UNDERWAY
        if any(self._is_outside(task, fd) for fd in self._descriptors(task, number, arguments)):
            return Awaited.UNDERWAY if number in _OUTPUT else Awaited.INPUT
        return Awaited.INSIDE

    def bears(self, task: str) -> bool:
        """Whether `task` waits in vfork for its child, as if for a disk."""
        return self.call(task)[0] in _BIRTHS

    def call(self, task: str) -> list[int]:
        """The call that a thread waits in and its six arguments; number -1 if in none."""
        try:
            words = read_small(f"{task}/syscall", self._proc).split()
        except OSError:
            words = []
        return [int(word, 0) for word in words[:7]] if len(words) >= 7 else [-1] + [0] * 6

    def _descriptors(self, task: str, number: int, arguments: list[int]) -> list[int]:
        if number in _INPUT or number in _OUTPUT:
            return arguments[:1]
        if number in _POLL:
            count = min(arguments[1], _MOST)
            data = self._memory(task, arguments[0], count * _POLLFD.size)
            return [fd for fd, _, _ in _POLLFD.iter_unpack(data[: len(data) // 8 * 8])]
        if number in _SELECT:
            size = min(arguments[0], _MOST) + 7 >> 3
            sets = [self._memory(task, address, size) for address in arguments[1:4] if address]
            bits = 0
            for data in sets:
                bits |= int.from_bytes(data, "little")
            return [fd for fd in range(bits.bit_length()) if bits >> fd & 1]
        if number in _EPOLL:
            return self._watched(task, arguments[0])
        return []

    def _memory(self, task: str, address: int, size: int) -> bytes:
        if not size or address >= 1 << 63:
            return b""
        try:
            fd = os.open(f"{task}/mem", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
        except OSError:
            return b""
        try:
            return os.pread(fd, size, address)
        except OSError:
            return b""
        finally:
            os.close(fd)

    def _watched(self, task: str, epoll: int) -> list[int]:
        """The descriptors that an epoll instance watches (proc_pid_fdinfo(5))."""
        try:
            text = read_small(f"{task}/fdinfo/{epoll}", self._proc, 1 << 16)
        except OSError:
            return []
        return [int(line.split()[1]) for line in text.splitlines() if line.startswith(b"tfd:")]

    def _is_outside(self, task: str, fd: int) -> bool:
        if fd < 0:
            return False
        try:
            found = os.stat(f"{task}/fd/{fd}", dir_fd=self._proc)
        except OSError:
            return False
        if stat.S_ISCHR(found.st_mode):
            return os.major(found.st_rdev) in _TTY_MAJORS
        if (found.st_dev, found.st_ino) in self._inherited:
            return not stat.S_ISREG(found.st_mode)
        return stat.S_ISSOCK(found.st_mode) and self._network and not self._is_local(task, found)

    def _is_local(self, task: str, found: os.stat_result) -> bool:
        """Whether a socket is one of unix(7)."""
        try:
            fd = os.open(f"{task}/net/unix", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
        except OSError:
            return False
        with open(fd, "rb") as file:
            number = b"%d" % found.st_ino
            return any(number in line.split() for line in file)


def inherited_from(fds: tuple[int, ...]) -> frozenset[Identity]:
    """Those of our own descriptors behind which somebody outside may be."""
    found = set()
    for fd in fds:
        try:
            status = os.fstat(fd)
        except OSError:
            continue
        if not stat.S_ISREG(status.st_mode):
            found.add((status.st_dev, status.st_ino))
    return frozenset(found)
