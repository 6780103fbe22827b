"""Mounting: mount(2) and its newer, file-descriptor-based relatives, and openat2(2).

Every call carries its kernel name and raises OSError. The newer calls (fsopen, fsmount, open_tree,
move_mount, mount_setattr; Linux 5.2 and 5.12) are what the container's root is built with: a mount
is made detached, gets its flags, and is attached to a directory that we hold open, so no path is
walked twice and a symbolic link cannot turn the second walk elsewhere.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Mapping

from nsbuild.kernel.libc import c_char_p, c_int, c_ulong, c_void_p, check, libc, syscall

# mount(2), <linux/mount.h>
MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_NOSYMFOLLOW = 0x100
MS_NOATIME = 0x400
MS_NODIRATIME = 0x800
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_SILENT = 0x8000
MS_UNBINDABLE = 0x20000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MS_SHARED = 0x100000
MS_RELATIME = 0x200000
MS_STRICTATIME = 0x1000000

# umount2(2)
MNT_FORCE = 0x1
MNT_DETACH = 0x2
MNT_EXPIRE = 0x4
UMOUNT_NOFOLLOW = 0x8

# openat2(2), <linux/openat2.h>
RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10
RESOLVE_CACHED = 0x20

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

# open_tree(2)
OPEN_TREE_CLONE = 0x1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC

# move_mount(2)
MOVE_MOUNT_F_EMPTY_PATH = 0x04
MOVE_MOUNT_T_EMPTY_PATH = 0x40

# fsopen(2), fsmount(2), fsconfig(2)
FSOPEN_CLOEXEC = 0x1
FSMOUNT_CLOEXEC = 0x1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6

# mount_setattr(2) and fsmount(2)
MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_RELATIME = 0x0
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_NOSYMFOLLOW = 0x200000

# Since 424 the numbers are the same on every architecture; pivot_root is older.
_NR_PIVOT_ROOT = 41 if os.uname().machine == "aarch64" else 155
_NR_OPEN_TREE = 428
_NR_MOVE_MOUNT = 429
_NR_FSOPEN = 430
_NR_FSCONFIG = 431
_NR_FSMOUNT = 432
_NR_OPENAT2 = 437
_NR_MOUNT_SETATTR = 442

_mount = libc.mount
_mount.restype = c_int
_mount.argtypes = [c_char_p, c_char_p, c_char_p, c_ulong, c_char_p]
_umount2 = libc.umount2
_umount2.restype = c_int
_umount2.argtypes = [c_char_p, c_int]


class OpenHow(ctypes.Structure):
    """struct open_how of openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class MountAttr(ctypes.Structure):
    """struct mount_attr of mount_setattr(2)."""

    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def _address(text: bytes) -> int:
    """The address of `text`, which the caller keeps alive for the length of the call."""
    return ctypes.cast(c_char_p(text), c_void_p).value or 0


def mount(
    source: str, target: str, fstype: str | None = None, flags: int = 0, data: str | None = None
) -> None:
    """mount(2); `flags` are MS_ constants, `data` the file system's own options."""
    check(
        _mount(
            os.fsencode(source),
            os.fsencode(target),
            None if fstype is None else fstype.encode(),
            flags,
            None if data is None else os.fsencode(data),
        ),
        target,
    )


def umount2(target: str, flags: int = 0) -> None:
    """umount2(2); `flags` are MNT_ constants and UMOUNT_NOFOLLOW."""
    check(_umount2(os.fsencode(target), flags), target)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2)."""
    new, old = os.fsencode(new_root), os.fsencode(put_old)
    syscall(_NR_PIVOT_ROOT, _address(new), _address(old))


def openat2(dirfd: int, path: str, flags: int, resolve: int = 0, mode: int = 0) -> int:
    """openat2(2): open `path` below `dirfd` within the limits of the RESOLVE_ constants.

    O_CLOEXEC is added. EAGAIN, which the kernel gives when a rename somewhere on the machine raced
    with a ".." in the path, is retried: it says nothing about the path.
    """
    name = os.fsencode(path)
    how = OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    for _ in range(128):
        try:
            return syscall(
                _NR_OPENAT2, dirfd, _address(name), ctypes.addressof(how), ctypes.sizeof(how)
            )
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), path)


def open_tree(dirfd: int, path: str, flags: int) -> int:
    """open_tree(2): with OPEN_TREE_CLONE a detached bind mount of `path`, as a descriptor."""
    name = os.fsencode(path)
    return syscall(_NR_OPEN_TREE, dirfd, _address(name), flags | OPEN_TREE_CLOEXEC)


def move_mount(tree: int, target: int) -> None:
    """move_mount(2) between two descriptors: attach the mount `tree` on the open `target`."""
    empty = b""
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    syscall(_NR_MOVE_MOUNT, tree, _address(empty), target, _address(empty), flags)


def mount_setattr(
    dirfd: int,
    path: str,
    flags: int,
    attr_set: int = 0,
    attr_clr: int = 0,
    propagation: int = 0,
) -> None:
    """mount_setattr(2); `flags` are AT_ constants, `propagation` an MS_ constant."""
    name = os.fsencode(path)
    attr = MountAttr(attr_set, attr_clr, propagation, 0)
    address, size = ctypes.addressof(attr), ctypes.sizeof(attr)
    syscall(_NR_MOUNT_SETATTR, dirfd, _address(name), flags, address, size)


def fsopen(fstype: str) -> int:
    """fsopen(2): a descriptor on which a new file system is configured."""
    name = fstype.encode()
    return syscall(_NR_FSOPEN, _address(name), FSOPEN_CLOEXEC)


def fsconfig(fs: int, command: int, key: str | None = None, value: str | None = None) -> None:
    """fsconfig(2) with the commands that take no or a string value."""
    name = None if key is None else os.fsencode(key)
    text = None if value is None else os.fsencode(value)
    syscall(
        _NR_FSCONFIG,
        fs,
        command,
        0 if name is None else _address(name),
        0 if text is None else _address(text),
        0,
    )


def fsmount(fs: int, attributes: int = 0) -> int:
    """fsmount(2): a detached mount of a configured file system, with MOUNT_ATTR_ flags."""
    return syscall(_NR_FSMOUNT, fs, FSMOUNT_CLOEXEC, attributes)


Options = Mapping[str, str | tuple[str, ...] | None]
"""Those of a file system: None makes a flag, and a tuple an option that is given several times."""


def new_mount(fstype: str, options: Options, attributes: int = 0) -> int:
    """fsopen, fsconfig and fsmount in a row.

    The source that the mount table shows is the file system's name.
    An OSError of a refused option carries the option as its file name.
    """
    fs = fsopen(fstype)
    try:
        fsconfig(fs, FSCONFIG_SET_STRING, "source", fstype)
        for key, given in options.items():
            for value in given if isinstance(given, tuple) else (given,):
                _set_option(fs, key, value)
        fsconfig(fs, FSCONFIG_CMD_CREATE)
        return fsmount(fs, attributes)
    finally:
        os.close(fs)


def _set_option(fs: int, key: str, value: str | None) -> None:
    try:
        fsconfig(fs, FSCONFIG_SET_FLAG if value is None else FSCONFIG_SET_STRING, key, value)
    except OSError as error:
        option = key if value is None else f"{key}={value}"
        raise OSError(error.errno, os.strerror(error.errno or 0), option) from error
