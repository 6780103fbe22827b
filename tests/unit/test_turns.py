"""Turns against a model of one CPU: who is held up by the machine changes no order.

The model runs threads in the order of a SCHED_FIFO queue, each up to its next call, which is
answered at once unless it is kept. A thread may be held up on its way, for as long as it takes some
others to run, and goes to the end of the queue then. A run in which nobody is says what must come
out.
"""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsbuild.determinism.clock import Clock, Rates
from nsbuild.determinism.entropy import Stream, root_seed
from nsbuild.kernel.x86_64 import NR
from nsbuild.supervisor.listener import Call, Listener
from nsbuild.supervisor.processes import Process
from nsbuild.supervisor.turns import NOBODY, Turns, Watch

PROCESS = Process("1", 2, Clock(Rates()), Stream(root_seed(0)))


class Seen(Watch):
    """A thread of the model."""

    def __init__(self, tid: int) -> None:
        super().__init__(tid)
        self.count = 0
        self.letter = b"S"
        self.used = 0.0
        self.reaps = False
        self.opened = False

    def open(self) -> bool:
        self.opened = True
        return True

    def close(self) -> None:
        self.opened = False

    def runs(self) -> int:
        return self.count

    def state(self) -> tuple[bytes, float]:
        return self.letter, self.used

    def waits_for_child(self) -> bool:
        return self.reaps


class Made(Call):
    def __init__(self, tid: int, nr: int = NR["getrandom"]) -> None:
        super().__init__(Listener.__new__(Listener), (0, tid, 0, nr, 0, 0, *(0,) * 6))

    def valid(self) -> bool:
        return True


class Machine:
    """Threads 1 to `count`, of which each makes `calls` calls.

    `naps` has for a thread and the number of a call how many others run while it is held up.
    """

    def __init__(self, count: int, calls: int, naps: dict[tuple[int, int], int]) -> None:
        self.threads = {tid: Seen(tid) for tid in range(1, count + 1)}
        self.left = dict.fromkeys(self.threads, calls)
        self.naps = dict(naps)
        self.queue: deque[int] = deque()
        self.napping: dict[int, int] = {}
        self.turns = Turns((), lambda: False, self.threads.__getitem__)
        self.answered: list[int] = []
        for tid in self.threads:
            self._answer(tid)

    def _answer(self, tid: int) -> None:
        if self.left[tid] == 0:
            return
        self.answered.append(tid)
        self.turns.let_go(Made(tid))
        self.threads[tid].letter = b"R"
        self.queue.append(tid)

    def run(self) -> list[int]:
        while self.queue or self.napping:
            for tid in tuple(self.napping):
                self.napping[tid] -= 1
                if self.napping[tid] < 0 or not self.queue:
                    del self.napping[tid]
                    self.threads[tid].letter = b"R"
                    self.queue.append(tid)
            self._go(self.queue.popleft())
            for call, _ in self.turns.released():
                self._answer(call.tid)
        return self.answered

    def _go(self, tid: int) -> None:
        seen = self.threads[tid]
        seen.count += 1
        nap = self.naps.pop((tid, self.left[tid]), None)
        if nap is not None:
            seen.letter = b"D"
            self.napping[tid] = nap
            return
        self.left[tid] -= 1
        seen.letter = b"S"
        if not self.turns.keeps(Made(tid), PROCESS):
            self._answer(tid)


NAPS = st.dictionaries(
    st.tuples(st.integers(1, 6), st.integers(1, 8)), st.integers(0, 12), max_size=8
)


@given(NAPS)
def test_who_is_held_up_keeps_its_turn(naps: dict[tuple[int, int], int]) -> None:
    calm = Machine(6, 8, {}).run()
    assert calm == [*range(1, 7)] * 8
    assert Machine(6, 8, naps).run() == calm


def made(count: int) -> tuple[Turns, dict[int, Seen]]:
    threads = {tid: Seen(tid) for tid in range(1, count + 1)}
    return Turns((), lambda: False, threads.__getitem__), threads


def let_go(turns: Turns, *tids: int) -> None:
    for tid in tids:
        assert not turns.keeps(Made(tid), PROCESS)
        turns.let_go(Made(tid))


def released(turns: Turns) -> list[int]:
    found = []
    for call, _ in turns.released():
        found.append(call.tid)
        turns.let_go(call)
    return found


