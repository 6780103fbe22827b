"""Waiting in virtual time: calls that are kept waiting, timers that are set, and what ends them.

A call that waits with a timeout is not given to the kernel, whose clock is the real one: it stays
with the supervisor until what it waits for has come. Then the kernel does it, and it returns at
once. Timers (nsbuild.supervisor.answers.timers) wait here without a call. Both are deadlines:

- While anything in the container can run, none fires.
- When everything waits (nsbuild.supervisor.idle tells), the earliest fires, alone; the clock of
  its process moves up to it.
- A process whose own clock has passed a deadline of its own by being read has that fire at its next
  notified call: it could see otherwise that it is overdue.
- If everything waits and somebody for the world outside, the earliest fires when that has been so
  for as long as the timeout, in real time. And if somebody computes without a single notified call,
  when as much CPU time has been used: on a bare kernel it would have fired too.

A signal ends a kept call like any other, but is looked for only when everything waits, for the
kernel tells nobody of it. Nothing here is on the path of calls that do not wait.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from nsbuild.determinism.agenda import Agenda, Due, name_order
from nsbuild.determinism.clock import NSEC_PER_SEC
from nsbuild.kernel.process import read_small
from nsbuild.kernel.timerfd import after, timer

from .idle import FREE, IDLE, OUTSIDE, IdleProcess, Verdict
from .listener import Call, Listener
from .memory import MemoryClosedError
from .processes import Process
from .trace import Trace

_FIRST_RETRY, _LAST_RETRY = 0.001, 0.05
"""How soon we ask again who runs, in seconds: at first, and at most; it doubles each time."""
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Quiet(NamedTuple):
    """A time in which the verdict has been `kind` and nothing has been notified.

    `received` is the number of calls before it, `since` when it began: real time for OUTSIDE, CPU
    time for BUSY, both in seconds.
    """

    kind: bytes
    received: int
    since: float


class Deadline:
    """Something that is due `duration` nanoseconds from now on the clock of `process`.

    `at` and `wall` are its monotonic and its wall reading then, `since` when it was set in real
    seconds. The wall reading may be beyond it by `patience` before that alone makes it overdue.
    """

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

    `expire` answers it when its time is over and says whether that was taken; `come` ends it when
    what it waits for is there, `interrupt` for a signal, of which it takes also the blocked ones in
    `signals`. `changed` tells whether what
    it waits for in memory has come. `watch` is an epoll of duplicates, `fds`, of the descriptors
    that it waits for.
    """

    def __init__(
        self, call: Call, process: Process, duration: int, expire: Callable[[], bool]
    ) -> None:
        super().__init__(process, duration)
        self.call = call
        self.expire = expire
        self.come: Callable[[], object] = call.resume
        self.interrupt: Callable[[], object] = call.resume
        self.signals = 0
        self.changed: Callable[[], bool] | None = None
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
    numbers = status.partition(b"NSpid:")[2].split(b"\n", 1)[0].split()
    return int(numbers[1]) if len(numbers) > 1 else 0


