"""Namespaces: unshare(2), the raw clone(2) that forks, UTS names and interface flags.

Constants are those of linux/sched.h. Everything here acts on the calling process.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct

from .libc import c_char_p, c_int, c_ulong, check, libc, syscall
from .x86_64 import NR

CLONE_VM = 0x00000100
CLONE_VFORK = 0x00004000
CLONE_PARENT = 0x00008000
CLONE_THREAD = 0x00010000
CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

ADDR_NO_RANDOMIZE = 0x0040000
STICKY_TIMEOUTS = 0x4000000
PER_LINUX32 = 0x0008
PERSONALITY_QUERY = 0xFFFFFFFF
"""Changes nothing, and returns the execution domain."""
PER_MASK = 0x00FF

_NS_GET_PID_FROM_PIDNS, _NS_GET_TGID_IN_PIDNS = 0x8004B706, 0x8004B709
"""linux/nsfs.h, Linux 6.11."""
_NS_GET_USERNS = 0xB701
"""ioctl_ns(2)."""

_unshare = libc.unshare
_unshare.argtypes = [c_int]
_unshare.restype = c_int

_setdomainname = libc.setdomainname
_setdomainname.argtypes = [c_char_p, c_ulong]
_setdomainname.restype = c_int

_personality = libc.personality
_personality.argtypes = [c_ulong]
_personality.restype = c_int

SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1


def unshare(flags: int) -> None:
    """unshare(2): move the calling process into new namespaces."""
    check(_unshare(flags), "unshare")


def fork_as_sibling() -> int:
    """fork(2) a child whose parent is *our* parent (CLONE_PARENT); 0 in the child.

    Python's own after-fork work is done by hand, since os.fork cannot pass flags. The caller must
    be single-threaded.
    """
    child = syscall(NR["clone"], CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)
    if child == 0:
        return 0
    return child


def setdomainname(name: str) -> None:
    """setdomainname(2)."""
    raw = os.fsencode(name)
    check(_setdomainname(raw, len(raw)), "setdomainname")


def personality(persona: int) -> int:
    """personality(2): set the execution domain, return the one before."""
    return check(_personality(persona), "personality")


def link_up(interface: str) -> None:
    """Bring `interface` up (netdevice(7)), in the caller's network namespace.

    Two ioctls: loading a netlink library for this one flag would double the start-up time.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        request = struct.pack("16sH22x", interface.encode(), 0)
        flags = struct.unpack_from("H", fcntl.ioctl(control, SIOCGIFFLAGS, request), 16)[0]
        request = struct.pack("16sH22x", interface.encode(), flags | IFF_UP)
        fcntl.ioctl(control, SIOCSIFFLAGS, request)


def owner_of(path: str) -> int:
    """The inode of the user namespace that owns the namespace at `path`, a link of /proc/PID/ns.

    Raises OSError, EPERM if that is not within our own.
    """
    namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        users = fcntl.ioctl(namespace, _NS_GET_USERNS)
    finally:
        os.close(namespace)
    try:
        return os.fstat(users).st_ino
    finally:
        os.close(users)


def number_in(namespace: int, pid: int) -> int:
    """The number that process `pid` has in the PID namespace of descriptor `namespace`; OSError."""
    return fcntl.ioctl(namespace, _NS_GET_TGID_IN_PIDNS, pid)


def thread_from(namespace: int, tid: int) -> int:
    """Our number for thread `tid` of the PID namespace of descriptor `namespace`; OSError."""
    return fcntl.ioctl(namespace, _NS_GET_PID_FROM_PIDNS, tid)
