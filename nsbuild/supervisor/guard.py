"""The guard: keeps the guest from running while the supervisor sleeps for a disk.

The supervisor has the guest's CPU and a higher SCHED_FIFO priority, so nothing of the guest runs
while it answers, unless it has to sleep in the kernel: then threads of the guest would come further
than they do when the same file is in memory. The guard is a process between the two. Told that the
supervisor may sleep, it is ready to run until the supervisor is done, and does nothing.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import prctl

from nsbuild.kernel.process import keep_only
from nsbuild.kernel.sharedmem import SharedWords

_LONGEST = 1.0
"""Seconds after which it lets go: what brings the pages may need this very CPU."""


class Guard:
    """`priority` is between the guest's and the supervisor's."""

    def __init__(self, priority: int) -> None:
        self._words = SharedWords().words
        self._socket, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if os.fork() == 0:
            try:
                self._socket.close()
                self._stand(inner, priority)
            finally:
                os._exit(1)
        inner.close()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """While this is entered the guest does not run, even if we sleep."""
        self._words[0] = 1
        self._socket.send(b"!")
        try:
            yield
        finally:
            self._words[0] = 0

    def _stand(self, requests: socket.socket, priority: int) -> NoReturn:
        prctl.set_pdeathsig(signal.SIGKILL)
        prctl.set_name("nsbuild-guard")
        # A duplicate of what the guest has open would keep it open.
        keep_only([requests.fileno()])
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
        words = self._words
        while requests.recv(1):
            end = time.monotonic() + _LONGEST
            while words[0] and time.monotonic() < end:
                pass
        os._exit(0)
