"""The spin guard: a guest that computes without end while others wait lets them go first.

Under SCHED_FIFO a task that never calls anything keeps the CPU. That is what makes schedules
repeat, and what would hang a program that spins on memory until another one of the container has
done its part. So after `bound` seconds of CPU time in which nothing was notified, with others ready
to run, the spinner steps back: it runs only while no other can, and the trace says so. To put it at
the tail of the queue would not do: the others would lose the CPU to it again at each call that they
have answered. It comes forward at its next notified call, and after a while in any case, about as
long as it takes the spinners to step back again, since the others may be waiting for one by asking
again and again. CPU time rather than real time, because it does not depend on what else the host
does.

Who spins is found out in /proc by a process of its own, an ordinary task on any CPU: looking a
dying process up can loop on what a preempted thread of the guest holds (see initpriority), and must
therefore never happen above the guest.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable
from contextlib import suppress

from nsbuild.errors import NsbuildError
from nsbuild.kernel.process import stat_fields
from nsbuild.kernel.sched import set_fifo
from nsbuild.tuples import NamedTuple

from .aide import fork_aide, messages, reply

CHECK_SECONDS = 1.0
"""How long nothing must have happened before anybody looks."""

OVERDUE_CHECKS = 10
"""After how many of them an answer of the watcher's is overdue: it is kept from looking, too."""
STEP_BACK = 2
"""How far below the others a spinner runs: between them lies the idle process."""

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_LIMIT = 1 << 16
_ENDED = (b"Z", b"X")
_DISMISSED = b"."
_LAST_LOOKS, _LAST_LOOK_SECONDS = 100, 0.1
_MOST_TASKS = 1000
"""How many threads one answer names; the others have used less CPU time."""


class Task(NamedTuple):
    """A thread of the container: the CPU ticks it has used, its number outside, if it can run.

    `soon` says that it waits for a disk, and could run at any moment.
    """

    ticks: int
    tid: int
    ready: bool
    soon: bool = False


class SpinGuard:
    """Watches the container whose PID namespace has inode `namespace`.

    `bound` is in seconds of CPU time; `priority` the guest's SCHED_FIFO priority; `watcher` is from
    `fork_watcher`.
    """

    def __init__(self, namespace: int, bound: float, priority: int, watcher: socket.socket) -> None:
        self.bound = bound
        self._bound = int(bound * _TICKS_PER_SECOND)
        self.priority = priority
        self.back: set[int] = set()
        """The threads that have stepped back and not come forward since; numbers outside."""
        self._ever = False
        self._stepped = 0.0
        self._since: dict[int, int] = {}
        self._received = -1
        self.watcher = watcher
        """The socket on which the watcher answers."""
        watcher.send(b"%d" % namespace)

    def dismiss(self) -> None:
        """Nothing of the container is left: the watcher may go before us, with nothing to do."""
        with suppress(OSError):
            self.watcher.send(_DISMISSED)

    def quiet(self, received: int) -> bool:
        """Whether nothing has been notified since the last question; `received` counts calls."""
        if self.back and time.monotonic() > self._stepped + 2 * self.bound * len(self.back):
            self.release()
        if received == self._received:
            return True
        self._received = received
        self._since.clear()
        return False

    def judge(self, received: int) -> int:
        """Read the watcher's answer and let a spinner step back.

        Returns its number if others could run, else 0. `received` is as for `quiet`.
        """
        message = self.watcher.recv(_LIMIT)
        if not message:
            raise NsbuildError("the process that watches for spinners has died")
        words = message.split()
        if received != self._received:
            # Who spun when the watcher looked may be forking by now.
            return 0
        numbers = [int(word) for word in words]
        triples = zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True)
        tasks = [Task(ticks, tid, bool(ready)) for ticks, tid, ready in triples]
        used = [
            (task.ticks - self._since.setdefault(task.tid, task.ticks), task.tid) for task in tasks
        ]
        ticks, spinner = max(used, default=(0, 0))
        if ticks < self._bound or not spinner:
            return 0
        # Who is lowered goes to the head of the queue below, and who is raised to the tail of the
        # one above (sched_setscheduler in kernel/sched/syscalls.c): spinners take turns.
        if not set_fifo(spinner, self.priority - STEP_BACK - 1):
            return 0
        self.back.add(spinner)
        self._ever = True
        self._stepped = time.monotonic()
        set_fifo(spinner, self.priority - STEP_BACK)
        self._since = {task.tid: task.ticks for task in tasks}
        # A lone spinner steps back as well, because a dying thread that waits for the CPU shows
        # nowhere; but then nothing is known to have changed.
        return spinner if any(task.ready for task in tasks if task.tid != spinner) else 0

    def lower(self, tids: Iterable[int]) -> None:
        """Let every thread of `tids` step back, whoever of them it is that spins.

        One that spins in the kernel, for what another has begun and does not get to end, may hold
        the locks with which others would look at it; to be put elsewhere interrupts that.
        """
        for tid in tuple(tids):
            if set_fifo(tid, self.priority - STEP_BACK):
                self.back.add(tid)
        self._ever = True
        self._stepped = time.monotonic()

    def ends(self, tids: Iterable[int]) -> None:
        """The process with the threads `tids` ends: they come forward to die.

        Below the others one would be interrupted in the middle of dropping its entries of /proc,
        and whoever waits for the process spins in the kernel until it is done with that.
        """
        for tid in self.back.intersection(tids):
            self.called(tid)

    def called(self, tid: int) -> None:
        """Thread `tid` makes a call: if it had stepped back, it is no spinner now."""
        if tid in self.back:
            self.back.discard(tid)
            set_fifo(tid, self.priority)

    def executed(self, tid: int) -> None:
        """`tid` runs a new program, perhaps with the priority of another thread of its process."""
        if self._ever:
            self.back.discard(tid)
            set_fifo(tid, self.priority)

    def release(self) -> None:
        """Let everybody come forward, behind whoever can run."""
        for tid in self.back:
            set_fifo(tid, self.priority)
        self.back.clear()


