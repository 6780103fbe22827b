"""Births against a model of the kernel: whatever the schedule, names and numbers are the same.

The model runs programs that fork and call; each turn a schedule picks who runs next. A fork asks,
is resumed at some later turn, and takes the number behind the namespace's counter, or fails, or is
restarted by a signal, as the schedule says.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsbuild.determinism.clock import Clock, Rates
from nsbuild.determinism.entropy import Stream, root_seed
from nsbuild.determinism.names import next_free
from nsbuild.kernel.x86_64 import NR
from nsbuild.supervisor.births import Births
from nsbuild.supervisor.listener import Call, Listener
from nsbuild.supervisor.processes import Process, ProcessTable
from nsbuild.supervisor.trace import Trace

FORK, CALL = "fork", "call"


class Kernel:
    """The process numbers of one namespace."""

    def __init__(self) -> None:
        self.cursor = 2
        self.used = {1, 2}
        self.free = True

    def reserve(self, wish: int) -> int:
        if not self.free:
            return 0
        pid = next_free(wish, self.exists)
        self.cursor = pid - 1
        return pid

    def born(self, pid: int) -> bool:
        return self.exists(pid) or self.cursor != pid - 1

    def exists(self, pid: int) -> bool:
        return pid in self.used

    def allocate(self) -> int:
        self.cursor += 1
        while self.cursor in self.used:
            self.cursor += 1
        self.used.add(self.cursor)
        return self.cursor


class Asked(Call):
    """A call, of a fork, that remembers whether it was let go."""

    def __init__(self, tid: int) -> None:
        super().__init__(Listener.__new__(Listener), (0, tid, 0, NR["fork"], 0, 0, *(0,) * 6))
        self.resumed = False
        self.failed = 0

    def resume(self) -> bool:
        self.resumed = True
        return True

    def valid(self) -> bool:
        return True

    def fail(self, number: int) -> bool:
        self.failed = number
        return True


class Running:
    """A process of the model: what is left of its program and the fork it waits in.

    `kept` is a call of its that waits for the birth of another's child.
    """

    def __init__(self, process: Process, depth: int, forks: int) -> None:
        self.process = process
        self.tid = process.vpid
        self.depth = depth
        self.left = [FORK, CALL] * forks
        self.fork: Asked | None = None
        self.kept: Asked | None = None


class Machine:
    """Runs the same tree of processes under the schedule that `random` makes."""

    def __init__(self, random: Random, disturbed: bool, alone: bool = False) -> None:
        self.random = random
        self.disturbed = disturbed
        self.kernel = Kernel()
        root = Process("1", 2, Clock(Rates()), Stream(root_seed(0)))
        self.epoll = select.epoll()
        self.table = ProcessTable(root, self.kernel.exists, -1, -1, self.epoll, Trace(None))
        self.births = Births(self.table, self.kernel, alone)
        self.running = [Running(root, 3, 3)]
        self.seen: dict[str, tuple[int, bytes]] = {}

    def run(self) -> dict[str, tuple[int, bytes]]:
        """Name -> (number, stream seed) of every process there ever was."""
        while True:
            able = [
                r
                for r in self.running
                if r.left and r.kept is None and (r.fork is None or r.fork.resumed)
            ]
            if not able:
                break
            self.turn(self.random.choice(able))
            self.births.retry()
            for call, process in self.births.released():
                self.release(call, process)
        self.epoll.close()
        assert not self.births.owes
        return self.seen

    def release(self, call: Call, process: Process) -> None:
        """A call that was kept is let go: nobody is about to fork then."""
        (running,) = (r for r in self.running if r.kept is call)
        assert running.process is process
        assert not self.births.keeping
        running.kept = None
        self.proceed(running)

    def turn(self, running: Running) -> None:
        if running.fork is not None:
            self.finish_fork(running, running.fork)
            return
        call = Asked(running.tid)
        if self.births.keeps(call, running.process):
            running.kept = call
        else:
            self.births.called(running.tid, running.process)
            self.proceed(running)

    def proceed(self, running: Running) -> None:
        """Its call is answered."""
        if running.left[0] == FORK:
            running.fork = Asked(running.tid)
            self.births.request(running.fork, running.process)
        else:
            running.left.pop(0)

    def finish_fork(self, running: Running, fork: Asked) -> None:
        running.fork = None
        if self.disturbed and self.random.random() < 0.2:
            return  # restarted by a signal, or failed and tried again: the program asks once more
        running.left.pop(0)
        number = self.kernel.allocate()
        child = self.table.by_vpid[number]
        self.seen[child.name] = (number, child.stream.seed)
        if running.depth:
            self.running.append(Running(child, running.depth - 1, self.random_free_forks(child)))

    @staticmethod
    def random_free_forks(child: Process) -> int:
        return 1 + len(child.name) % 3


@given(st.integers(), st.booleans(), st.booleans())
def test_no_schedule_changes_a_name_a_number_or_a_stream(
    seed: int, disturbed: bool, alone: bool
) -> None:
    reference = Machine(Random(0), disturbed=False).run()
    assert len(reference) > 20
    assert Machine(Random(seed), disturbed, alone).run() == reference


@pytest.fixture
def machine() -> Iterator[Machine]:
    machine = Machine(Random(0), disturbed=False)
    yield machine
    machine.epoll.close()


def test_the_second_fork_waits_for_the_first(machine: Machine) -> None:
    parent = machine.running[0]
    first, second = Asked(parent.tid), Asked(99)
    machine.births.request(first, parent.process)
    other = Process("1.9", 99, Clock(Rates()), Stream(root_seed(9)))
    machine.births.request(second, other)
    assert first.resumed
    assert not second.resumed
    machine.kernel.allocate()
    machine.births.retry()
    assert second.resumed


def test_under_fifo_everybody_waits_for_a_birth(machine: Machine) -> None:
    """In the order in which they have called, and before who has forked goes on."""
    births = Births(machine.table, machine.kernel, alone=True)
    parent = machine.running[0].process
    strangers = [
        (Asked(tid), Process(f"1.{tid}", tid, Clock(Rates()), Stream(root_seed(tid))))
        for tid in (98, 99)
    ]
    assert not births.keeps(*strangers[0])
    births.request(Asked(parent.vpid), parent)
    assert all(births.keeps(*stranger) for stranger in strangers)
    assert list(births.released()) == []
    machine.kernel.allocate()
    again = Asked(parent.vpid)
    assert births.keeps(again, parent)
    assert parent.forks == 1
    assert list(births.released()) == [*strangers, (again, parent)]
    assert not births.owes


def test_a_birth_that_does_not_come_keeps_nobody_for_long(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who forks may have been stopped before the kernel got to it."""
    births = Births(machine.table, machine.kernel, alone=True)
    parent = machine.running[0].process
    births.request(Asked(parent.vpid), parent)
    stranger = Asked(99), Process("1.9", 99, Clock(Rates()), Stream(root_seed(9)))
    assert births.keeps(*stranger)
    births.retry()
    assert list(births.released()) == []
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 1)
    assert list(births.released()) == [stranger]


def test_a_process_that_ends_in_its_fork_holds_nobody_up(machine: Machine) -> None:
    parent = machine.running[0]
    machine.births.request(Asked(parent.tid), parent.process)
    waiting = Asked(99)
    machine.births.request(waiting, Process("1.9", 99, Clock(Rates()), Stream(root_seed(9))))
    machine.births.ended(parent.process)
    machine.births.retry()
    assert waiting.resumed
    assert parent.process.forks == 0


def test_no_free_number_is_the_kernels_error(machine: Machine) -> None:
    machine.kernel.free = False
    asked = Asked(2)
    machine.births.request(asked, machine.running[0].process)
    assert os.strerror(asked.failed) == "Resource temporarily unavailable"
