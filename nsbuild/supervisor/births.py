"""Births: fork, vfork and clone, one at a time, each with the number that its name gives.

Threads are born here too: they draw from the same counter, and a number that moves unseen would
make a birth seem to have happened that has not.

Before the kernel goes on with a fork, init writes the number before the wanted one into its PID
namespace's ns_last_pid, and the kernel hands out exactly the wanted one. That holds for one fork at
a time, so a second waits until the first is known to have happened or to have failed: the child has
called, or its number is in use, or the namespace's counter has moved. A fork that failed, or that a
signal made the kernel restart, gives its ordinal back.
"""

from __future__ import annotations

import errno
from collections import deque
from typing import NamedTuple, Protocol

from nsbuild.determinism.names import preferred_pid, thread_name
from nsbuild.kernel.namespaces import CLONE_PARENT, CLONE_THREAD, CLONE_VM
from nsbuild.kernel.x86_64 import NR

from .answers import Handler
from .listener import Call
from .processes import Process, ProcessTable

RETRY_MILLISECONDS = 1
"""How often a waiting fork looks whether the one in flight has happened, if no call tells."""


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

    `child` is the process to come, None for a thread; `parent` is who may reap it.
    """

    tid: int
    process: Process
    vpid: int
    child: Process | None
    parent: Process | None


class Births:
    """Lets forks happen one after another."""

    def __init__(self, table: ProcessTable, numbers: Numbers) -> None:
        self.table = table
        self.numbers = numbers
        self.in_flight: Birth | None = None
        self.threads: Handler = lambda _call, _process: None
        """Called before a thread is made."""
        table.ending = self.ended
        self.waiting: deque[tuple[Call, Process]] = deque()

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
        while self.waiting and self._settled():
            call, process = self.waiting.popleft()
            self._begin(call, process)

    def _settled(self) -> bool:
        """Whether no fork is in flight (any more)."""
        birth = self.in_flight
        if birth is None:
            return True
        child = birth.child
        if not (child is not None and child.pid) and not self.numbers.born(birth.vpid):
            return False
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
        self.in_flight = Birth(call.tid, process, vpid, child, parent)
        trace = self.table.trace
        if trace.enabled:
            trace.line(process.name, process.vpid, f"birth of {name} as {vpid}")