def fork_watcher() -> socket.socket:
    """Fork the watcher, which is then told of its container by a SpinGuard; returns its socket.

    The earlier the better: what is ours at a fork is copied, page by page, when we next write to
    it. Where we have not joined the container's user namespace, we are still the owner of it, who
    has all capabilities there (user_namespaces(7)).
    """
    return fork_aide("nsbuild-watch", _watch, outlives=True)


def _watch(requests: socket.socket) -> None:
    """The watcher: answers each message with the container's threads, until the end."""
    # Whoever kills the process group that we all belong to shall not kill who clears up after it.
    os.setpgid(0, 0)
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    os.chdir("/proc")
    said = messages(requests)
    namespace = int(next(said, b"0"))
    if not namespace:
        return
    for message in said:
        if message == _DISMISSED:
            return
        tasks = tasks_of(namespace)[:_MOST_TASKS]
        text = " ".join(f"{task.ticks} {task.tid} {int(task.ready)}" for task in tasks)
        reply(requests, text.encode() or b" ")
    _let_die(namespace)


def _let_die(namespace: int) -> None:
    """The supervisor is gone, and the kernel kills the container.

    A dying thread waits in the kernel for ordinary tasks (a grace period of RCU, for one), and may
    do so spinning. Under SCHED_FIFO it would keep them from the CPU for minutes, and with them all
    that the CPU has to do.
    """
    for _ in range(_LAST_LOOKS):
        tasks = tasks_of(namespace)
        if not tasks:
            return
        for task in tasks:
            with suppress(OSError):
                os.sched_setscheduler(task.tid, os.SCHED_OTHER, os.sched_param(0))
        time.sleep(_LAST_LOOK_SECONDS)


def tasks_of(namespace: int) -> list[Task]:
    """The container's threads, those that have used most CPU time first.

    Also those that sleep by their state: a thread can spin in the kernel on its way to sleep.
    """
    tasks = []
    for pid in filter(str.isdigit, os.listdir(".")):
        try:
            if os.stat(f"{pid}/ns/pid").st_ino != namespace:
                continue
            for tid in os.listdir(f"{pid}/task"):
                stat = stat_fields(f"{pid}/task/{tid}")
                if stat[0] not in _ENDED:
                    ticks = int(stat[11]) + int(stat[12])
                    tasks.append(Task(ticks, int(tid), stat[0] == b"R", stat[0] == b"D"))
        except OSError:
            continue
    return sorted(tasks, reverse=True)
