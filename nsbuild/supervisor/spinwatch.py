"""When the spin guard looks: now and then, if nothing has been notified meanwhile.

The supervisor's loop has a timer for it, since a timeout of its own would cost each call more.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from nsbuild.kernel.timerfd import every

from .listener import Listener
from .processes import ProcessTable
from .spin import CHECK_SECONDS, OVERDUE_CHECKS, SpinGuard
from .trace import Trace

AddSource = Callable[[int, Callable[[], None]], None]
"""Has the loop call the second whenever the first, a descriptor, is readable."""


class SpinWatch:
    """Asks the watcher of `spin` and acts on what it says, as soon as it is made.

    `touched` is called with each thread that has another priority since.
    """

    def __init__(
        self,
        spin: SpinGuard,
        listener: Listener,
        table: ProcessTable,
        trace: Trace,
        add_source: AddSource,
        touched: Callable[[int], None],
    ) -> None:
        self._spin = spin
        self._listener = listener
        self._table = table
        self._trace = trace
        self._touched = touched
        self._timer = every(min(CHECK_SECONDS, spin.bound))
        self._asked = False
        self._overdue = 0
        add_source(self._timer, self._tick)
        add_source(spin.watcher.fileno(), self._answered)

    def _tick(self) -> None:
        os.read(self._timer, 8)
        if not self._spin.quiet(self._listener.received):
            self._overdue = 0
        elif not self._asked:
            self._spin.watcher.send(b"?")
            self._asked = True
        else:
            self._overdue += 1
            if self._overdue == OVERDUE_CHECKS:
                self._spin.lower(self._table.by_tid)
                self._trace.line("?", 0, "all stepped back: nobody could see who kept the CPU")

    def _answered(self) -> None:
        self._asked, self._overdue = False, 0
        self._record(self._spin.judge(self._listener.received))
        for tid in self._spin.back:
            self._touched(tid)

    def _record(self, tid: int) -> None:
        """The spinning thread `tid` lets the others go first; 0 if none does."""
        if tid:
            process = self._table.by_tid.get(tid)
            name, vpid = (process.name, process.vpid) if process is not None else ("?", 0)
            self._trace.line(name, vpid, "stepped back: it kept the CPU while others waited")
