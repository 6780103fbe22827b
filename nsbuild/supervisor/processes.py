"""The table of guest processes: who made this call, and what became of the children.

A notification names a thread by its number in the supervisor's PID namespace. Numbers are used
again, so a mapping is only trusted as long as it can be proved: a process's entry goes when its
pidfd says that it has ended, and a thread that is not its group's leader is checked by tgkill each
time. A process is recognised at its first call by its number inside the container, which was chosen
for it at birth.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from nsbuild.determinism.clock import Clock, cpu_steps
from nsbuild.determinism.entropy import Stream
from nsbuild.determinism.names import child_name
from nsbuild.kernel.namespaces import number_in, thread_from
from nsbuild.kernel.process import inner_number, is_thread_of, numbered_inside, read_small
from nsbuild.tuples import NamedTuple

from .listener import Call
from .memory import Memory, out_of_descriptors
from .trace import Trace

if TYPE_CHECKING:
    from .answers.directories import Listing
    from .places import Place

STRANGERS = 1 << 63
"""Ordinals from here on belong to processes that no fork of the container made."""


class Detour(NamedTuple):
    """Where a fresh program was sent away from, what it has to find there, and its second call.

    `back` and `again` are where two calls of the program go on; see detour.py.
    """

    back: int
    replaced: bytes
    again: int


class Process:
    """One guest process: its name, clock, stream and children.

    `vpid` is its number in the container, `pid` its number outside (0 until its first call).
    `cpu` and `children_cpu` are CPU time in nanoseconds, its own and that of reaped children;
    `cpu_reads` is how often its own has been read.
    `parent` is who may reap it, None for the container's init.
    `has_children` is false while there is nothing for `ProcessTable.merge_reaped` to look at.
    `detour` is set while a fresh program is on one.
    `place` is from where it sees files, None while unknown; `moving` is the thread whose call may
    be changing that, 0 for none; `split` says that its threads may see different ones; `made`
    counts the files it made; `listings` are the directories it reads, by descriptor.
    """

    __slots__ = (
        "children_cpu",
        "clock",
        "cpu",
        "cpu_reads",
        "detour",
        "exec_hook_pending",
        "forks",
        "gone",
        "has_children",
        "listings",
        "made",
        "memory",
        "moving",
        "name",
        "older_children",
        "orphan",
        "parent",
        "pid",
        "pidfd",
        "place",
        "split",
        "stream",
        "threads",
        "threads_made",
        "vpid",
        "youngest_child",
    )

    def __init__(self, name: str, vpid: int, clock: Clock, stream: Stream) -> None:
        self.name = name
        self.vpid = vpid
        self.clock = clock
        self.stream = stream
        self.pid = 0
        self.pidfd = -1
        self.threads: set[int] = set()
        self.cpu = 0
        self.cpu_reads = 0
        self.children_cpu = 0
        self.forks = 0
        self.threads_made = 0
        self.memory = Memory()
        self.youngest_child: Process | None = None
        self.older_children: list[Process] = []
        self.exec_hook_pending = False
        self.detour: Detour | None = None
        self.gone = False
        self.has_children = False
        self.orphan = False
        self.parent: Process | None = None
        self.place: Place | None = None
        self.moving = 0
        self.split = False
        self.made = 0
        self.listings: dict[int, Listing] = {}

    def bear(self, vpid: int, shares_memory: bool) -> Process:
        """The child that the process's next fork makes; nothing is counted yet."""
        child = Process(
            child_name(self.name, self.forks),
            vpid,
            self.clock.child(),
            self.stream.child(self.forks),
        )
        child.memory.cached = not shares_memory
        child.place = self.place
        return child

    def next_cpu(self) -> int:
        """What the next reading of its CPU clock gives."""
        return self.cpu + self.clock.rates.monotonic_step * cpu_steps(self.cpu_reads)

    def read_cpu(self, value: int) -> None:
        """That reading has been given."""
        self.cpu = value
        self.cpu_reads += 1

    def add_child(self, child: Process) -> None:
        """`child` has been born, and we are who may reap it."""
        if self.youngest_child is not None:
            self.older_children.append(self.youngest_child)
        self.youngest_child = child
        self.has_children = True
        child.parent = self

    def absorb(self, child: Process) -> None:
        """Take over the clock and the CPU time of a reaped child."""
        child.parent = None
        self.clock.merge(child.clock)
        self.children_cpu += child.cpu + child.children_cpu


