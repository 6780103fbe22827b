"""The guard: keeps the guest from running while the supervisor sleeps for a disk.

The supervisor has the guest's CPU and a higher SCHED_FIFO priority, so nothing of the guest runs
while it answers, unless it has to sleep in the kernel: then threads of the guest would come further
than they do when the same file is in memory. The guard is a process between the two. Told that the
supervisor may sleep, it is ready to run until the supervisor is done, and does nothing.

What brings the pages may need this very CPU, and is an ordinary task: a disk whose interrupts
arrive here has its ksoftirqd and kblockd here. So a guard that has stood for a while asks a
lookout, on another CPU, whether anybody in the container could run at all, and as long as nobody
could it only stands by.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

from nsbuild.kernel.sharedmem import SharedWords

from .aide import fork_aide, messages, reply
from .spin import tasks_of

_LONGEST = 1.0
"""Seconds after which it lets go in any case."""
_PATIENCE = 0.005
"""Seconds after which it asks: most reads are over by then, and the lookout needs about as long."""
_STAND_BY = 0.001
"""Seconds between two looks at whether the supervisor is done or the lookout has seen somebody."""
_READY, _NOBODY = b"r", b"n"
"""What the lookout answers, with the question behind it."""
_LIMIT = 64


class Guard:
    """`priority` is between the guest's and the supervisor's.

    `namespace` is the inode of the container's PID namespace.
    """

    def __init__(self, priority: int, namespace: int) -> None:
        self._words = SharedWords().words
        self._priority = priority
        self._namespace = namespace
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
        lookout = fork_aide("nsbuild-lookout", partial(_look_out, self._namespace))
        lookout.setblocking(False)
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(self._priority))
        for _ in messages(requests):
            self._stand_once(lookout)

    def _stand_once(self, lookout: socket.socket) -> None:
        start = now = time.monotonic()
        question = b""
        alone = False
        while self._words[0] and now < start + _LONGEST:
            if question:
                with suppress(BlockingIOError):
                    answer = lookout.recv(_LIMIT)
                    if answer[1:] == question:
                        alone = answer[:1] == _NOBODY
                        lookout.send(question)
            elif now > start + _PATIENCE:
                # One of its own: what an earlier guard has asked may be answered only now.
                question = b"%r" % start
                lookout.send(question)
            if alone:
                time.sleep(_STAND_BY)
            now = time.monotonic()


def _look_out(namespace: int, requests: socket.socket) -> None:
    """The lookout: says whether any thread in the container runs, or could by itself.

    An ordinary task, as everybody has to be who looks processes up (see spin).
    """
    others = set(range(os.cpu_count() or 1)) - os.sched_getaffinity(0)
    with suppress(OSError):
        # Where we may run nowhere else it hardly gets to look. This comes first, since the guard
        # keeps ordinary tasks from this CPU.
        os.sched_setaffinity(0, others)
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    for question in messages(requests):
        ready = any(task.ready or task.soon for task in tasks_of(namespace))
        reply(requests, (_READY if ready else _NOBODY) + question)
