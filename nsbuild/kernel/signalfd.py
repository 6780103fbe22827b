"""signalfd(2): blocked signals as something to poll for, with who sent them."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable, Iterator

from .libc import c_int, check, libc

_SIGINFO = struct.Struct("=Iii116x")
"""struct signalfd_siginfo up to ssi_code: signo, errno, code."""
_MOST = 16
_SET_SIZE = 128
"""sigset_t of the C library."""

_signalfd = libc.signalfd
_signalfd.argtypes = [c_int, ctypes.c_char_p, c_int]
_signalfd.restype = c_int


def signalfd(numbers: Iterable[int]) -> int:
    """A descriptor that is readable when one of the signals `numbers`, all blocked, is pending."""
    bits = sum(1 << (number - 1) for number in numbers)
    mask = bits.to_bytes(_SET_SIZE, "little")
    return check(_signalfd(-1, mask, os.O_CLOEXEC | os.O_NONBLOCK))


def pending(fd: int) -> Iterator[tuple[int, int]]:
    """Number and si_code of each signal that is pending now."""
    try:
        data = os.read(fd, _SIGINFO.size * _MOST)
    except BlockingIOError:
        return
    for number, _, code in _SIGINFO.iter_unpack(data):
        yield number, code
