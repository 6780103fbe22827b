"""The C library, loaded once, and the two ways in which we call it.

Python 3.11 has no `unshare`, `mount`, `pivot_root`, `setns` or `seccomp`. Each is bound here or in
the module of its family exactly once with its prototype, and raises OSError with the errno.
"""

from __future__ import annotations

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)

c_int = ctypes.c_int
c_long = ctypes.c_long
c_ulong = ctypes.c_ulong
c_char_p = ctypes.c_char_p
c_void_p = ctypes.c_void_p

_syscall = libc.syscall
_syscall.restype = c_long
# syscall(2) is variadic: on x86-64 and aarch64 all integer arguments of a variadic call travel as
# for a fixed prototype, so six longs after the number serve every call.
_syscall.argtypes = [c_long] * 7


def raise_errno(what: str = "") -> None:
    """Raise OSError for the errno of the last call made through this module."""
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), what or None)


def check(result: int, what: str = "") -> int:
    """Return `result`, or raise OSError where it is the C library's -1."""
    if result == -1:
        raise_errno(what)
    return result


def syscall(number: int, *args: int) -> int:
    """syscall(2) with up to six integer arguments (pointers as addresses); raises OSError."""
    padded = args + (0,) * (6 - len(args))
    return check(_syscall(number, *padded))
