"""Scheduling calls that os lacks; os itself has sched_setscheduler and sched_setaffinity."""

from __future__ import annotations

import ctypes
import os
import struct

from .libc import syscall
from .x86_64 import NR

_SCHED_ATTR = struct.Struct("=IIQiIQQQII")
"""struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period, util_*."""


def set_fifo(tid: int, priority: int) -> bool:
    """Give a thread SCHED_FIFO and a priority; False if it is gone, or its own limit forbids it."""
    try:
        os.sched_setscheduler(tid, os.SCHED_FIFO, os.sched_param(priority))
    except (ProcessLookupError, PermissionError):
        return False
    return True


def set_slice(nice: int, nanoseconds: int) -> None:
    """Ask for SCHED_OTHER with a time slice of its own (sched_setattr(2), Linux 6.12).

    Of two tasks that can run, the one with the shorter slice has the earlier deadline and goes
    first when it wakes. Older kernels ignore the slice.
    """
    size = _SCHED_ATTR.size
    attributes = _SCHED_ATTR.pack(size, os.SCHED_OTHER, 0, nice, 0, nanoseconds, 0, 0, 0, 0)
    buffer = ctypes.create_string_buffer(attributes, size)
    syscall(NR["sched_setattr"], 0, ctypes.addressof(buffer), 0)
