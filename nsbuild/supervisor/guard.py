"""The guard: keeps the guest from running while the supervisor sleeps for a disk.

The supervisor has the guest's CPU and a higher SCHED_FIFO priority, so nothing of the guest runs
while it answers, unless it has to sleep in the kernel: then threads of the guest would come further
than they do when the same file is in memory. The guard is a process between the two. Told that the
supervisor may sleep, it is ready to run until the supervisor is done, and does nothing.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from nsbuild.kernel.sharedmem import SharedWords

from .aide import fork_aide, messages

_LONGEST = 1.0
"""Seconds after which it lets go: what brings the pages may need this very CPU."""


class Guard:
    """`priority` is between the guest's and the supervisor's."""

    def __init__(self, priority: int) -> None:
        self._words = SharedWords().words
        self._priority = priority
        self._socket = fork_aide("nsbuild-guard", self._stand)

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """While this is entered the guest does not run, even if we sleep."""
        self._words[0] = 1
        self._socket.send(b"!")
        try:
            yield
        finally:
            self._words[0] = 0

    def _stand(self, requests: socket.socket) -> None:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(self._priority))
        words = self._words
        for _ in messages(requests):
            end = time.monotonic() + _LONGEST
            while words[0] and time.monotonic() < end:
                pass