class Waits:
    """All deadlines of the container; `make_idle` forks the idle process, when it is needed."""

    def __init__(
        self,
        listener: Listener,
        epoll: select.epoll,
        sources: dict[int, Callable[[], None]],
        trace: Trace,
        make_idle: Callable[[], IdleProcess],
    ) -> None:
        self._listener = listener
        self._epoll = epoll
        self._sources = sources
        self._trace = trace
        self._make_idle = make_idle
        self._idle: IdleProcess | None = None
        self._asked = False
        self._seen = 0
        self._agenda: Agenda[Deadline] = Agenda()
        self._ordinal = 0
        self.by_process: dict[Process, list[Deadline]] = {}
        self._by_tid: dict[int, Held] = {}
        self._timer = -1
        self._retry = _FIRST_RETRY
        self._quiet: Quiet | None = None

    # What the answers ask for.

    def hold(self, held: Held) -> None:
        """Keep a call waiting."""
        held.call.outcome = "held"
        self._by_tid[held.tid] = held
        if held.watch is not None:
            self._add_source(held.watch.fileno(), lambda: self._resume(held))
        self.set(held)

    def set(self, deadline: Deadline) -> None:
        """Let `deadline` happen when it is due."""
        process = deadline.process
        self._ordinal += 1
        due = Due(deadline.at, name_order(process.name), self._ordinal)
        self._agenda.enter(deadline, due)
        self.by_process.setdefault(process, []).append(deadline)
        self._ask()

    def cancel(self, deadline: Deadline) -> None:
        """`deadline` will not happen."""
        if deadline in self._agenda:
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
            self.cancel(deadline)

    def forget_calls(self, process: Process) -> None:
        """`process` runs a new program: none of its other threads has lived on."""
        for deadline in tuple(self.by_process.get(process, ())):
            if isinstance(deadline, Held):
                self.cancel(deadline)

    def called(self, process: Process) -> None:
        """`process`, which has deadlines, has been answered a call of another of its threads."""
        for deadline in tuple(self.by_process.get(process, ())):
            if deadline.is_over():
                self._fire(deadline)
            elif isinstance(deadline, Held) and _has_changed(deadline):
                self._resume(deadline)

    # What happens.

    def _fire(self, deadline: Deadline) -> None:
        self._drop(deadline)
        self._retry = _FIRST_RETRY
        self._quiet = None
        deadline.happen()
        self._record(deadline)

    def _resume(self, held: Held) -> None:
        """What `held` waits for has come."""
        self._drop(held)
        held.come()
        self._record(held)

    def _interrupt(self, held: Held) -> None:
        self._drop(held)
        held.interrupt()
        self._record(held)

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

    def _answered(self) -> None:
        assert self._idle is not None
        verdict = self._idle.answer()
        if verdict.kind == FREE and len(self._agenda):
            if self._resume_changed():
                self._idle.wake()
                return
            held = [(tid, held.signals) for tid, held in self._by_tid.items()]
            self._seen = self._listener.received
            self._idle.scan(held)
            return
        self._asked = False
        first = self._agenda.first()
        if first is None:
            return
        interrupted = [self._by_tid[tid] for tid in verdict.signalled if tid in self._by_tid]
        for one in interrupted:
            self._interrupt(one)
        if interrupted:
            self._ask()
        elif self._listener.received != self._seen or self._listener.ready():
            # Somebody has run since, or waits for us to receive.
            self._quiet = None
            self._ask()
        elif verdict.kind == IDLE or self._is_over(first, verdict):
            self._fire(first)
            if len(self._agenda):
                self._ask()
        else:
            self._schedule(self._retry)
            self._retry = min(2 * self._retry, _LAST_RETRY)

    def _is_over(self, first: Deadline, verdict: Verdict) -> bool:
        """Whether enough real time, or CPU time, has gone by in which nothing was notified."""
        now = time.monotonic() if verdict.kind == OUTSIDE else verdict.ticks / _TICKS_PER_SECOND
        quiet = self._quiet
        if quiet is None or quiet.kind != verdict.kind or quiet.received != self._seen:
            quiet = self._quiet = Quiet(verdict.kind, self._seen, now)
        since = max(quiet.since, first.since) if verdict.kind == OUTSIDE else quiet.since
        return (now - since) * NSEC_PER_SEC >= first.duration

    def _resume_changed(self) -> bool:
        changed = [held for held in self._by_tid.values() if _has_changed(held)]
        for held in changed:
            self._resume(held)
        return bool(changed)

    def _schedule(self, seconds: float) -> None:
        if self._timer < 0:
            self._timer = timer()
            self._add_source(self._timer, self._tick)
        after(self._timer, seconds)

    def _tick(self) -> None:
        # It may have been set again since it was ready.
        with suppress(BlockingIOError):
            os.read(self._timer, 8)
        if len(self._agenda):
            self._ask()


def _has_changed(held: Held) -> bool:
    try:
        return held.changed is not None and held.changed()
    except MemoryClosedError:
        return True
