"""Timeouts of sockets, SO_RCVTIMEO and SO_SNDTIMEO: where they are kept, and who waits with one.

The kernel keeps them for us, so that they go wherever the socket goes: into children, through
other sockets, to what a listening socket accepts. It is told a time so far off that its own timeout
never fires, in which the real one is hidden. It has to know of one at all because a signal then
ends a call with EINTR even with SA_RESTART (signal(7), "Interruption of system calls").

Calls on sockets are notified for nobody's sake, read and write least of all. Who sleeps in one is
found by the idle process, in which `SocketCalls` runs, whenever it looks at all threads.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
import struct
from contextlib import suppress

from nsbuild.kernel.namespaces import thread_from
from nsbuild.kernel.process import PIDFD_THREAD, numbered_inside, pidfd_getfd
from nsbuild.kernel.x86_64 import NR
from nsbuild.tuples import NamedTuple

TIMEVAL = struct.Struct("=qq")
"""Seconds and microseconds, of SO_RCVTIMEO and SO_RCVTIMEO_NEW alike."""

_HIDDEN = 1 << 51
"""Seconds; as many microseconds, 71 years, are the longest timeout. The sum is less than what any
kernel takes for endless, LONG_MAX / HZ (net/core/sock.c, sock_set_timeout)."""

_RECEIVES = frozenset(
    NR[name]
    for name in [
        "read",
        "readv",
        "preadv2",
        "recvfrom",
        "recvmsg",
        "recvmmsg",
        "accept",
        "accept4",
    ]
)
_SENDS = frozenset(
    NR[name]
    for name in [
        "write",
        "writev",
        "pwritev2",
        "sendto",
        "sendmsg",
        "sendmmsg",
        "sendfile",
        "connect",
    ]
)
"""Calls whose first argument is the socket that they wait for."""
_INTERNET = (socket.AF_INET, socket.AF_INET6)


def hide(microseconds: int) -> bytes:
    """The option that hides a timeout."""
    return TIMEVAL.pack(_HIDDEN + min(microseconds, _HIDDEN - 1), 0)


def hidden_in(option: bytes) -> int | None:
    """The timeout in microseconds that an option hides; None if it hides none."""
    if len(option) < TIMEVAL.size:
        return None
    seconds = int(TIMEVAL.unpack(option)[0])
    return seconds - _HIDDEN if _HIDDEN <= seconds < 2 * _HIDDEN else None


class Blocked(NamedTuple):
    """A thread that sleeps in call `number` on socket `fd` with a timeout, in microseconds.

    `tgid` and `tid` are its numbers inside, `process` and `thread` those that we know them by.
    `runs` tells one such sleep from another: how often the thread has been switched to. `error` is
    how the call ends at the timeout.
    """

    tgid: int
    tid: int
    process: int
    thread: int
    fd: int
    number: int
    error: int
    timeout: int
    runs: int


BLOCKED = struct.Struct("=7IQQ")
"""A `Blocked` in a message."""


class SocketCalls:
    """Looks whether a sleeping thread waits for a socket with a timeout.

    `proc_fd` is the container's /proc, `pids` its PID namespace; the working directory is the /proc
    in which processes have the numbers that we know them by.
    """

    def __init__(self, proc_fd: int, pids: int) -> None:
        self._proc = proc_fd
        self._pids = pids

    def look(self, task: str, call: list[int], runs: int) -> Blocked | None:
        """What `task`, "PID/task/TID", sleeps in; `call` is a number and its arguments."""
        number, fd = call[0], call[1] & 0xFFFFFFFF
        with suppress(OSError):
            if number == NR["splice"]:
                return self._look_at_splice(task, fd, call[3] & 0xFFFFFFFF, runs)
            if (number in _RECEIVES or number in _SENDS) and self._is_socket(task, fd):
                return self._look_at(task, number, fd, number in _RECEIVES, runs)
        return None

    def _is_socket(self, task: str, fd: int) -> bool:
        return stat.S_ISSOCK(os.stat(f"{task}/fd/{fd}", dir_fd=self._proc).st_mode)

    def _look_at_splice(self, task: str, source: int, target: int, runs: int) -> Blocked | None:
        """It waits for the pipe first, and for the socket when that can be read or written."""
        receives = self._is_socket(task, source)
        fd, pipe = (source, target) if receives else (target, source)
        if not self._is_socket(task, fd):
            return None
        own = duplicate_fd(*self._numbers(task), pipe)
        try:
            # Nothing else: who splices holds the pipe's lock while it waits for the socket.
            poll = select.poll()
            poll.register(own, select.POLLOUT if receives else select.POLLIN)
            ready = poll.poll(0)
        finally:
            os.close(own)
        return self._look_at(task, NR["splice"], fd, receives, runs) if ready else None

    def _look_at(
        self, task: str, number: int, fd: int, receives: bool, runs: int
    ) -> Blocked | None:
        process, thread = self._numbers(task)
        with duplicate(process, thread, fd) as own:
            option = socket.SO_RCVTIMEO if receives else socket.SO_SNDTIMEO
            timeout = hidden_in(own.getsockopt(socket.SOL_SOCKET, option, TIMEVAL.size))
            goes_on = number == NR["connect"] and own.family in _INTERNET
        if timeout is None:
            return None
        error = errno.EINPROGRESS if goes_on else errno.EAGAIN
        pid, _, tid = task.split("/")
        return Blocked(int(pid), int(tid), process, thread, fd, number, error, timeout, runs)

    def _numbers(self, task: str) -> tuple[int, int]:
        """Our numbers for the process and the thread of `task`; raises OSError."""
        pid, _, tid = task.split("/")
        return self._outside(int(pid), int(tid))

    def _outside(self, pid: int, tid: int) -> tuple[int, int]:
        """Our numbers for a process and its thread; raises OSError."""
        try:
            return thread_from(self._pids, pid), thread_from(self._pids, tid)
        except ProcessLookupError:
            raise
        except OSError:
            # Linux before 6.11.
            process = self._find(".", pid)
            return int(process), int(self._find(f"{process}/task", tid))

    def _find(self, directory: str, number: int) -> str:
        """The one in `directory` of /proc that has that number inside; ProcessLookupError."""
        namespace = os.fstat(self._pids).st_ino
        for name in numbered_inside(directory, number):
            # Other containers have such numbers as well.
            with suppress(OSError):
                if os.stat(f"{directory}/{name}/ns/pid").st_ino == namespace:
                    return name
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))


def duplicate(tgid: int, tid: int, fd: int) -> socket.socket:
    """Our own duplicate of the socket `fd` of thread `tid`; raises OSError."""
    return as_socket(duplicate_fd(tgid, tid, fd))


def duplicate_fd(tgid: int, tid: int, fd: int) -> int:
    """Our own duplicate of the descriptor `fd` of thread `tid`; raises OSError."""
    try:
        # A thread may have descriptors of its own; Linux >= 6.9 tells.
        pidfd = os.pidfd_open(tid, PIDFD_THREAD)
    except OSError:
        pidfd = os.pidfd_open(tgid)
    try:
        return pidfd_getfd(pidfd, fd)
    finally:
        os.close(pidfd)


def as_socket(fd: int) -> socket.socket:
    """The socket of our descriptor `fd`, which is closed if it is none; raises OSError."""
    try:
        return socket.socket(fileno=fd)
    except OSError:
        os.close(fd)
        raise
