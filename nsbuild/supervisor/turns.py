"""Turns: under SCHED_FIFO nobody's call overtakes that of a thread which the machine has held up.

Threads of one priority take turns: whoever is answered is put behind all others that can run. That
repeats as long as a thread gives the CPU up only where it waits for another, or for us. But the
kernel lets it sleep in between as well, for what the rest of the machine does: for a page that is
being moved (compaction), for the lock of a library's mappings while somebody outside maps it too
(fork, exec, exit), for a disk. Then the next thread runs, and from there on the order of all calls
is another one, and with it what the threads of one process find on their clock. Nobody tells the
supervisor of that.

So at each call we look for threads that have run since they were let go, or since we saw them
asleep, and that sleep for the machine (D in /proc/PID/stat, where those that wait for another have
S) or have been woken again (R). The call waits until they have called, wait for another, or have
ended; they are answered first, as if they had not slept. A thread that has yet to run since is none
of them: /proc/PID/schedstat counts how often each has been put on a CPU. So without such sleeps
nothing is changed. A thread that is let go after the caller was is not looked at: it runs later.

Nobody waits for ever, and the trace has whom nobody waits for any longer. A guest's own file system
may serve others while they sleep like that, and a thread that looks again and again
(sched_yield(2)) for what another does cannot be told from one that was held up.

Performance contract: a call costs one read of /proc, 0.7 us, for each thread that was let go before
its caller or waits for something else than for us or for the end of a child. For hot calls the
extension does that, and Python learns nothing of the call if nobody has run, or if who has sleeps
again and waits for another. Each thread costs an opened file, 5 us, and another one if it is seen
to have run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Container, Iterator
from itertools import takewhile

from nsbuild.kernel.namespaces import CLONE_VFORK
from nsbuild.kernel.x86_64 import NR

from .listener import Call
from .processes import Process

RETRY_MILLISECONDS = 1
"""How often we look whether somebody who is waited for has gone to sleep."""
_LONGEST_ASLEEP = 5.0
"""Seconds of real time that others wait for a thread that sleeps for the machine.

What it sleeps for may be done by an ordinary task that does not get the CPU for long.
"""
_LONGEST_BUSY = 0.3
"""Seconds of CPU time that others wait for a thread that runs."""
_SHARE = 8
"""One in so many of our descriptors may be opened for threads, twice; others are not looked at."""
_WAITS_FOR_CHILD = frozenset((NR["wait4"], NR["waitid"]))
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
NOBODY = 0xFFFFFFFF
"""No thread's number."""

ENDED = b"X"
"""The state of a thread that is no more."""


