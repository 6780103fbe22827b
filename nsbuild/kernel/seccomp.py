"""seccomp(2) and the user-notification ioctls, raw.

libseccomp 2.5 can neither ask for WAIT_KILLABLE_RECV nor tell one errno of a RECV from another, so
only the *building* of filters is left to it. Structs and numbers are those of linux/seccomp.h; see
seccomp_unotify(2).
"""

from __future__ import annotations

import ctypes
import errno
import struct

from .libc import syscall
from .x86_64 import NR

SECCOMP_SET_MODE_FILTER = 1
SECCOMP_GET_NOTIF_SIZES = 3

SECCOMP_FILTER_FLAG_NEW_LISTENER = 1 << 3
SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = 1 << 5


SECCOMP_USER_NOTIF_FLAG_CONTINUE = 1
SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP = 1

SECCOMP_IOCTL_NOTIF_RECV = 0xC0502100
SECCOMP_IOCTL_NOTIF_SEND = 0xC0182101
SECCOMP_IOCTL_NOTIF_ID_VALID = 0x40082102
SECCOMP_IOCTL_NOTIF_ADDFD = 0x40182103
SECCOMP_IOCTL_NOTIF_SET_FLAGS = 0x40082104

SECCOMP_ADDFD_FLAG_SETFD = 1 << 0
SECCOMP_ADDFD_FLAG_SEND = 1 << 1

NOTIF = struct.Struct("=QIIiIQ6Q")
"""struct seccomp_notif: id, pid, flags, then seccomp_data: nr, arch, instruction_pointer, args."""
NOTIF_RESP = struct.Struct("=QqiI")
"""struct seccomp_notif_resp: id, val, error (a negative errno), flags."""
NOTIF_ADDFD = struct.Struct("=QIIII")
"""struct seccomp_notif_addfd: id, flags, srcfd, newfd, newfd_flags."""
NOTIF_ID = struct.Struct("=Q")


PR_NSBUILD = 0x6E736275
"""A prctl(2) of no kernel's (EINVAL), which every filter of ours answers with NSBUILD_ERRNO."""
NSBUILD_ERRNO = errno.EALREADY


def under_nsbuild() -> bool:
    """Whether a filter of ours is above the calling process."""
    try:
        syscall(NR["prctl"], PR_NSBUILD)
    except OSError as error:
        return error.errno == NSBUILD_ERRNO
    return False


class SockFprog(ctypes.Structure):
    """struct sock_fprog of linux/filter.h."""

    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def notif_sizes() -> tuple[int, int]:
    """Sizes in bytes that this kernel uses for a notification and a response.

    They may grow with the kernel; a buffer that is too small would be overrun.
    """
    sizes = (ctypes.c_ushort * 3)()
    syscall(NR["seccomp"], SECCOMP_GET_NOTIF_SIZES, 0, ctypes.addressof(sizes))
    return sizes[0], sizes[1]


class Program:
    """A BPF program kept in memory, ready to be installed without any further preparation."""

    def __init__(self, bpf: bytes) -> None:
        self._bytes = ctypes.create_string_buffer(bpf, len(bpf))
        self._fprog = SockFprog(len(bpf) // 8, ctypes.addressof(self._bytes))

    def install(self) -> int:
        """Install on the calling thread; returns the listener's file descriptor.

        WAIT_KILLABLE_RECV exists since Linux 5.19 and is left out where the kernel refuses it.
        Needs CAP_SYS_ADMIN in the caller's user namespace (or NO_NEW_PRIVS). Raises OSError; EBUSY
        means that a filter with a listener is already there, which the kernel allows only once.
        """
        flags = SECCOMP_FILTER_FLAG_NEW_LISTENER
        address = ctypes.addressof(self._fprog)
        try:
            return syscall(
                NR["seccomp"],
                SECCOMP_SET_MODE_FILTER,
                flags | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
                address,
            )
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        return syscall(NR["seccomp"], SECCOMP_SET_MODE_FILTER, flags, address)
