"""Without SCHED_FIFO: no child ends while its parent may be about to call, nor a call before it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from nsbuild.determinism.clock import Clock, Rates
from nsbuild.determinism.entropy import Stream, root_seed
from nsbuild.kernel.x86_64 import NR
from nsbuild.supervisor import eager
from nsbuild.supervisor.eager import Eager
from nsbuild.supervisor.listener import Call, Listener
from nsbuild.supervisor.processes import Process


class Asked(Call):
    """A call that remembers whether it was let go."""

    def __init__(self, listener: Listener, tid: int) -> None:
        super().__init__(listener, (0, tid, 0, NR["exit_group"], 0, 0, *(0,) * 6))
        self.resumed = False

    def resume(self) -> bool:
        self.resumed = True
        return True


class Queue(Listener):
    """A listener of which `calls` are there to be received; its descriptor is a pipe's."""

    def __init__(self, calls: list[Call]) -> None:
        self.fd, self._writer = os.pipe()
        self._calls = calls

    def send_in(self, call: Call) -> None:
        self._calls.append(call)
        os.write(self._writer, b"x")

    def receive(self) -> Call | None:
        os.read(self.fd, 1)
        return self._calls.pop(0)

    def close(self) -> None:
        os.close(self.fd)
        os.close(self._writer)


class Family:
    """A parent and its child under an Eager; the parent computes until it does not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.listener = Queue([])
        self.eager = Eager(self.listener, lambda _process: None)
        self.parent = Process("1", 2, Clock(Rates()), Stream(root_seed(0)))
        self.child = self.parent.bear(3, False)
        self.parent.add_child(self.child)
        self.computes = True
        monkeypatch.setattr(eager, "_computes", lambda _process: self.computes)

    def ask(self, process: Process) -> Asked:
        return Asked(self.listener, process.vpid)


@pytest.fixture
def family(monkeypatch: pytest.MonkeyPatch) -> Iterator[Family]:
    family = Family(monkeypatch)
    yield family
    family.listener.close()


def test_an_end_waits_while_the_parent_computes(family: Family) -> None:
    """SIGCHLD would find it on its way into a call, which would fail with EINTR."""
    end = family.ask(family.child)
    family.eager.leave(end, family.child)
    assert list(family.eager.calls()) == []
    assert not end.resumed
    family.computes = False
    list(family.eager.calls())
    assert end.resumed


def test_the_parents_call_lets_the_child_end_and_waits_for_that(family: Family) -> None:
    end, call = family.ask(family.child), family.ask(family.parent)
    family.eager.leave(end, family.child)
    assert family.eager.keeps(call, family.parent)
    assert end.resumed
    assert list(family.eager.calls()) == []
    family.eager.ended(family.child)
    assert list(family.eager.calls()) == [call]


def test_an_end_does_not_wait_for_long(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    end = family.ask(family.child)
    family.eager.leave(end, family.child)
    monkeypatch.setattr(eager, "_LONGEST", 0)
    list(family.eager.calls())
    assert end.resumed


def test_calls_are_received_before_a_child_ends(family: Family) -> None:
    """Else its SIGCHLD would take the parent out of the call that is there."""
    family.computes = False
    call = family.ask(family.parent)
    family.listener.send_in(call)
    family.eager.leave(family.ask(family.child), family.child)
    assert family.eager.backlog[0] is call
