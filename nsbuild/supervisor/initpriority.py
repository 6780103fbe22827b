"""Init's priority: above the guest while it serves, and an ordinary task while it reaps.

Under SCHED_FIFO init must answer before any of the guest runs again, so it has the supervisor's
priority. But whoever waits for a dead process in the kernel also drops the dead's entries of /proc,
and loops until those that another thread is dropping are gone (shrink_dcache_parent). If that other
thread is a dying one of the guest, preempted on the same CPU and below us, it never gets to run and
the loop never ends; no other process even sees the dying thread. Seen with a Go program, where init
spun for as long as it was allowed to. So init lowers itself before it reaps, and the supervisor
raises it again when it needs it next, unless a flag in shared memory says that it still reaps.
"""

from __future__ import annotations

import os

from nsbuild.kernel.sharedmem import SharedWords

PRIORITY = 20
"""The supervisor's own SCHED_FIFO priority, and init's while it serves."""

_PID, _FIFO, _REAPING, _LOWERED = range(4)
_ORDINARY = os.sched_param(0)
_RAISED = os.sched_param(PRIORITY)


class InitPriority:
    """Shared by the front, the supervisor and init; does nothing unless `use_fifo` was called.

    No lock is needed between init and the supervisor: they share a CPU, and a task there loses it
    to another of its own priority only by waiting, which neither does between look and deed.
    """

    def __init__(self) -> None:
        self._words = SharedWords().words

    def use_fifo(self) -> None:
        """The container runs under SCHED_FIFO."""
        self._words[_FIFO] = 1

    def begin_reaping(self) -> None:
        """In init: become an ordinary task that nobody raises."""
        words = self._words
        words[_REAPING] = 1
        if words[_FIFO]:
            os.sched_setscheduler(0, os.SCHED_OTHER, _ORDINARY)
            words[_LOWERED] = 1

    def end_reaping(self) -> None:
        """In init: wait4 is over."""
        self._words[_REAPING] = 0

    def set_pid(self, pid: int) -> None:
        """In the supervisor: init's number outside of the container."""
        self._words[_PID] = pid

    @property
    def pid(self) -> int:
        """What `set_pid` was told."""
        return self._words[_PID]

    def raise_init(self) -> None:
        """In the supervisor: raise init for a request, if it has lowered itself and is done."""
        words = self._words
        if words[_LOWERED] and not words[_REAPING]:
            words[_LOWERED] = 0
            os.sched_setscheduler(words[_PID], os.SCHED_FIFO, _RAISED)

    def spread_init(self) -> None:
        """In the supervisor: let init run on any CPU, since the command has ended.

        It is about to reap, as an ordinary task, and others of the guest may hold our CPU for long.
        """
        try:
            os.sched_setaffinity(self._words[_PID], range(os.cpu_count() or 1))
        except ProcessLookupError:
            return

    def lower_init(self) -> None:
        """In the front: the supervisor was killed, so init is going to reap all there is."""
        pid = self._words[_PID]
        if pid and self._words[_FIFO]:
            try:
                os.sched_setscheduler(pid, os.SCHED_OTHER, _ORDINARY)
            except ProcessLookupError:
                return
