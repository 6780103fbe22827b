"""ptrace(2), as far as it takes to end a call that another thread sleeps in.

Nothing is traced for longer than that. The thread is seized, which it does not notice, and
interrupted, which makes its call return as for a signal; what it returns is changed before the
thread goes on, and no signal is ever there. Who traces must be a process of its own: its end lets
the thread go, whatever has become of it.
"""

from __future__ import annotations

import ctypes
import errno
import os

from .libc import syscall
from .x86_64 import NR, USER_CALL, USER_RESULT

PTRACE_PEEKUSER, PTRACE_POKEUSER = 3, 6
PTRACE_DETACH = 17
PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207

_WALL = 0x40000000
"""__WALL of wait(2): threads as well."""
_NOBODY = 0x7FFFFFFF
_INTERRUPTED = frozenset((-errno.EINTR, -512, -513, -514, -516))
"""How a call ends for a signal: with EINTR, or ERESTARTSYS and the like (linux/errno.h)."""


def available() -> bool:
    """Whether a filter around us lets us trace at all (the profiles of container engines)."""
    try:
        syscall(NR["ptrace"], PTRACE_SEIZE, _NOBODY, 0, 0)
    except OSError as error:
        return error.errno == errno.ESRCH
    return True


def seize(tid: int) -> None:
    """Become the tracer of a thread; OSError where that is not allowed or another traces it."""
    syscall(NR["ptrace"], PTRACE_SEIZE, tid, 0, 0)


def interrupt(tid: int) -> None:
    """Let a seized thread stop, so that `has_stopped` comes true."""
    syscall(NR["ptrace"], PTRACE_INTERRUPT, tid, 0, 0)


def has_stopped(tid: int) -> bool:
    """Whether a seized thread has stopped since it was interrupted; OSError if it has ended."""
    found, _ = os.waitpid(tid, os.WNOHANG | _WALL)
    return found == tid


def fail_call(tid: int, number: int, error: int) -> bool:
    """Let the interrupted call `number` of a stopped thread fail with `error`.

    False if it was in no such call, or the call has come to its end: with what there was until
    then, as after a timeout.
    """
    if _peek(tid, USER_CALL) != number or _peek(tid, USER_RESULT) not in _INTERRUPTED:
        return False
    # Who returns from no call restarts none.
    syscall(NR["ptrace"], PTRACE_POKEUSER, tid, USER_CALL, -1)
    syscall(NR["ptrace"], PTRACE_POKEUSER, tid, USER_RESULT, -error)
    return True


def let_go(tid: int) -> None:
    """Be the tracer of a stopped thread no longer."""
    syscall(NR["ptrace"], PTRACE_DETACH, tid, 0, 0)


def _peek(tid: int, offset: int) -> int:
    word = ctypes.c_long()
    syscall(NR["ptrace"], PTRACE_PEEKUSER, tid, offset, ctypes.addressof(word))
    return word.value