def held_up(seen: Seen, letter: bytes = b"D") -> None:
    seen.count += 1
    seen.letter = letter


@pytest.mark.parametrize("letter", [b"D", b"R"])
def test_goes_first_when_it_comes(letter: bytes) -> None:
    turns, threads = made(3)
    let_go(turns, 1, 2, 3)
    held_up(threads[1], letter)
    assert turns.keeps(Made(2), PROCESS)
    assert turns.keeps(Made(3), PROCESS)
    assert released(turns) == []
    assert not turns.keeps(Made(1), PROCESS)
    turns.let_go(Made(1))
    assert released(turns) == [2, 3]


def test_who_has_yet_to_run_is_not_waited_for() -> None:
    turns, threads = made(2)
    let_go(turns, 1, 2)
    threads[1].letter = b"R"
    assert not turns.keeps(Made(2), PROCESS)


def test_who_goes_to_sleep_is_not_waited_for() -> None:
    turns, threads = made(2)
    let_go(turns, 1, 2)
    held_up(threads[1])
    assert turns.keeps(Made(2), PROCESS)
    threads[1].letter = b"S"
    assert released(turns) == [2]


def test_who_was_asleep_and_woken_is_waited_for() -> None:
    turns, threads = made(2)
    let_go(turns, 1, 2)
    held_up(threads[1], b"S")
    let_go(turns, 2)
    assert turns.alone == 2
    assert {tid: turn.runs for tid, turn in turns.asleep.items()} == {1: 1}
    held_up(threads[1])
    assert turns.keeps(Made(2), PROCESS)
    assert turns.alone == NOBODY


def test_who_waits_for_a_child_is_let_alone_until_one_ends() -> None:
    turns, threads = made(2)
    let_go(turns, 1, 2)
    threads[1].reaps = True
    held_up(threads[1], b"S")
    let_go(turns, 2)
    assert not turns.asleep
    turns.woken(1)
    assert {tid: turn.runs for tid, turn in turns.asleep.items()} == {1: 1}
    held_up(threads[1])
    assert turns.keeps(Made(2), PROCESS)


def test_who_makes_a_child_in_its_own_memory_is_not_waited_for() -> None:
    turns, threads = made(2)
    turns.let_go(Made(1, NR["vfork"]))
    held_up(threads[1])
    assert not turns.keeps(Made(2), PROCESS)


def test_a_newborn_is_waited_for() -> None:
    turns, threads = made(2)
    let_go(turns, 1)
    turns.born(2)
    held_up(threads[2])
    let_go(turns, 1)
    assert turns.held_up()
    assert turns.keeps(Made(1), PROCESS)
    assert not turns.keeps(Made(2), PROCESS)


def test_who_has_ended_is_not_waited_for() -> None:
    turns, threads = made(2)
    let_go(turns, 1, 2)
    held_up(threads[1])
    assert turns.keeps(Made(2), PROCESS)
    turns.ended(1)
    assert released(turns) == [2]
    assert not threads[1].opened


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("nsbuild.supervisor.turns.time.monotonic", lambda: now)
    one, threads = made(2)
    let_go(one, 1, 2)
    held_up(threads[1])
    assert one.keeps(Made(2), PROCESS)
    assert released(one) == []
    now += 10
    assert released(one) == [2]
    # And for who runs by the CPU time that it takes.
    let_go(one, 1, 2)
    held_up(threads[1], b"R")
    assert one.keeps(Made(2), PROCESS)
    now += 10
    assert released(one) == []
    threads[1].used = 10.0
    assert released(one) == [2]
    assert one.alone == 2


def test_who_called_behind_it_while_we_slept_goes_first() -> None:
    turns, threads = made(2)
    let_go(turns, 1, 2)
    held_up(threads[1], b"S")
    turns.pending.update((1, 2))
    assert turns.keeps(Made(2), PROCESS)
    assert not turns.keeps(Made(1), PROCESS)


def test_nobody_is_asleep_whose_call_has_yet_to_be_received() -> None:
    ready = False
    threads = {tid: Seen(tid) for tid in (1, 2)}
    turns = Turns((), lambda: ready, threads.__getitem__)
    let_go(turns, 1, 2)
    held_up(threads[1])
    assert turns.keeps(Made(2), PROCESS)
    threads[1].letter = b"S"
    ready = True
    assert turns.held_up()
    assert released(turns) == []
    ready = False
    assert released(turns) == [2]
    assert not turns.held_up()
