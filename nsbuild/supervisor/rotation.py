"""Rotation: the container moves to another CPU before the kernel stops it on this one.

The kernel lets tasks under SCHED_FIFO run for sched_rt_runtime_us of each second, 950 ms by
default, and keeps them from the CPU for the rest, even if nobody else wants it
(sched_rt_runtime_exceeded in kernel/sched/rt.c; before Linux 6.12 always, since then with
CONFIG_RT_GROUP_SCHED). A build that never waits loses 5 % by that. But it counts for each CPU by
itself. So a container that need not be on a certain one changes between two of them in time. All of
it does, at once, and it is never on more than one.

That must not change who runs when. It happens at a call, before that is answered, at which all
others wait as well, and for nothing that the machine does by itself: then nobody can run until we
are done. Whether that is so is looked up for each process; if not, the next call may do. While one
of them has threads the container stays.

Performance contract: a call that Python sees, and that waits for nobody, costs one reading of the
clock; a change costs one read of /proc and one sched_setaffinity(2) for each process, 0.3 ms for a
dozen, and happens twice or three times in a second.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Protocol

from nsbuild.kernel.process import read_small

from .births import Births
from .processes import ProcessTable
from .turns import Turn, Turns

STAY_SECONDS = 0.4
"""How long it stays: of any second less than 0.95 are spent on each of two CPUs."""
_RETRY_SECONDS = 0.01
_NEVER = float("inf")
_LIMIT = "sys/kernel/sched_rt_runtime_us"
_OURSELVES = "thread-self"
"""Like the one before in /proc, which is our working directory."""
_UNLIMITED = b"-1"


class Claim(Protocol):
    """The CPU that is ours, and a way to another."""

    cpu: int

    @property
    def others(self) -> Collection[int]:
        """Those on which the container may be as well."""

    def move(self, cpu: int) -> bool:
        """Have `cpu` in its place; False if another container has that."""


class Rotation:
    """Of the processes in `table`, watched by `turns`, their init, and our own aides.

    `settled` tells whether nobody is on the way in, spins, or is to go on when memory changes. It
    `stay`s that many seconds on a CPU, if it can leave it then.
    """

    def __init__(
        self,
        claim: Claim,
        init: int,
        table: ProcessTable,
        turns: Turns,
        births: Births,
        settled: Callable[[], bool],
        stay: float = STAY_SECONDS,
    ) -> None:
        self._claim = claim
        self._init = init
        self._table = table
        self._turns = turns
        self._births = births
        self._settled = settled
        self._last = claim.cpu
        self._stay = stay
        self._due = time.monotonic() + stay

    def look(self) -> None:
        """A call was received, and nobody is known to run: move if it is time, and so it is."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + _RETRY_SECONDS
        processes = self._sleepers()
        if processes and self._move(processes):
            self._due = now + self._stay

    def _sleepers(self) -> list[int]:
        """All processes of the container if none of them can run by itself, else none."""
        births, turns, table = self._births, self._turns, self._table
        if turns.free or births.owes or births.in_flight is not None or not self._settled():
            return []
        pids = []
        for process in table.by_vpid.values():
            if not process.pid and not births.numbers.exists(process.vpid):
                continue
            if process.pid and process.pidfd not in table.by_pidfd:
                # It has ended, and its parent has yet to hear of that.
                continue
            turn = turns.known.get(process.pid)
            # Of threads that have been born and not called yet older kernels do not tell.
            if turn is None or process.threads_made or not _sleeps(turn, turns):
                return []
            pids.append(process.pid)
        return pids

    def _move(self, processes: list[int]) -> bool:
        claim = self._claim
        old = claim.cpu
        choice = nearest(old, claim.others, self._last)
        new = next((cpu for cpu in choice if claim.move(cpu)), old)
        if new == old:
            return False
        # Ourselves first: an aide that has been elsewhere meanwhile goes to where we are.
        everybody = (0, *processes)
        try:
            for pid in everybody:
                with suppress(ProcessLookupError):
                    os.sched_setaffinity(pid, {new})
        except OSError:
            # The CPU has gone, or root has not all rights and the guest is somebody else by now.
            for pid in everybody:
                with suppress(OSError):
                    os.sched_setaffinity(pid, {old})
            claim.move(old)
            self._due = _NEVER
            return False
        self._last = old
        self._move_ours(old, new)
        return True

    def _move_ours(self, old: int, new: int) -> None:
        """Init, aides and those of aides: they may be elsewhere for a reason."""
        for child in _children(_OURSELVES):
            below = () if child == self._init else _children(f"{child}/task/{child}")
            for pid in (child, *below):
                with suppress(OSError):
                    os.sched_setaffinity(pid, followed(os.sched_getaffinity(pid), old, new))


def pays() -> bool:
    """Whether the kernel stops SCHED_FIFO, and lets us see who has to move.

    The list of children takes CONFIG_PROC_CHILDREN.
    """
    try:
        return read_small(_LIMIT).strip() != _UNLIMITED and os.access(
            f"{_OURSELVES}/children", os.R_OK
        )
    except OSError:
        return False


def nearest(cpu: int, others: Collection[int], last: int) -> list[int]:
    """The `last` of `others` first, whose caches may know us; then those next to `cpu`."""
    return sorted(others, key=lambda other: (other != last, abs(other - cpu), other))


def followed(cpus: set[int], old: int, new: int) -> set[int]:
    """Where a process may run that could run on `cpus`, after we went from `old` to `new`.

    Who was with us comes along, who runs anywhere else keeps away from us again, who runs
    everywhere stays.
    """
    if cpus == {old}:
        return {new}
    if old not in cpus and new in cpus:
        return (cpus - {new}) | {old}
    return cpus


def _sleeps(turn: Turn, turns: Turns) -> bool:
    """Whether a process sleeps until somebody in the container, or we, let it go on."""
    state, _ = turn.watch.state()
    # A call in our hands, and vfork, sleep as if for a disk.
    return state in b"ST" or (state == b"D" and turn.place in (None, turns.left))


def _children(path: str) -> list[int]:
    """The numbers of a thread's children, by its directory in /proc (proc_tid_children(5))."""
    try:
        return [int(number) for number in read_small(f"{path}/children").split()]
    except OSError:
        return []
