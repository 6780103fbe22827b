"""System V semaphores, looked at from outside: semctl(2), and the layout of operations on them."""

from __future__ import annotations

import struct

from .libc import syscall
from .x86_64 import NR

SEMBUF = struct.Struct("=Hhh")
"""struct sembuf: the semaphore's number in its set, the operation, flags."""
IPC_NOWAIT = 0o4000
SEMOPM = 500
"""The most operations in one call, unless kernel.sem says otherwise."""
_GETVAL = 12


def value(semaphores: int, number: int) -> int:
    """The value of one of a set of semaphores of our IPC namespace; raises OSError."""
    return syscall(NR["semctl"], semaphores, number, _GETVAL, 0)
