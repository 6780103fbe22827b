"""statfs(2): os.statvfs hides the type of the file system."""

from __future__ import annotations

import ctypes

from .files import STATFS
from .libc import c_char_p, c_int, c_void_p, check, libc

PROC_SUPER_MAGIC = 0x9FA0
PROC_ROOT_INO = 1
"""The inode of a procfs itself (linux/proc_ns.h); others of the kernel's own have it as well."""
SYSFS_MAGIC = 0x62656572

_BUFFER = ctypes.create_string_buffer(STATFS.size)
_ADDRESS = ctypes.addressof(_BUFFER)
_statfs = libc.statfs
_statfs.argtypes = [c_char_p, c_void_p]
_statfs.restype = c_int


def statfs(path: bytes) -> tuple[int, ...]:
    """The values of STATFS for the file system that `path` is on; raises OSError."""
    check(_statfs(path, _ADDRESS))
    return STATFS.unpack_from(_BUFFER)