class Watch:
    """What can be seen of a thread from outside; `fd` and `stat` are files of /proc, open."""

    __slots__ = ("fd", "stat", "tid")

    def __init__(self, tid: int) -> None:
        self.tid = tid
        self.fd = self.stat = -1

    def open(self) -> bool:
        """Begin, while it waits in a call or has just been born; False if it cannot be seen."""
        try:
            self.fd = os.open(f"{self.tid}/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """End."""
        for fd in (self.fd, self.stat):
            if fd >= 0:
                os.close(fd)
        self.fd = self.stat = -1

    def runs(self) -> int:
        """How often it has been put on a CPU; -1 if it has ended."""
        try:
            return int(os.pread(self.fd, 128, 0).split()[2])
        except ProcessLookupError:
            return -1

    def state(self) -> tuple[bytes, float]:
        """Its state as in proc_pid_stat(5), and the CPU time that it has used, in seconds."""
        try:
            if self.stat < 0:
                path = f"{self.tid}/task/{self.tid}/stat"
                self.stat = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                if self.runs() < 0:
                    # The number may have been another's already.
                    return ENDED, 0.0
            fields = os.pread(self.stat, 512, 0).rpartition(b")")[2].split()
        except OSError:
            # It has ended, or we have no descriptor left: then it is not looked at any more.
            return ENDED, 0.0
        return fields[0], (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND

    def waits_for_child(self) -> bool:
        """Whether it sleeps in wait4(2) or waitid(2)."""
        try:
            fd = os.open(f"{self.tid}/syscall", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            number = os.read(fd, 256).split()[0]
        except OSError:
            return False
        finally:
            os.close(fd)
        return number.isdigit() and int(number) in _WAITS_FOR_CHILD


class Turn:
    """A thread that is watched.

    `runs` is how often it had been put on a CPU when it was let go, or seen asleep. `place` is
    where of Turns it stands, None while its call waits for an answer. `asleep` and `busy` are what
    was seen of it when others began to wait for it: the real time, and the CPU time it had used.
    """

    __slots__ = ("asleep", "busy", "place", "runs", "watch")

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.runs = 0
        self.place: dict[int, Turn] | None = None
        self.asleep: float | None = None
        self.busy: float | None = None


class Kept:
    """A call that waits for the `awaited`."""

    __slots__ = ("awaited", "call", "process")

    def __init__(self, call: Call, process: Process, awaited: list[Turn]) -> None:
        self.call = call
        self.process = process
        self.awaited = awaited


class Turns:
    """`back` are threads for which nobody waits: they have stepped back (see spin).

    `ready` tells whether there are calls to be received. What has no underscore the extension looks
    at and changes as well, for hot calls (libfaketime_ext/turns.c).
    """

    turn_type = Turn
    watch_type = Watch

    def __init__(
        self,
        back: Container[int],
        ready: Callable[[], bool],
        watch: Callable[[int], Watch] = Watch,
    ) -> None:
        self._back = back
        self._ready = ready
        self.gave_up: Callable[[int], None] = lambda _tid: None
        """Called with a thread for which nobody waits any longer, though it could still call."""
        self.rest: Callable[[Turn | None], bool] = lambda _turn: False
        """Whether a call of that thread waits for nobody, as far as can be told quickly."""
        self.by_itself: Callable[[], None] = lambda: None
        """Called at a call, before it is answered, if no other thread has been let go."""
        self._watch = watch
        self.known: dict[int, Turn] = {}
        """All that are watched."""
        self.free: dict[int, Turn] = {}
        """Those that have been answered, in that order, and have not been seen asleep since."""
        self.asleep: dict[int, Turn] = {}
        """Those that wait for somebody."""
        self.left: dict[int, Turn] = {}
        """Those that wait for a child's end, which is known; and for whom nobody waits longer."""
        self.kept: list[Kept] = []
        self.pending: set[int] = set()
        """The threads whose calls have been received and are about to be handed to `keeps`."""
        self._most = os.sysconf("SC_OPEN_MAX") // _SHARE

    @property
    def owes(self) -> bool:
        """Whether calls wait for their turn."""
        return bool(self.kept)

    @property
    def alone(self) -> int:
        """The one thread whose next call need not wait if none has run of those asleep.

        NOBODY if there is none.
        """
        return NOBODY if self.kept or len(self.free) != 1 else next(iter(self.free))

    def keeps(self, call: Call, process: Process | None) -> bool:
        """Whether `call` waits for its turn, to be `released`; without a process it is gone."""
        tid = call.tid
        turn = self._turn(tid)
        # Of others that call as well Python has to look at the order.
        before = [] if len(self.pending) <= 1 and self.rest(turn) else self._before(turn)
        if turn is not None:
            self._put(turn, None)
            # Not when it is answered: we may be held up then, and it would have run.
            turn.runs = turn.watch.runs()
            if turn.runs < 0:
                # Another thread had its number.
                self.ended(tid)
                turn = self._turn(tid)
        self.pending.discard(tid)
        awaited = [one for one in before if self._is_awaited(one)]
        # Who was waited for goes before those who wait, all others behind them.
        index = len(self.kept)
        for number, kept in enumerate(self.kept):
            if turn in kept.awaited:
                kept.awaited.remove(turn)
                index = min(index, number)
        if process is None or (not awaited and not index):
            if not self.free and not self.kept:
                self.by_itself()
            return False
        self.kept.insert(index, Kept(call, process, awaited))
        return True

    def _before(self, turn: Turn | None) -> list[Turn]:
        """Those that may have been held up on the way to a call before that of `turn`."""
        before = [*takewhile(lambda one: one is not turn, self.free.values())]
        return before + [one for one in self.asleep.values() if one is not turn]

    def calls(self, tid: int) -> None:
        """`tid` makes a call, of which the extension has seen that it waits for nobody.

        How often it has run is noted already.
        """
        self._put(self.known[tid], None)
        if not self.free:
            self.by_itself()

    def released(self) -> Iterator[tuple[Call, Process]]:
        """The calls whose turn it is; each is to be answered before the next."""
        while self.kept:
            if self._ready():
                # Who has called sleeps as well, until we receive that.
                return
            first = self.kept[0]
            first.awaited = [
                one for one in first.awaited if one.place is not None and self._is_awaited(one)
            ]
            if first.awaited:
                return
            del self.kept[0]
            if first.call.valid():
                yield first.call, first.process

    def held_up(self) -> bool:
        """Whether anybody is, or has called, though nobody runs."""
        if self._ready():
            return True
        everybody = [*self.free.values(), *self.asleep.values()]
        return any(self._is_awaited(one) for one in everybody)

    def let_go(self, call: Call) -> None:
        """The thread that made `call` has been answered."""
        turn = self._turn(call.tid)
        if turn is None:
            return
        if call.nr == NR["vfork"] or (call.nr == NR["clone"] and call.args[0] & CLONE_VFORK):
            # It sleeps as if for a disk, until its child has another program.
            self._put(turn, self.left)
        else:
            self._put(turn, self.free)

    def born(self, tid: int) -> None:
        """A thread has been born, and has not called yet."""
        self.ended(tid)
        turn = self._turn(tid)
        if turn is not None:
            self._put(turn, self.free)

    def woken(self, tid: int) -> None:
        """A child of the process that `tid` leads has ended."""
        turn = self.left.get(tid)
        if turn is not None:
            self._put(turn, self.asleep)

    def ended(self, tid: int) -> None:
        """A thread has ended."""
        turn = self.known.pop(tid, None)
        if turn is not None:
            self._put(turn, None)
            turn.watch.close()

    def _put(self, turn: Turn, place: dict[int, Turn] | None) -> None:
        """Let it stand at the end of `place`."""
        if turn.place is not None:
            del turn.place[turn.watch.tid]
        turn.place = place
        if place is not None:
            place[turn.watch.tid] = turn
        turn.asleep = turn.busy = None

    def _turn(self, tid: int) -> Turn | None:
        turn = self.known.get(tid)
        if turn is None and len(self.known) < self._most:
            watch = self._watch(tid)
            if watch.open():
                turn = self.known[tid] = Turn(watch)
        return turn

    def _is_awaited(self, turn: Turn) -> bool:
        """Whether a thread was held up, and is going to call or to wait for another by itself."""
        watch = turn.watch
        if watch.tid in self.pending and turn.place is self.free:
            # It has called behind one that was let go later: both while we were held up ourselves.
            return True
        runs = watch.runs()
        if runs == turn.runs:
            return False
        state, used = watch.state() if runs >= 0 else (ENDED, 0.0)
        if state == ENDED:
            self.ended(watch.tid)
            return False
        if state in (b"R", b"D") and watch.tid not in self._back:
            if self._has_patience(turn, state, used):
                return True
            self._put(turn, self.left)
            self.gave_up(watch.tid)
            return False
        turn.runs = runs
        self._put(turn, self.left if watch.waits_for_child() else self.asleep)
        return False

    def _has_patience(self, turn: Turn, state: bytes, used: float) -> bool:
        """Whether others go on waiting for `turn`."""
        if state == b"R":
            turn.asleep = None
            if turn.busy is None:
                turn.busy = used
            return used < turn.busy + _LONGEST_BUSY
        now = time.monotonic()
        if turn.asleep is None:
            turn.asleep = now
        return now < turn.asleep + _LONGEST_ASLEEP
