"""Processes seen from outside: pidfd calls, tgkill, and reading /proc by directory descriptor.

os has pidfd_open and signal has pidfd_send_signal; what they lack is here.
"""

from __future__ import annotations

import os

from .libc import c_int, libc, syscall
from .x86_64 import NR

CLOSE_RANGE_CLOEXEC = 1 << 2

_tgkill = libc.tgkill
_tgkill.argtypes = [c_int, c_int, c_int]
_tgkill.restype = c_int


def pidfd_getfd(pidfd: int, target: int) -> int:
    """pidfd_getfd(2): our own duplicate of the descriptor `target` of another process."""
    return syscall(NR["pidfd_getfd"], pidfd, target, 0)


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


def close_on_exec_from(first: int) -> None:
    """close_range(2): mark every descriptor from `first` on close-on-exec."""
    syscall(NR["close_range"], first, 0x7FFFFFFF, CLOSE_RANGE_CLOEXEC)
