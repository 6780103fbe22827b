"""Ends a call that a thread sleeps in, for a timeout that the kernel does not know of.

The idle process does it, at the supervisor's word, and has a child do it: that must wait for the
thread to stop, and its own end lets the thread go if that does not come about. The supervisor
cannot wait, for the thread may have gone on meanwhile, into a call that waits for the supervisor.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable

import prctl

from nsbuild.kernel.ptrace import fail_call, has_stopped, interrupt, let_go, seize
from nsbuild.kernel.x86_64 import NR

from .sockettimes import Blocked, duplicate

_PATIENCE = 5.0
"""Seconds for a thread that sleeps to wake up and stop."""
_LOOK_AGAIN = 0.0005


def end_call(blocked: Blocked, sleeps: Callable[[], bool]) -> bool:
    """End the call, if the thread `sleeps` in it still; returns whether it has ended so."""
    child = os.fork()
    if not child:
        done = False
        try:
            prctl.set_pdeathsig(signal.SIGKILL)
            done = _end(blocked, sleeps)
        finally:
            os._exit(0 if done else 1)
    _, status = os.waitpid(child, 0)
    return status == 0


def _end(blocked: Blocked, sleeps: Callable[[], bool]) -> bool:
    try:
        seize(blocked.thread)
        if not sleeps():
            return False
        interrupt(blocked.thread)
        limit = time.monotonic() + _PATIENCE
        while not has_stopped(blocked.thread):
            if time.monotonic() > limit:
                return False
            time.sleep(_LOOK_AGAIN)
        ended = fail_call(blocked.thread, blocked.number, blocked.error)
        if not ended and blocked.number == NR["recvmmsg"]:
            _forget_interruption(blocked)
        let_go(blocked.thread)
    except OSError:
        # Another traces it, or it has ended.
        return False
    return ended


def _forget_interruption(blocked: Blocked) -> None:
    """Who has received something leaves the error for the next call (net/socket.c)."""
    with duplicate(blocked.process, blocked.thread, blocked.fd) as own:
        own.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
