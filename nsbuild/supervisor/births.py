"""Births: fork, vfork and clone, one at a time, each with the number that its name gives.

Threads are born here too: they draw from the same counter, and a number that moves unseen would
make a birth seem to have happened that has not.

Before the kernel goes on with a fork, init writes the number before the wanted one into its PID
namespace's ns_last_pid, and the kernel hands out exactly the wanted one. That holds for one fork at
a time, so a second waits until the first is known to have happened or to have failed: the child has
called, or its number is in use, or the namespace's counter has moved. A fork that failed, or that a
signal made the kernel restart, gives its ordinal back.

Under SCHED_FIFO everybody else's calls wait as well, whatever they are. Who forks may have to sleep
in the kernel, for a lock of a library's mappings that processes outside hold too, and others would
come further meanwhile than when it does not; as it is they come to their next call.
"""

from __future__ import annotations

import errno
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from nsbuild.determinism.names import preferred_pid, thread_name
from nsbuild.kernel.namespaces import (
    CLONE_NEWNS,
    CLONE_NEWUSER,
    CLONE_PARENT,
    CLONE_THREAD,
    CLONE_VM,
)
from nsbuild.kernel.x86_64 import NR
from nsbuild.tuples import NamedTuple

from .answers import Handler
from .listener import Call
from .processes import Process, ProcessTable

_RETRY_MILLISECONDS = 1
"""How often we look whether the birth for which others wait has happened, if no call tells."""
_LONGEST = 0.25
"""Seconds that the calls of others wait at most: who forks may have been stopped, or traced."""


class Numbers(Protocol):
    """The container's process numbers, from the inside; see supervisor.initlink."""

    def reserve(self, wish: int) -> int:
        """Make the next number `wish` or the next free one; 0 if there is none."""

    def born(self, pid: int) -> bool:
        """Whether the reserved number `pid` has been handed out since."""

    def exists(self, pid: int) -> bool:
        """Whether a number is in use."""


class Birth(NamedTuple):
    """The birth in flight: the thread that makes it, its process, and the number that was reserved.

    `child` is the process to come, None for a thread; `parent` is who may reap it. It began at the
    monotonic time `since`.
    """

    tid: int
    process: Process
    vpid: int
    child: Process | None
    parent: Process | None
    since: float


class Births:
    """Lets forks happen one after another; with `alone` nothing else happens meanwhile."""

    def __init__(self, table: ProcessTable, numbers: Numbers, alone: bool) -> None:
        self._alone = alone
        self._kept: deque[tuple[Call, Process]] = deque()
        self.table = table
        self.numbers = numbers
        self.in_flight: Birth | None = None
        self.threads: Handler = lambda _call, _process: None
        """Called before a thread is made."""
        self.born: Callable[[int], None] = lambda _vpid: None
        """Called with the number of a process or thread that has been born and not called yet."""
        self.new_mounts: Callable[[Process], None] = lambda _: None
        """Called before a process with a mount namespace of its own is made."""
        table.ending = self.ended
        self.waiting: deque[tuple[Call, Process]] = deque()

    def handlers(self) -> dict[int, Handler]:
        """See nsbuild.supervisor.answers."""
        return {NR[name]: self.request for name in ("fork", "vfork", "clone")}

    @property
    def owes(self) -> bool:
        """Whether calls wait for the birth in flight."""
        return bool(self.waiting or self._kept)

    @property
    def patience(self) -> int:
        """How long the supervisor may sleep, in milliseconds; -1 for as long as it likes."""
        return _RETRY_MILLISECONDS if self.owes else -1

    @property
    def keeping(self) -> bool:
        """Whether calls of others wait now."""
        return self._alone and self.in_flight is not None

    def keeps(self, call: Call, process: Process) -> bool:
        """Whether `call` waits for the birth in flight, to be `released` after it."""
        birth = self.in_flight
        if birth is None or not self._alone:
            return False
        if call.tid == birth.tid or process is birth.child:
            self.called(call.tid, process)
        elif process is birth.process:
            # It may be the thread that has been made.
            self._settled()
        if self.in_flight is None and not self._kept:
            return False
        self._kept.append((call, process))
        return True

    def released(self) -> Iterator[tuple[Call, Process]]:
        """The calls that wait no longer, in turn; each is to be answered before the next."""
        while self._kept and (
            self.in_flight is None or time.monotonic() > self.in_flight.since + _LONGEST
        ):
            call, process = self._kept.popleft()
            if call.valid():
                yield call, process

    def request(self, call: Call, process: Process) -> None:
        """A notified fork, vfork or clone."""
        if self.waiting or not self._settled():
            self.waiting.append((call, process))
            call.outcome = "waiting"
            return
        self._begin(call, process)

    def quiet(self) -> bool:
        """Whether no fork is in flight and none waits, so that somebody else may make one."""
        return not self.waiting and self._settled()

    def called(self, tid: int, process: Process) -> None:
        """Thread `tid` of `process` makes a call: if it was the one forking, the fork is over.

        So it is if it is the child that calls.
        """
        birth = self.in_flight
        if birth is None or process not in (birth.process, birth.child):
            return
        if not self._settled() and birth.tid == tid:
            self._failed(birth)

    def ended(self, process: Process) -> None:
        """`process` has ended: no fork of its own is in flight any more."""
        birth = self.in_flight
        if birth is not None and birth.process is process and not self._settled():
            self._failed(birth)

    def retry(self) -> None:
        """Go on with the forks that wait, as far as that is possible now."""
        if self._kept:
            self._settled()
        while self.waiting and self._settled():
            call, process = self.waiting.popleft()
            self._begin(call, process)

    def _settled(self) -> bool:
        """Whether no fork is in flight (any more)."""
        birth = self.in_flight
        if birth is None:
            return True
        child = birth.child
        if not (child is not None and child.pid):
            if not self.numbers.born(birth.vpid):
                return False
            self.born(birth.vpid)
        self.in_flight = self.table.expected = None
        if child is None:
            birth.process.threads_made += 1
            return True
        birth.process.forks += 1
        if birth.parent is None:
            child.orphan = True
        else:
            birth.parent.add_child(child)
        return True

    def _failed(self, birth: Birth) -> None:
        self.in_flight = self.table.expected = None
        if birth.child is not None:
            self.table.remove(birth.child)

    def _begin(self, call: Call, process: Process) -> None:
        flags = call.args[0] if call.nr == NR["clone"] else 0
        child = parent = None
        if flags & CLONE_THREAD:
            self.threads(call, process)
            name = thread_name(process.name, process.threads_made)
        else:
            shares_memory = call.nr == NR["vfork"] or bool(flags & CLONE_VM)
            child = process.bear(0, shares_memory)
            if flags & (CLONE_NEWNS | CLONE_NEWUSER):
                child.place = None
            if flags & CLONE_NEWNS:
                self.new_mounts(child)
            parent = process.parent if flags & CLONE_PARENT else process
            name = child.name
        vpid = self.numbers.reserve(preferred_pid(name))
        if not vpid:
            call.fail(errno.EAGAIN)
            return
        if not call.resume():
            return
        if child is not None:
            child.vpid = vpid
            self.table.expect(child)
        self.in_flight = Birth(call.tid, process, vpid, child, parent, time.monotonic())
        trace = self.table.trace
        if trace.enabled:
            trace.line(process.name, process.vpid, f"birth of {name} as {vpid}")
