"""bind(2), getsockname(2) and recvmsg(2), with addresses as bytes, whose layouts are here too.

Python's own take addresses apart and put them together again, and resolve names.
"""

from __future__ import annotations

import ctypes
import struct

from nsbuild.tuples import NamedTuple

from .libc import c_char_p, c_int, c_long, c_void_p, check, libc
from .remotemem import IoVec

_bind = libc.bind
_bind.restype = c_int
_bind.argtypes = [c_int, c_char_p, c_int]
_getsockname = libc.getsockname
_getsockname.restype = c_int
_getsockname.argtypes = [c_int, c_void_p, c_void_p]
_recvmsg = libc.recvmsg
_recvmsg.restype = c_long
_recvmsg.argtypes = [c_int, c_void_p, c_int]

FAMILY = struct.Struct("=H")
"""sa_family_t, with which every address begins."""
PORT = struct.Struct("!H")
"""sin_port and sin6_port, which follow it."""
NETLINK = struct.Struct("=HxxII")
"""sockaddr_nl: nl_family, nl_pid, nl_groups."""
SOCKADDR_IN_SIZE = 16
SOCKADDR_IN6_SIZE = 28
SOCKADDR_IN6_SIZE_RFC2133 = 24
"""Without sin6_scope_id; the kernel takes it so."""
IP_BIND_ADDRESS_NO_PORT = 24
SOCKADDR_STORAGE_SIZE = 128
"""_K_SS_MAXSIZE: the longest address that the kernel takes."""


def bind(fd: int, address: bytes) -> None:
    """bind(2)."""
    check(_bind(fd, address, len(address)), "bind")


def getsockname(fd: int) -> bytes:
    """getsockname(2)."""
    room = ctypes.create_string_buffer(SOCKADDR_STORAGE_SIZE)
    size = c_int(SOCKADDR_STORAGE_SIZE)
    check(_getsockname(fd, room, ctypes.addressof(size)), "getsockname")
    return room.raw[: size.value]


class Received(NamedTuple):
    """One message: what fitted in, its length, who has sent it, as bytes, and its flags."""

    data: bytes
    length: int
    name: bytes
    flags: int


class _MsgHdr(ctypes.Structure):
    """struct msghdr."""

    _fields_ = (
        ("name", c_void_p),
        ("name_length", c_int),
        ("parts", c_void_p),
        ("count", ctypes.c_size_t),
        ("control", c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", c_int),
    )


def recvmsg(fd: int, size: int, flags: int) -> Received:
    """recvmsg(2) of at most `size` bytes, without control messages."""
    name = ctypes.create_string_buffer(SOCKADDR_STORAGE_SIZE)
    room = ctypes.create_string_buffer(size or 1)
    part = IoVec(ctypes.addressof(room), size)
    header = _MsgHdr(ctypes.addressof(name), len(name), ctypes.addressof(part), 1)
    length = check(_recvmsg(fd, ctypes.addressof(header), flags), "recvmsg")
    data, sender = room.raw[: min(length, size)], name.raw[: header.name_length]
    return Received(data, length, sender, header.flags)