class ProcessTable:
    """All live processes of the container, of which `root` is the command.

    `exists` tells whether a number is in use inside; `ending` is called with each process that has
    ended, before anything is concluded from it; `expected` is the child of the fork in flight;
    `proc_fd` is a directory descriptor of the
    container's /proc, whose numbers are those inside; `pids` its PID namespace, open.
    """

    def __init__(
        self,
        root: Process,
        exists: Callable[[int], bool],
        proc_fd: int,
        pids: int,
        epoll: select.epoll,
        trace: Trace,
    ) -> None:
        self.root = root
        self.changes = 0
        """How many processes have been entered and have ended."""
        self.expected: Process | None = None
        self.ending: Callable[[Process], None] = lambda _: None
        self.exists = exists
        self.proc_fd = proc_fd
        self._pids = pids
        self.epoll = epoll
        self.trace = trace
        self.by_tid: dict[int, Process] = {}
        self.by_vpid: dict[int, Process] = {root.vpid: root}
        self.by_pidfd: dict[int, Process] = {}

    def expect(self, process: Process) -> None:
        """Enter a process that is about to be born."""
        self.changes += 1
        self.by_vpid[process.vpid] = process
        self.expected = process

    def enter(self, process: Process) -> None:
        """Enter a process that is there already and has made no call yet."""
        self.changes += 1
        self.by_vpid[process.vpid] = process

    def remove(self, process: Process) -> None:
        """Drop a process that was never born."""
        if self.by_vpid.get(process.vpid) is process:
            del self.by_vpid[process.vpid]

    def of(self, call: Call) -> Process | None:
        """The process that made `call`, or None if it has ended meanwhile."""
        tid = call.tid
        process = self.by_tid.get(tid)
        if process is not None and (tid == process.pid or is_thread_of(process.pid, tid)):
            return process
        return self._identify(tid)

    def reader(self, vtid: int) -> Process | None:
        """The process with thread `vtid`, a number *inside* the container."""
        process = self.by_vpid.get(vtid)
        if process is not None and not process.gone:
            return process
        try:
            tgid = _field(read_small(f"{vtid}/status", self.proc_fd), b"Tgid:")[0]
        except (OSError, IndexError):
            return None
        return self.by_vpid.get(tgid)

    def thread_outside(self, process: Process, vtid: int) -> int:
        """Our number for the thread of `process` that is `vtid` inside; 0 if it has none."""
        try:
            tid = thread_from(self._pids, vtid)
        except ProcessLookupError:
            return 0
        except OSError:
            # An older kernel. That the thread is dying while we look is not to be expected.
            return int(next(numbered_inside(f"{process.pid}/task", vtid), "0"))
        return tid if is_thread_of(process.pid, tid) else 0

    def _identify(self, tid: int) -> Process | None:
        try:
            pidfd = os.pidfd_open(tid)
        except ProcessLookupError:
            return None
        except OSError as error:
            out_of_descriptors(error)
            # EINVAL or ENOENT by kernel version: a thread that does not lead its group.
            return self._identify_thread(tid)
        vpid = self._number_inside(tid, pidfd)
        if not vpid:
            os.close(pidfd)
            return None
        process = self.by_vpid.get(vpid)
        if process is None or process.pid:
            process = self._adopt(tid, vpid)
        process.pid = tid
        process.pidfd = pidfd
        self.by_tid[tid] = process
        self.by_pidfd[pidfd] = process
        self.epoll.register(pidfd, select.EPOLLIN)
        return process

    def _number_inside(self, pid: int, pidfd: int) -> int:
        """The number in the container of process `pid`, which is `pidfd`; 0 if it has ended."""
        try:
            vpid = number_in(self._pids, pid)
        except ProcessLookupError:
            return 0
        except OSError:
            # Linux before 6.11.
            return _number_by_pidfd(pidfd)
        # It was the number of this process if that has it still.
        return vpid if _is_there(pidfd) else 0

    def _identify_thread(self, tid: int) -> Process | None:
        try:
            tgid = _field(read_small(f"{tid}/status"), b"Tgid:")[0]
        except (OSError, IndexError):
            return None
        process = self.by_tid.get(tgid) or self._identify(tgid)
        if process is not None:
            process.threads.add(tid)
            self.by_tid[tid] = process
        return process

    def _adopt(self, tid: int, vpid: int) -> Process:
        """A process whose number is not the one chosen for it: a thread had taken that meanwhile.

        It can only be the one whose fork is in flight, since there is one at a time. A process that
        no fork of the container made (somebody entered from outside and got under the filter) is
        given a name by its number.
        """
        child = self.expected
        if child is None or child.pid:
            ppid = _field(read_small(f"{tid}/status"), b"PPid:")
            kin = self.by_tid.get(ppid[0], self.root) if ppid else self.root
            stream = kin.stream.child(STRANGERS + vpid)
            child = Process(f"?{vpid}", vpid, kin.clock.child(), stream)
            child.orphan = True
        self.remove(child)
        self.trace.line(child.name, vpid, f"got this number instead of {child.vpid}")
        child.vpid = vpid
        self.by_vpid[vpid] = child
        return child

    def ended(self, pidfd: int) -> Process:
        """Forget the numbers of a process whose pidfd says that it has ended; returns it."""
        process = self.by_pidfd.pop(pidfd)
        self.changes += 1
        self.ending(process)
        self.epoll.unregister(pidfd)
        del self.by_tid[process.pid]
        for tid in process.threads:
            if self.by_tid.get(tid) is process:
                del self.by_tid[tid]
        process.threads.clear()
        process.memory.forget()
        # What it had reaped since its last call is in its past, and so in that of who reaps it.
        if process.has_children:
            self.merge_reaped(process)
        for child in (process.youngest_child, *process.older_children):
            if child is not None:
                self._orphan(child)
        if process.orphan:
            self._bury(process)
        return process

    def _orphan(self, child: Process) -> None:
        """From here on the container's init reaps `child`, and nobody takes over its clock."""
        child.orphan = True
        child.parent = None
        if child.pidfd >= 0 and child.pidfd not in self.by_pidfd:
            self._bury(child)

    def _bury(self, process: Process) -> None:
        if process.pidfd >= 0:
            os.close(process.pidfd)
            process.pidfd = -1
        process.gone = True
        self.remove(process)

    def reaped(self, process: Process) -> bool:
        """Whether the process is gone for good: ended and waited for."""
        if process.gone:
            return True
        if process.pidfd < 0:
            # It never made a notified call, so all that is known of it is its number; if that
            # belongs to another by now, this one is gone.
            if self.by_vpid.get(process.vpid) is process and self.exists(process.vpid):
                return False
        elif _is_there(process.pidfd):
            return False
        if process.pidfd in self.by_pidfd:
            self.ended(process.pidfd)
        self._bury(process)
        return True

    def merge_reaped(self, process: Process) -> None:
        """Move the clock of `process` up to those of the children it has reaped.

        Which child a wait4(-1) returns first depends on the schedule. What does not is that a
        program which waits for the child it forked last has reaped that one; older ones (jobs in
        the background) count as soon as none of them is left.
        """
        child = process.youngest_child
        if child is not None:
            if not self.reaped(child):
                return
            process.youngest_child = None
            process.absorb(child)
        older = process.older_children
        if older and all(map(self.reaped, older)):
            for child in older:
                process.absorb(child)
            older.clear()
        process.has_children = bool(older)


def _number_by_pidfd(pidfd: int) -> int:
    """The number in the container of the process that is `pidfd`; 0 if it has ended."""
    try:
        info = read_small(f"self/fdinfo/{pidfd}")
    except OSError as error:
        out_of_descriptors(error)
        return 0
    # NSpid lists the number outside, the one in the container, and those of namespaces nested in
    # it; a process that has ended meanwhile has none of them.
    return inner_number(info)


def _is_there(pidfd: int) -> bool:
    """Whether a process has not been waited for yet; a zombie still takes signals."""
    try:
        signal.pidfd_send_signal(pidfd, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _field(text: bytes, key: bytes) -> list[int]:
    """The numbers behind `key` in a /proc file of `Key: value` lines."""
    for line in text.splitlines():
        if line.startswith(key):
            return [int(word) for word in line[len(key) :].split()]
    return []
