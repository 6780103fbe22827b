"""timerfd_create(2), which os has only since Python 3.13."""

from __future__ import annotations

import ctypes
import os
import struct

from .libc import c_int, c_void_p, check, libc

TFD_NONBLOCK = os.O_NONBLOCK
TFD_CLOEXEC = os.O_CLOEXEC
CLOCK_MONOTONIC = 1

_timerfd_create = libc.timerfd_create
_timerfd_create.argtypes = [c_int, c_int]
_timerfd_create.restype = c_int

_timerfd_settime = libc.timerfd_settime
_timerfd_settime.argtypes = [c_int, c_int, c_void_p, c_void_p]
_timerfd_settime.restype = c_int


def timer() -> int:
    """A descriptor that becomes readable when `after` says; read 8 bytes to reset it."""
    return check(_timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC), "timerfd_create")


def after(fd: int, seconds: float, interval: float = 0) -> None:
    """Let `fd` become readable after `seconds`, and then every `interval` seconds if not 0."""
    first = divmod(int(seconds * 1_000_000_000), 1_000_000_000)
    again = divmod(int(interval * 1_000_000_000), 1_000_000_000)
    value = ctypes.create_string_buffer(struct.pack("=4q", *again, *first))
    check(_timerfd_settime(fd, 0, ctypes.addressof(value), None), "timerfd_settime")


def every(seconds: float) -> int:
    """A descriptor that becomes readable every `seconds`; read 8 bytes to reset it."""
    fd = timer()
    after(fd, seconds, seconds)
    return fd
