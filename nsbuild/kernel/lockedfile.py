"""A file locked in memory: mmap(2) with MAP_LOCKED, without a descriptor that stays open.

Python's own mmap keeps a duplicate of the descriptor for as long as the mapping lives.
"""

from __future__ import annotations

import ctypes
import mmap

from .libc import c_int, c_void_p, libc, raise_errno

MAP_LOCKED = 0x2000
MADV_POPULATE_READ = 22
"""madvise(2), Linux 5.14: read all pages, and return when they are there."""

_mmap = libc.mmap
_mmap.argtypes = [c_void_p, ctypes.c_size_t, c_int, c_int, c_int, ctypes.c_long]
_mmap.restype = c_void_p
_munmap = libc.munmap
_munmap.argtypes = [c_void_p, ctypes.c_size_t]
_munmap.restype = c_int
_MAP_FAILED = ctypes.c_void_p(-1).value


class LockedFile:
    """The first `size` bytes of the file behind `fd`; raises OSError.

    EAGAIN where that is more than an ordinary user may lock (RLIMIT_MEMLOCK).
    """

    def __init__(self, fd: int, size: int) -> None:
        self.size = size
        flags = mmap.MAP_SHARED | MAP_LOCKED
        self._address = _mmap(None, size, mmap.PROT_READ, flags, fd, 0)
        if self._address == _MAP_FAILED:
            raise_errno("mmap")

    def close(self) -> None:
        """Let it go."""
        _munmap(self._address, self.size)


def read_pages(fd: int, size: int) -> None:
    """Have the first `size` bytes of a file in memory, for as long as the kernel likes."""
    with mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ) as pages:
        pages.madvise(MADV_POPULATE_READ)
