"""process_vm_readv(2) and process_vm_writev(2): another process's memory, without a descriptor.

They cost more than a read of an open /proc/PID/mem and less than opening it, and unlike that file
they respect page protections. Every call here goes through one buffer of ours.
"""

from __future__ import annotations

import ctypes

from .libc import c_int, c_long, c_ulong, c_void_p, libc

SIZE = 1 << 16
"""The most that one call moves, in bytes."""


class IoVec(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", c_void_p), ("length", ctypes.c_size_t))


_BUFFER = ctypes.create_string_buffer(SIZE)
_LOCAL, _REMOTE = IoVec(ctypes.addressof(_BUFFER), 0), IoVec(0, 0)
_LOCAL_ADDRESS, _REMOTE_ADDRESS = ctypes.addressof(_LOCAL), ctypes.addressof(_REMOTE)
_VIEW = memoryview(_BUFFER).cast("B")

_readv = libc.process_vm_readv
_readv.argtypes = [c_int, c_void_p, c_ulong, c_void_p, c_ulong, c_ulong]
_readv.restype = c_long
_writev = libc.process_vm_writev
_writev.argtypes = _readv.argtypes
_writev.restype = c_long


def read_memory(pid: int, address: int, size: int) -> bytes:
    """Up to `size` <= SIZE bytes; fewer where a page is missing, none for any error."""
    _LOCAL.length = _REMOTE.length = size
    _REMOTE.base = address
    count = _readv(pid, _LOCAL_ADDRESS, 1, _REMOTE_ADDRESS, 1, 0)
    return bytes(_VIEW[:count]) if count > 0 else b""


def write_memory(pid: int, address: int, data: bytes) -> int:
    """Write `data`, at most SIZE bytes; returns how many were written, 0 for any error."""
    size = len(data)
    _VIEW[:size] = data
    _LOCAL.length = _REMOTE.length = size
    _REMOTE.base = address
    count = _writev(pid, _LOCAL_ADDRESS, 1, _REMOTE_ADDRESS, 1, 0)
    return count if count > 0 else 0
