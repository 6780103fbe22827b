"""Waiting in virtual time: calls that are kept waiting, timers that are set, and what ends them.

A call that waits with a timeout is not given to the kernel, whose clock is the real one: it stays
with the supervisor until what it waits for has come. Then the kernel does it, and it returns at
once. Timers (nsbuild.supervisor.answers.timers) wait here without a call. Both are deadlines:

- While anything in the container can run, none fires.
- When everything waits (nsbuild.supervisor.idle tells), the earliest fires, alone; the clock of
  its process moves up to it.
- A process that reads its clock and so gets to a deadline of its own has that fire before it is
  told the reading: it could see otherwise that it is overdue.
- If everything waits and somebody for the world outside, the earliest fires when that has been so
  for as long as the timeout, in real time. And if somebody computes without a single notified call,
  when as much CPU time has been used, and a second at least: on a bare kernel it would have fired
  too. At last, when the container has got nowhere for as long, and for a minute: somebody asks
  again and again.

A signal ends a kept call like any other, but is looked for only when everything waits, for the
kernel tells nobody of it. Nothing here is on the path of calls that do not wait.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from contextlib import suppress

from nsbuild.determinism.agenda import Agenda, Due, name_order
from nsbuild.determinism.clock import LATEST, NSEC_PER_SEC
from nsbuild.kernel.timerfd import after, timer
from nsbuild.tuples import NamedTuple

from .blocked import BlockedCalls
from .deadline import Deadline, Held
from .idle import BUSY, END, FREE, IDLE, MOST_HELD, OUTSIDE, IdleProcess, Verdict
from .listener import Listener
from .memory import MemoryClosedError
from .processes import Process
from .trace import Trace

_FIRST_RETRY, _LAST_RETRY = 0.001, 0.05
"""How soon we ask again who runs, in seconds: at first, and at most; it doubles each time."""
_STUCK = 10.0
"""How long nobody does anything before who waits for a disk counts as waiting for the outside."""
_LEAST_USED = 1.0
"""The CPU time, in seconds, after which who makes no notified call counts as computing for good.

