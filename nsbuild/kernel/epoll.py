"""epoll_wait(2) as it is: select.epoll tells the descriptor, not the data that came with it."""

from __future__ import annotations

import ctypes

from .libc import c_int, c_void_p, check, libc

EPOLL_EVENT_SIZE = 12
"""struct epoll_event is packed on x86-64."""

_epoll_wait = libc.epoll_wait
_epoll_wait.argtypes = [c_int, c_void_p, c_int, c_int]
_epoll_wait.restype = c_int


def epoll_events(fd: int, most: int) -> bytes:
    """At most `most` struct epoll_event that are there now, one after another; OSError."""
    buffer = ctypes.create_string_buffer(most * EPOLL_EVENT_SIZE)
    count = check(_epoll_wait(fd, ctypes.addressof(buffer), most, 0), "epoll_wait")
    return buffer.raw[: count * EPOLL_EVENT_SIZE]
