"""Without SCHED_FIFO: no signal of the guest's own may end a call that has yet to be received.

Until a notification is received, a signal makes its call fail with EINTR, where no program expects
that (docs/signals.md). Under SCHED_FIFO nothing of the guest runs before a call is received.
Without, the guest goes on while we answer others, and children end: that is SIGCHLD. So

- every call is received as soon as there is one, also while init is asked or another is answered;
- the end of a process is notified, and waits while its parent computes, which might make a call any
  moment: until the parent makes one, which is then kept until the child has ended, or sleeps.

Both waits are short, and bounded.
"""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator

from nsbuild.kernel.process import stat_fields
from nsbuild.tuples import NamedTuple

from .listener import Call, Listener
from .processes import Process

RETRY_MILLISECONDS = 1
"""How often `Eager.calls` is to be asked while something is owed."""
_LONGEST = 0.05
"""Seconds that an end waits for the parent, and that a parent's call waits for the end."""


class Leaving(NamedTuple):
    """A call that ends `process`, kept since `since`, a monotonic time in seconds."""

    call: Call
    process: Process
    since: float


class Kept(NamedTuple):
    """The calls of a process that wait for children to end; the first does since `since`."""

    calls: list[Call]
    ending: set[Process]
    since: float


class Eager:
    """The calls that have been received and not answered.

    `touched` is called with a process whose next call must not be answered without us.
    """

    def __init__(self, listener: Listener, touched: Callable[[Process], None]) -> None:
        self._listeners: dict[int, Listener] = {}
        self._touched = touched
        self._poll = select.poll()
        self.listen(listener)
        self.backlog: deque[Call] = deque()
        self.leaving: deque[Leaving] = deque()
        self._kept: dict[Process, Kept] = {}

    def listen(self, listener: Listener) -> None:
        """Receive from `listener` as well."""
        self._listeners[listener.fd] = listener
        self._poll.register(listener.fd, select.POLLIN)

    def calls(self) -> Iterator[Call]:
        """All that wait, in turn, receiving between them; each is to be answered at once."""
        self.receive(0)
        self._retry()
        while self.backlog:
            yield self.backlog.popleft()
            self.receive(0)

    def receive(self, other: int) -> bool:
        """Receive every call that waits; with `other`, until that is readable: then True."""
        while True:
            ready = dict(self._poll.poll(0 if not other else None))
            for fd, events in ready.items():
                if fd in self._listeners:
                    self._receive_from(fd, events)
            if other in ready:
                return True
            if not ready:
                return False

    def _receive_from(self, fd: int, events: int) -> None:
        if events & select.POLLIN:
            call = self._listeners[fd].receive()
            if call is not None:
                self.backlog.append(call)
        else:
            # Nobody is left under that filter.
            self._poll.unregister(fd)
            del self._listeners[fd]

    def meanwhile(self, requests: socket.socket) -> None:
        """Receive until init has answered on `requests`."""
        fd = requests.fileno()
        self._poll.register(fd, select.POLLIN)
        while not self.receive(fd):
            pass
        self._poll.unregister(fd)

    # Ends.

    def leave(self, call: Call, process: Process) -> None:
        """A notified exit_group."""
        leaving = Leaving(call, process, time.monotonic())
        if not self._let_go(leaving):
            call.outcome = "held"
            self.leaving.append(leaving)

    @property
    def owes(self) -> bool:
        """Whether calls wait for an answer: then `calls` is to be asked again soon."""
        return bool(self.backlog or self.leaving or any(kept.calls for kept in self._kept.values()))

    def keeps(self, call: Call, process: Process) -> bool:
        """Whether the call waits for the end of a child; then it is in the backlog again later."""
        if self.leaving:
            for one in tuple(self.leaving):
                if one.process.parent is process:
                    self.leaving.remove(one)
                    self._end(one)
        kept = self._kept.get(process)
        if kept is None:
            return False
        kept.calls.append(call)
        return True

    def ended(self, child: Process) -> None:
        """A process has ended, and SIGCHLD gone out."""
        parent = child.parent
        if parent is not None and parent in self._kept:
            ending = self._kept[parent].ending
            ending.discard(child)
            if not ending:
                self._release(parent)
        if child in self._kept:
            self._release(child)

    def _release(self, parent: Process) -> None:
        self.backlog.extendleft(reversed(self._kept.pop(parent).calls))

    def _retry(self) -> None:
        for _ in range(len(self.leaving)):
            one = self.leaving.popleft()
            if not self._let_go(one):
                self.leaving.append(one)
        now = time.monotonic()
        for parent, kept in tuple(self._kept.items()):
            if now >= kept.since + _LONGEST:
                self._release(parent)

    def _let_go(self, leaving: Leaving) -> bool:
        parent = leaving.process.parent
        if parent is not None and _computes(parent) and time.monotonic() < leaving.since + _LONGEST:
            return False
        # If the parent has made a call since, it is received now.
        self.receive(0)
        self._end(leaving)
        return True

    def _end(self, leaving: Leaving) -> None:
        parent = leaving.process.parent
        if leaving.call.resume() and parent is not None:
            kept = self._kept.setdefault(parent, Kept([], set(), time.monotonic()))
            kept.ending.add(leaving.process)
            self._touched(parent)


def _computes(process: Process) -> bool:
    """Whether the first thread of a process, which gets its signals, runs or could."""
    if not process.pid:
        return False
    try:
        return stat_fields(f"{process.pid}")[0] == b"R"
    except OSError:
        return False
