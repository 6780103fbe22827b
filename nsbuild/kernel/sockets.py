"""bind(2) and getsockname(2) with addresses as bytes, and the layouts of such addresses.

Python's own take addresses apart and put them together again, and resolve names.
"""

from __future__ import annotations

import ctypes
import struct

from .libc import c_char_p, c_int, c_void_p, check, libc

_bind = libc.bind
_bind.restype = c_int
_bind.argtypes = [c_int, c_char_p, c_int]
_getsockname = libc.getsockname
_getsockname.restype = c_int
_getsockname.argtypes = [c_int, c_void_p, c_void_p]

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
