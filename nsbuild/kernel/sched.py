"""Scheduling calls that os lacks; os itself has sched_setscheduler and sched_setaffinity."""

from __future__ import annotations

import os


def rotate(pid: int, priority: int) -> None:
    """Move a runnable SCHED_FIFO task behind the others of its priority.

    The kernel returns at once from a sched_setscheduler(2) that changes nothing; lowering and then
    raising the priority takes the task off its queue and puts it back at the tail.
    """
    os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(priority - 1))
    os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(priority))
