"""The spin guard: a guest that computes without end while others wait is moved behind them.

Under SCHED_FIFO a task that never calls anything keeps the CPU. That is what makes schedules
repeat, and what would hang a program that spins on memory until another one of the container has
done its part. So after `bound` seconds of CPU time in which nothing was notified, with others ready
to run, the spinner goes to the tail of the queue, and the trace says so. CPU time rather than real
time, because it does not depend on what else the host does.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from nsbuild.kernel.process import read_small
from nsbuild.kernel.sched import rotate

DEFAULT_BOUND = 5.0
CHECK_SECONDS = 1.0
"""How long nothing must have happened before anybody looks."""

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Task(NamedTuple):
    """A thread of the container that can run: its number outside and the CPU ticks it has used."""

    tid: int
    ticks: int


class SpinGuard:
    """Watches the container whose PID namespace has inode `namespace`.

    `bound` is in seconds of CPU time; `priority` the guest's SCHED_FIFO priority.
    """

    def __init__(self, namespace: int, bound: float, priority: int) -> None:
        self._namespace = namespace
        self.bound = bound
        self._bound = int(bound * _TICKS_PER_SECOND)
        self._priority = priority
        self._since: dict[int, int] = {}
        self.received = -1

    def check(self, received: int) -> int:
        """Look for a spinner; `received` counts notifications. Returns the thread moved, or 0."""
        tasks = self._runnable()
        if received != self.received:
            self.received = received
            self._since = {task.tid: task.ticks for task in tasks}
            return 0
        used = [(task.ticks - self._since.setdefault(task.tid, task.ticks), task) for task in tasks]
        if len(used) < 2:
            return 0
        most, spinner = max(used)
        if most < self._bound:
            return 0
        try:
            rotate(spinner.tid, self._priority)
        except (ProcessLookupError, PermissionError):
            return 0
        self._since = {task.tid: task.ticks for task in tasks}
        return spinner.tid

    def _runnable(self) -> list[Task]:
        tasks = []
        for pid in os.listdir("/proc"):
            if not pid.isdigit():
                continue
            try:
                if os.stat(f"/proc/{pid}/ns/pid").st_ino != self._namespace:
                    continue
                threads = os.listdir(f"/proc/{pid}/task")
                for tid in threads:
                    # The command name in field 2 may hold anything; the last ) ends it.
                    stat = read_small(f"/proc/{pid}/task/{tid}/stat").rpartition(b")")[2].split()
                    if stat[0] == b"R":
                        tasks.append(Task(int(tid), int(stat[11]) + int(stat[12])))
            except OSError:
                continue
        return tasks
