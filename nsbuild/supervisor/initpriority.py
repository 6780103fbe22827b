"""Init's priority: above the guest for the moment of a request, and never while it reaps.

Under SCHED_FIFO init must answer before any of the guest runs again, so the supervisor raises it
for each request. But whoever waits for a dead process in the kernel also drops the dead's entries
of /proc, and loops until those that another thread is dropping are gone (shrink_dcache_parent). If
that other thread is a dying one of the guest, preempted on the same CPU and below us, it never gets
to run and the loop never ends; no other process even sees the dying thread. Seen with a Go program,
where init spun for as long as it was allowed to. So init reaps as an ordinary task, which the guest
always outruns, and a flag in shared memory keeps the supervisor from raising it meanwhile.
"""

from __future__ import annotations

import os

from nsbuild.kernel.sharedmem import SharedWords

PRIORITY = 20
"""The supervisor's own SCHED_FIFO priority, and init's while it serves."""

_PID, _REAPING, _FIFO = range(3)
_ORDINARY = os.sched_param(0)
_RAISED = os.sched_param(PRIORITY)


class InitPriority:
    """Shared by the front, the supervisor and init; does nothing unless `use_fifo` was called."""

    def __init__(self) -> None:
        self._words = SharedWords().words

    def use_fifo(self) -> None:
        """The container runs under SCHED_FIFO."""
        self._words[_FIFO] = 1

    # In init.

    def lower_self(self) -> None:
        """Become an ordinary task, once the command has been forked."""
        if self._words[_FIFO]:
            os.sched_setscheduler(0, os.SCHED_OTHER, _ORDINARY)

    def begin_reaping(self) -> bool:
        """Announce wait4; False if the supervisor has just raised us, so that now is no time."""
        self._words[_REAPING] = 1
        # Nobody raises us from here on. Who did so before must be served first.
        if self._words[_FIFO] and os.sched_getscheduler(0) != os.SCHED_OTHER:
            self._words[_REAPING] = 0
            return False
        return True

    def end_reaping(self) -> None:
        """wait4 is over."""
        self._words[_REAPING] = 0

    # In the supervisor.

    def set_pid(self, pid: int) -> None:
        """Init's number outside of the container."""
        self._words[_PID] = pid

    def raise_init(self) -> bool:
        """Raise init for a request, unless it reaps; True if it must be lowered again."""
        words = self._words
        if not words[_FIFO] or words[_REAPING]:
            return False
        os.sched_setscheduler(words[_PID], os.SCHED_FIFO, _RAISED)
        return True

    def lower_init(self) -> None:
        """Lower init again, if it is still there."""
        pid = self._words[_PID]
        if pid and self._words[_FIFO]:
            try:
                os.sched_setscheduler(pid, os.SCHED_OTHER, _ORDINARY)
            except ProcessLookupError:
                return

    def spread_init(self) -> None:
        """Let init run on any CPU: the command has ended, and others may hold ours for long."""
        try:
            os.sched_setaffinity(self._words[_PID], range(os.cpu_count() or 1))
        except ProcessLookupError:
            return
