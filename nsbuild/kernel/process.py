"""Processes seen from outside: pidfd calls, tgkill, and reading /proc by directory descriptor.

os has pidfd_open and signal has pidfd_send_signal; what they lack is here.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable, Iterator, Sequence

from .libc import c_int, libc, syscall
from .x86_64 import NR

CLOSE_RANGE_CLOEXEC = 1 << 2
PIDFD_THREAD = os.O_EXCL
"""pidfd_open(2): a descriptor for one thread, Linux >= 6.9."""

_tgkill = libc.tgkill
_tgkill.argtypes = [c_int, c_int, c_int]
_tgkill.restype = c_int


def pidfd_getfd(pidfd: int, target: int) -> int:
    """pidfd_getfd(2): our own duplicate of the descriptor `target` of another process."""
    return syscall(NR["pidfd_getfd"], pidfd, target, 0)


SI_TIMER = -2
_SIGINFO = struct.Struct("=iiixxxxiiQ96x")
"""siginfo_t of a POSIX timer (asm-generic/siginfo.h): signo, errno, code, timer, overrun, value."""


def send_timer_signal(
    pidfd: int, tgid: int, tid: int, number: int, timer: int, overrun: int, value: int
) -> None:
    """Signal `number` as from POSIX timer `timer`, to a process or, if `tid` is not 0, a thread.

    pidfd_send_signal(2) and rt_tgsigqueueinfo(2) let us say SI_TIMER, because that is negative.
    Raises OSError.
    """
    info = _SIGINFO.pack(number, 0, SI_TIMER, timer, overrun, value)
    buffer = ctypes.create_string_buffer(info, _SIGINFO.size)
    address = ctypes.addressof(buffer)
    if tid:
        syscall(NR["rt_tgsigqueueinfo"], tgid, tid, number, address)
    else:
        syscall(NR["pidfd_send_signal"], pidfd, number, address, 0)


def is_thread_of(tgid: int, tid: int) -> bool:
    """Whether `tid` is at this moment a thread of process `tgid` (tgkill(2) with signal 0)."""
    return bool(_tgkill(tgid, tid, 0) == 0)


def read_small(path: str, dir_fd: int | None = None, size: int = 8192) -> bytes:
    """The first `size` bytes of a /proc file in one read, so that it is one moment's state."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        return os.read(fd, size)
    finally:
        os.close(fd)


def status_fields(text: bytes) -> dict[bytes, bytes]:
    """/proc/PID/status by field."""
    pairs = (line.split(b":", 1) for line in text.splitlines() if b":" in line)
    return {key: value.strip() for key, value in pairs}


def stat_fields(task: str, dir_fd: int | None = None) -> list[bytes]:
    """/proc/TASK/stat from its third field on, the state (proc_pid_stat(5)).

    The command name in field 2 may hold anything; the last ) ends it.
    """
    return read_small(f"{task}/stat", dir_fd).rpartition(b")")[2].split()


def inner_number(text: bytes) -> int:
    """The number of a process or thread one PID namespace further in than ours; 0 if it has none.

    `text` is as for `namespace_numbers`.
    """
    numbers = namespace_numbers(text)
    return numbers[1] if len(numbers) > 1 else 0


def namespace_numbers(text: bytes) -> list[int]:
    """The numbers of a process or thread, from the PID namespace of that /proc on inwards.

    `text` is its /proc/PID/status, or the fdinfo of a pidfd (proc_pid_status(5), NSpid).
    """
    return [int(word) for word in text.partition(b"NSpid:")[2].partition(b"\n")[0].split()]


def numbered_inside(directory: str, number: int) -> Iterator[str]:
    """The entries of `directory`, a /proc or a task directory in one, with that number inside.

    It is that of whatever PID namespace each of them is in.
    """
    for name in filter(str.isdigit, os.listdir(directory)):
        try:
            found = inner_number(read_small(f"{directory}/{name}/status"))
        except OSError:
            continue
        if found == number:
            yield name


def read_whole(path: bytes) -> bytes:
    """All of a /proc file that may be longer than one read (mountinfo is best read to its end)."""
    with open(path, "rb", buffering=0) as file:
        return file.readall()


_ARG_START, _ARG_END = 45, 46
"""Fields of /proc/PID/stat as `stat_fields` has them: 48 and 49 of proc_pid_stat(5)."""


def overwrite_arguments(title: bytes, proc_fd: int) -> None:
    """Make /proc/self/cmdline say `title` and nothing else, whatever we were started with.

    `proc_fd` is a descriptor of a /proc in which we are.
    A last byte that is not NUL makes the kernel take the area for a setproctitle(3) and show it up
    to its first NUL. Short arguments cut the title short.
    """
    fields = stat_fields("self", proc_fd)
    start, end = int(fields[_ARG_START]), int(fields[_ARG_END])
    size = end - start
    if size < 2:
        return
    text = title[: size - 2] + b"\0"
    fd = os.open("self/mem", os.O_RDWR | os.O_CLOEXEC, dir_fd=proc_fd)
    try:
        os.pwrite(fd, text.ljust(size, b"."), start)
    finally:
        os.close(fd)


_execve = libc.execve
_execve.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p]
_execve.restype = c_int


class Image:
    """Arguments and environment of a program to be, laid out for execve(2) before it is needed.

    Unlike os.execve it takes an environment of any strings.
    """

    def __init__(self, argv: Sequence[str], environment: Sequence[bytes]) -> None:
        words = list(map(os.fsencode, argv))
        self._argv = _strings(words)
        self._rest = words[1:]
        self._environment = _strings(environment)

    def execute(self, path: bytes) -> int:
        """Become the program `path`; returns the errno of the failure."""
        _execve(path, self._argv, self._environment)
        return ctypes.get_errno()

    def execute_script(self, path: bytes) -> int:
        """Become a shell that reads `path`, as execvp(3) does with a file of unknown format."""
        argv = _strings([b"/bin/sh", path, *self._rest])
        _execve(b"/bin/sh", argv, self._environment)
        return ctypes.get_errno()


def _strings(strings: Sequence[bytes]) -> ctypes.Array[ctypes.c_char_p]:
    return (ctypes.c_char_p * (len(strings) + 1))(*strings, None)


def close_on_exec_from(first: int) -> None:
    """close_range(2): mark every descriptor from `first` on close-on-exec."""
    syscall(NR["close_range"], first, 0x7FFFFFFF, CLOSE_RANGE_CLOEXEC)


def keep_only(fds: Iterable[int]) -> None:
    """close_range(2): close every descriptor but `fds` and the standard ones."""
    first = 3
    for fd in sorted(fds):
        if fd > first:
            syscall(NR["close_range"], first, fd - 1, 0)
        first = max(first, fd + 1)
    syscall(NR["close_range"], first, 0x7FFFFFFF, 0)
