"""Files as the kernel describes them: statx(2), the structures of stat(2), getdents(2), statfs(2).

Layouts are those of x86-64 (asm/stat.h, linux/stat.h, linux/dirent.h, asm-generic/statfs.h).
Python's own os.stat knows neither birth times nor mount ids.
"""

from __future__ import annotations

import ctypes
import os
import struct

from .libc import c_char_p, c_int, c_void_p, check, libc

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_REMOVEDIR = 0x200
AT_SYMLINK_FOLLOW = 0x400
AT_NO_AUTOMOUNT = 0x800
AT_EMPTY_PATH = 0x1000
AT_STATX_SYNC_TYPE = 0x6000
AT_STATX_DONT_SYNC = 0x4000

O_TMPFILE = 0o20000000
"""The bit of O_TMPFILE that is not O_DIRECTORY (asm-generic/fcntl.h)."""

PATH_MAX = 4096
"""Bytes of the longest path, its NUL included."""

STATX_BASIC_STATS = 0x7FF
STATX_BTIME = 0x800
STATX_MNT_ID = 0x1000
STATX_RESERVED = 0x80000000
STATX_WANTED = STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID

STATX = struct.Struct("=IIQIIIHxxQQQQ qI4x qI4x qI4x qI4x 4I Q 2I 96x")
"""struct statx: mask, blksize, attributes, nlink, uid, gid, mode, ino, size, blocks,
attributes_mask; seconds and nanoseconds of atime, btime, ctime, mtime; major and minor of rdev and
of dev; mnt_id; the two alignments of direct I/O."""

STAT = struct.Struct("=QQQIIIxxxxQqqqqqqqqq24x")
"""struct stat: dev, ino, nlink, mode, uid, gid, rdev, size, blksize, blocks; seconds and
nanoseconds of atime, mtime, ctime."""

STATFS = struct.Struct("=qqQQQQQiiqqq32x")
"""struct statfs: type, bsize, blocks, bfree, bavail, files, ffree, fsid (two words), namelen,
frsize, flags."""

UTIME_NOW = (1 << 30) - 1
UTIME_OMIT = (1 << 30) - 2

_BUFFER = ctypes.create_string_buffer(STATX.size)
_ADDRESS = ctypes.addressof(_BUFFER)
_statx = libc.statx
_statx.argtypes = [c_int, c_char_p, c_int, ctypes.c_uint, c_void_p]
_statx.restype = c_int
_get_errno = ctypes.get_errno
_unpack = STATX.unpack_from


def statx(dirfd: int, path: bytes, flags: int) -> tuple[int, ...] | int:
    """The values of STATX for `path`, or the errno.

    Never asks a file system's server: one of them may be ourselves (see supervisor.fusefile).
    """
    if _statx(dirfd, path, flags | AT_STATX_DONT_SYNC, STATX_WANTED, _ADDRESS):
        return _get_errno()
    return _unpack(_BUFFER)


def encode_dev(major: int, minor: int) -> int:
    """A device number as struct stat holds it (new_encode_dev of linux/kdev_t.h)."""
    return (minor & 0xFF) | major << 8 | (minor & ~0xFF) << 12


_setfsuid = libc.setfsuid
_setfsuid.argtypes = [ctypes.c_uint]
_setfsuid.restype = c_int
_setfsgid = libc.setfsgid
_setfsgid.argtypes = [ctypes.c_uint]
_setfsgid.restype = c_int


def set_fs_ids(uid: int, gid: int) -> None:
    """setfsuid(2) and setfsgid(2); neither can say that it failed."""
    # The group first: a user other than root may not choose it.
    if uid:
        _setfsgid(gid)
        _setfsuid(uid)
    else:
        _setfsuid(uid)
        _setfsgid(gid)


_setns = libc.setns
_setns.argtypes = [c_int, c_int]
_setns.restype = c_int


def setns(fd: int, kind: int) -> None:
    """setns(2): move the calling thread into the namespace `fd`; `kind` is a CLONE_NEW constant."""
    check(_setns(fd, kind), "setns")


def exists(path: bytes, dirfd: int | None = None) -> bool:
    """Whether `path` names anything, a dangling symbolic link included."""
    try:
        os.lstat(path) if dirfd is None else os.lstat(path, dir_fd=dirfd)
    except OSError:
        return False
    return True


_syncfs = libc.syncfs
_syncfs.argtypes = [c_int]
_syncfs.restype = c_int


def syncfs(fd: int) -> None:
    """syncfs(2): write everything of the file system of `fd` to its disk."""
    check(_syncfs(fd), "syncfs")