The kernel counts it in ticks, some of which are another's, and the start of a program takes several
of them on a slow machine.
"""
_STALL_CHECK, _STALLED = 5.0, 60.0
"""How often we look whether the container gets anywhere, and when we believe that it does not."""
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Quiet(NamedTuple):
    """A time in which the verdict has been `kind` and nothing has been notified.

    `received` is the number of calls before it, `since` when it began in real time, `used` the CPU
    time that had been used until then, both in seconds.
    """

    kind: bytes
    received: int
    since: float
    used: float


class Waits:
    """All deadlines of the container.

    `make_idle` forks the idle process, when it is needed; `touched` is called when the memory of a
    process has been looked at or its clock moved, other than in the answer to a call of its own;
    `progress` gives what changes with each birth, each end of a process and each file that is new;
    `owes` says whether calls have been received that are still to be answered, or somebody who
    seems to wait is held up by the machine.
    """

    def __init__(
        self,
        listener: Listener,
        epoll: select.epoll,
        sources: dict[int, Callable[[], None]],
        trace: Trace,
        make_idle: Callable[[], IdleProcess],
        touched: Callable[[Process], None],
        progress: Callable[[], object],
        owes: Callable[[], bool],
    ) -> None:
        self._listener = listener
        self._epoll = epoll
        self._sources = sources
        self._trace = trace
        self._make_idle = make_idle
        self._touched = touched
        self._progress = progress
        self._owes = owes
        self._stalled: tuple[object, float] = None, 0.0
        self._blocked: BlockedCalls | None = None
        self._idle: IdleProcess | None = None
        self.busy = False
        """Whether what fires does so although something runs, which may just be dying."""
        self._asked = False
        self._seen = 0
        self._agenda: Agenda[Deadline] = Agenda()
        self._ordinal = 0
        self.by_process: dict[Process, list[Deadline]] = {}
        self._by_tid: dict[int, Held] = {}
        self._scanned: dict[int, Held] = {}
        self._timer = -1
        self._retry = _FIRST_RETRY
        self._quiet: Quiet | None = None

    # What the answers ask for.

    def hold(self, held: Held) -> None:
        """Keep a call waiting; to the end of time, or too many, is left to the kernel."""
        if (held.wall >= LATEST and not held.stays) or len(self._by_tid) >= MOST_HELD:
            held.go_on()
            held.close()
            return
        held.call.outcome = "held"
        self._by_tid[held.tid] = held
        if held.watch is not None:
            self._add_source(held.watch.fileno(), lambda: self._resume(held))
        self.set(held)

    def set(self, deadline: Deadline) -> None:
        """Let `deadline` happen when it is due; never, if that is beyond the end of time."""
        process = deadline.process
        if deadline.wall < LATEST:
            self._ordinal += 1
            due = Due(deadline.at, name_order(process.name), self._ordinal)
            self._agenda.enter(deadline, due)
        elif not deadline.stays:
            return
        self._touched(process)
        self.by_process.setdefault(process, []).append(deadline)
        self._ask()

    def watch_sockets(self, blocked: BlockedCalls) -> None:
        """A socket has a timeout now: from here on all who sleep on one are looked for."""
        if self._blocked is None:
            self._blocked = blocked
            self._ask()

    def cancel(self, deadline: Deadline) -> None:
        """`deadline` will not happen."""
        if deadline in self.by_process.get(deadline.process, ()):
            self._drop(deadline)
            deadline.cancelled()

    def _drop(self, deadline: Deadline) -> None:
        self._agenda.remove(deadline)
        own = self.by_process[deadline.process]
        own.remove(deadline)
        if not own:
            del self.by_process[deadline.process]
        if isinstance(deadline, Held):
            if self._by_tid.get(deadline.tid) is deadline:
                del self._by_tid[deadline.tid]
            if deadline.watch is not None:
                del self._sources[deadline.watch.fileno()]
                self._epoll.unregister(deadline.watch.fileno())
            deadline.close()

    def forget(self, process: Process) -> None:
        """`process` has ended."""
        for deadline in tuple(self.by_process.get(process, ())):
            if not deadline.outlives:
                self.cancel(deadline)

    def forget_calls(self, process: Process) -> None:
        """`process` runs a new program: none of its other threads has lived on."""
        for deadline in tuple(self.by_process.get(process, ())):
            if isinstance(deadline, Held):
                self.cancel(deadline)

    def calls(self, process: Process) -> None:
        """`process`, which has deadlines, makes a call: another thread's wait may be over by it.

        Before the caller goes on, and takes again what it has given up for a moment.
        """
        for deadline in tuple(self.by_process.get(process, ())):
            if isinstance(deadline, Held) and not deadline.takes and self._has_changed(deadline):
                self._resume(deadline)

    def read_clock(self, process: Process) -> None:
        """`process`, which has deadlines, is about to be told a new reading of its clock.

        Not at any call: one deadline that fires moves the clock up to others, which are still to
        fire one after the other, each when everything waits.
        """
        for deadline in sorted(self.by_process.get(process, ()), key=lambda one: one.at):
            if deadline.is_over() and deadline in self._agenda:
                self._fire(deadline)

    @property
    def of_memory(self) -> bool:
        """Whether a call is kept until something in memory changes."""
        return any(held.changed is not None for held in self._by_tid.values())

    # What happens.

    def _fire(self, deadline: Deadline, busy: bool = False) -> None:
        self.busy = busy
        self._retry = _FIRST_RETRY
        self._quiet = None
        if self._is_gone(deadline):
            return
        if deadline.stays:
            self._agenda.remove(deadline)
            deadline.happen()
            return
        self._drop(deadline)
        deadline.happen()
        self._record(deadline)

    def _resume(self, held: Held) -> None:
        """What `held` waits for seems to have come."""
        if self._is_gone(held):
            return
        try:
            ended = held.come()
        except MemoryClosedError:
            ended = held.go_on()
        if ended:
            self._drop(held)
            self._record(held)

    def _interrupt(self, held: Held) -> None:
        if self._is_gone(held):
            return
        self._drop(held)
        try:
            held.interrupt()
        except MemoryClosedError:
            held.go_on()
        self._record(held)

    def _is_gone(self, deadline: Deadline) -> bool:
        """Whether a held call was given up: its thread was killed. Then it is dropped."""
        self._touched(deadline.process)
        if isinstance(deadline, Held) and not deadline.call.valid():
            self.cancel(deadline)
            return True
        return False

    def _has_changed(self, held: Held) -> bool:
        """Whether what it waits for in memory has come."""
        if held.changed is None or self._is_gone(held):
            return False
        try:
            return held.changed()
        except MemoryClosedError:
            return True

    def _record(self, deadline: Deadline) -> None:
        if self._trace.enabled and isinstance(deadline, Held):
            process = deadline.process
            self._trace.call(process.name, process.vpid, deadline.call)

    # Idleness.

    def _add_source(self, fd: int, handle: Callable[[], None]) -> None:
        self._sources[fd] = handle
        self._epoll.register(fd, select.EPOLLIN)

    def _ask(self) -> None:
        if self._asked:
            return
        if self._idle is None:
            self._idle = self._make_idle()
            self._add_source(self._idle.fileno(), self._answered)
        self._idle.wake()
        self._asked = True
        self._schedule(_STALL_CHECK)

    def forget_idle(self) -> None:
        """Let another idle process be made, which knows what has changed outside."""
        if self._idle is None:
            return
        fd = self._idle.fileno()
        del self._sources[fd]
        self._epoll.unregister(fd)
        self._idle.close()
        self._idle = None
        if self._asked:
            self._asked = False
            self._ask()

    def _answered(self) -> None:
        assert self._idle is not None
        verdict = self._idle.answer()
        if verdict.kind == END:
            return
        if verdict.kind == FREE and self._has_to_look():
            if self._owes():
                # Who waits for us looks like somebody who waits for a child in vfork, and who is
                # held up by the machine has something to say before anything is changed.
                self._asked = False
                self._schedule(_FIRST_RETRY)
                return
            if self._resume_changed():
                self._idle.wake()
                return
            self._scanned = dict(self._by_tid)
            self._seen = self._listener.received
            held = [(tid, *one.masks) for tid, one in self._scanned.items()]
            self._idle.scan(held, self._blocked is not None)
            return
        self._asked = False
        if self._blocked is not None:
            self._blocked.found(verdict.blocked, self._idle.end)
        first = self._agenda.first()
        if first is None and not self._by_tid:
            if self._blocked is not None:
                self._ask_later()
            return
        signalled = (self._scanned.get(tid) for tid in verdict.signalled)
        interrupted = [held for held in signalled if held and self._by_tid.get(held.tid) is held]
        for one in interrupted:
            self._interrupt(one)
        if interrupted:
            self._ask()
        elif self._listener.received != self._seen or self._listener.ready():
            # Somebody has run since, or waits for us to receive.
            self._quiet = None
            self._ask()
        elif verdict.kind != BUSY and self._resume_taker():
            self._ask()
        elif first is not None and (self._is_idle(verdict) or self._is_over(first, verdict)):
            self._fire(first, verdict.kind == BUSY)
            if self._has_to_look():
                self._ask()
        else:
            self._ask_later()

    def _is_idle(self, verdict: Verdict) -> bool:
        """Whether nothing goes on, neither by a thread nor for one that we keep waiting."""
        kept = self._by_tid.values()
        return verdict.kind == IDLE and not any(held.underway() for held in kept)

    def _has_to_look(self) -> bool:
        """Whether it matters that everything waits."""
        return bool(len(self._agenda) or self._by_tid) or self._blocked is not None

    def _ask_later(self) -> None:
        self._schedule(self._retry)
        self._retry = min(2 * self._retry, _LAST_RETRY)

    def _is_over(self, first: Deadline, verdict: Verdict) -> bool:
        """Whether enough real time, or CPU time, has gone by in which nothing was notified."""
        now, used = time.monotonic(), verdict.ticks / _TICKS_PER_SECOND
        quiet = self._quiet
        if quiet is None or quiet.kind != verdict.kind or quiet.received != self._seen:
            quiet = self._quiet = Quiet(verdict.kind, self._seen, now, used)
        patience = first.duration / NSEC_PER_SEC
        waited = now - max(quiet.since, first.since)
        if verdict.kind == OUTSIDE:
            return waited >= patience
        # Nobody could use the CPU: what is being done for somebody does not come to its end. Who
        # could and does not is kept from it by others of the host.
        stuck = not verdict.runs and used <= quiet.used and waited >= max(patience, _STUCK)
        return stuck or used - quiet.used >= max(patience, _LEAST_USED)

    def _resume_changed(self) -> bool:
        kept = [held for held in self._by_tid.values() if not held.takes]
        changed = [held for held in kept if self._has_changed(held)]
        for held in changed:
            self._resume(held)
        return bool(changed)

    def _resume_taker(self) -> bool:
        """Everything waits: one of those may go on who would not if another went first."""
        for held in tuple(self._by_tid.values()):
            if held.takes and self._has_changed(held):
                self._resume(held)
                return True
        return False

    def _schedule(self, seconds: float) -> None:
        if self._timer < 0:
            self._timer = timer()
            self._add_source(self._timer, self._tick)
        after(self._timer, seconds)

    def _tick(self) -> None:
        # It may have been set again since it was ready.
        with suppress(BlockingIOError):
            os.read(self._timer, 8)
        first = self._agenda.first()
        if first is not None and self._has_stalled(first):
            self._fire(first, True)
        if not self._has_to_look():
            return
        if self._asked:
            self._schedule(_STALL_CHECK)
        else:
            self._ask()

    def _has_stalled(self, first: Deadline) -> bool:
        """Whether all that was done for a long time was to ask, over and over."""
        now, progress = time.monotonic(), self._progress()
        if progress != self._stalled[0]:
            self._stalled = progress, now
        waited = now - max(self._stalled[1], first.since)
        return waited >= max(first.duration / NSEC_PER_SEC, _STALLED)
