"""Deadlines of calls that sleep in the kernel, on a socket with a timeout.

They are not kept by us as others are (see nsbuild.supervisor.waits): nothing is heard of them until
the idle process, which looks at all threads when everything waits, finds them asleep. A process's
clock stands still while it sleeps, so that is as good as having seen them begin; where another of
its threads has read it meanwhile, the timeout counts from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from nsbuild.kernel.x86_64 import NR

from .deadline import Deadline
from .processes import Process
from .sockettimes import Blocked
from .trace import Trace

if TYPE_CHECKING:
    from .waits import Waits

_NAMES = {number: name for name, number in NR.items()}


class BlockedCall(Deadline):
    """Its timeout: `end` has the call ended."""

    def __init__(
        self, process: Process, blocked: Blocked, end: Callable[[Blocked], None], trace: Trace
    ) -> None:
        super().__init__(process, blocked.timeout * 1000)
        self._blocked = blocked
        self._end = end
        self._trace = trace

    def happen(self) -> None:
        """The time is over."""
        # Before the thread can go on and ask.
        self.move_clock()
        self._end(self._blocked)
        if self._trace.enabled:
            name = _NAMES[self._blocked.number]
            said = f"{name} ends after {self._blocked.timeout} us"
            self._trace.line(self.process.name, self.process.vpid, said)


class BlockedCalls:
    """Those that have been found; `process` finds a process by its number inside."""

    def __init__(
        self, waits: Waits, process: Callable[[int], Process | None], trace: Trace
    ) -> None:
        self._waits = waits
        self._process = process
        self._trace = trace
        self._known: dict[tuple[int, int], BlockedCall] = {}

    def found(self, blocked: Sequence[Blocked], end: Callable[[Blocked], None]) -> None:
        """These are asleep now, and no others."""
        known = self._known
        self._known = {}
        for one in blocked:
            key = one.thread, one.runs
            process = self._process(one.tgid)
            if key in known:
                self._known[key] = known.pop(key)
            elif process is not None:
                self._known[key] = BlockedCall(process, one, end, self._trace)
                self._waits.set(self._known[key])
        for gone in known.values():
            self._waits.cancel(gone)
