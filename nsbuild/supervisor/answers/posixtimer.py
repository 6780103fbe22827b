"""One timer of timer_create(2), and how many of its signals were not sent.

A signal of a timer is queued once. While it waits to be taken, because the program blocks it, the
timer may be due again and again: that is counted, and told when the signal has been taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nsbuild.kernel.process import read_small, status_fields
from nsbuild.supervisor.processes import Process

if TYPE_CHECKING:
    from .timers import Timer


class Posix:
    """A timer of timer_create(2): what it signals, and its setting, if it has one."""

    def __init__(self, clock: int, number: int, thread: int, value: int) -> None:
        self.clock = clock
        self.number = number
        self.thread = thread
        self.value = value
        self.setting: Timer | None = None
        self.overrun = 0
        self._missed: int | None = None

    def due(self, process: Process, times: int, look: bool) -> bool:
        """It has been due `times` since it last was; whether a signal is to be sent.

        None is while the last one still waits to be taken, but it is counted (timer_getoverrun(2)).
        Without `look` nobody may look for that.
        """
        if look and self.is_pending(process):
            self._missed = (self._missed or 0) + times
            return False
        self._missed = times - 1
        return bool(self.number)

    def is_pending(self, process: Process) -> bool:
        """Whether its last signal waits to be taken. Once it has been, its overruns are told."""
        if self._missed is None:
            return False
        task, field = (self.thread, b"SigPnd") if self.thread else (process.pid, b"ShdPnd")
        try:
            signals = int(status_fields(read_small(f"{task}/status"))[field], 16)
        except (OSError, KeyError):
            signals = 0
        if self.number and signals >> self.number - 1 & 1:
            return True
        self.overrun, self._missed = self._missed, None
        return False

    def reset(self) -> None:
        """It is given another time."""
        self.overrun, self._missed = 0, None
