"""Deadlines: what is due at a time on the clock of a process, and calls that are kept until then.

When one of them happens is for nsbuild.supervisor.waits to say.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable

from nsbuild.kernel.process import inner_number, read_small

from .listener import Call
from .memory import MemoryClosedError
from .processes import Process


class Deadline:
    """Something that is due `duration` nanoseconds from now on the clock of `process`.

    `at` and `wall` are its monotonic and its wall reading then, `since` when it was set in real
    seconds. The wall reading may be beyond it by `patience` before that alone makes it overdue.
    """

    outlives = False
    """Whether it may happen when its process has ended."""
    stays = False
    """Whether a call that it limits goes on waiting when it has happened, and without it."""

    def __init__(self, process: Process, duration: int, patience: int = 0) -> None:
        self.process = process
        self.patience = patience
        self.start(duration)

    def start(self, duration: int) -> None:
        """It is due `duration` from now."""
        clock = self.process.clock
        self.duration = duration
        self.at = clock.monotonic + duration
        self.wall = clock.wall + duration
        self.since = time.monotonic()

    def move_clock(self) -> None:
        """Let the time of the process be the one at which this is due, if that is still to come."""
        clock = self.process.clock
        left = self.at - clock.monotonic
        if not self.is_over():
            clock.sleep(left)
            clock.wall = max(clock.wall, self.wall)

    def is_over(self) -> bool:
        """Whether its process has passed it by reading its clock."""
        clock = self.process.clock
        return clock.monotonic >= self.at or clock.wall >= self.wall + self.patience

    def happen(self) -> None:
        """It is due; it has been taken off the agenda."""
        raise NotImplementedError

    def cancelled(self) -> None:
        """It will not happen any more."""


class Held(Deadline):
    """A call that is kept waiting.

    `expire` answers it when its time is over and says whether that was taken; `come` does when what
    it waits for seems to be there, and says whether it was; `interrupt` ends it for a signal.
    `masks` are signals that it takes or blocks other than its thread does, see idle.HELD. `changed`
    tells whether what it waits for in memory has come. Who `takes` it, from others who wait for the
    same, goes on alone when everything waits. `underway` says whether what it waits for
    is being done by itself. `watch` is an epoll of duplicates, `fds`, of the descriptors that it
    waits for.
    """

    def __init__(
        self, call: Call, process: Process, duration: int, expire: Callable[[], bool]
    ) -> None:
        super().__init__(process, duration)
        self.call = call
        self.expire = expire
        self.come: Callable[[], bool] = self.go_on
        self.interrupt: Callable[[], object] = call.resume
        self.masks = 0, 0
        self.changed: Callable[[], bool] | None = None
        self.takes = False
        self.underway: Callable[[], bool] = lambda: False
        self.watch: select.epoll | None = None
        self.fds: list[int] = []
        self.tid = inner_tid(call, process)

    def happen(self) -> None:
        """The time is over."""
        try:
            taken = self.expire()
        except MemoryClosedError:
            taken = self.call.resume()
        if taken:
            self.move_clock()

    def go_on(self) -> bool:
        """Let the kernel do it."""
        self.call.resume()
        return True

    def close(self) -> None:
        """Give the descriptors back."""
        if self.watch is not None:
            self.watch.close()
        for fd in self.fds:
            os.close(fd)
        self.fds.clear()


def inner_tid(call: Call, process: Process) -> int:
    """The number that the calling thread has inside; 0 if it has just gone."""
    if call.tid == process.pid:
        return process.vpid
    try:
        status = read_small(f"{call.tid}/status")
    except OSError:
        return 0
    return inner_number(status)
