"""Where everybody goes when a container changes CPUs (nsbuild/supervisor/rotation.py)."""

from __future__ import annotations

import os
import socket
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsbuild.container.cpu import CpuClaim
from nsbuild.determinism.clock import Clock, Rates
from nsbuild.determinism.entropy import Stream, root_seed
from nsbuild.supervisor.processes import Process
from nsbuild.supervisor.rotation import Rotation, followed, nearest
from nsbuild.supervisor.turns import Turns
from tests.unit.test_turns import Made, Seen

CPUS = st.integers(0, 7)


@given(st.sets(CPUS, min_size=2), st.data())
def test_there_and_back_again(all_of_them: set[int], data: st.DataObject) -> None:
    old, new = data.draw(st.permutations(sorted(all_of_them)))[:2]
    assert followed({old}, old, new) == {new}
    assert followed(all_of_them - {old}, old, new) == all_of_them - {new}
    assert followed(all_of_them, old, new) == all_of_them
    for cpus in ({old}, all_of_them - {old}, all_of_them):
        assert followed(followed(cpus, old, new), new, old) == cpus


@given(CPUS, st.sets(CPUS), CPUS)
def test_the_last_and_then_the_nearest(cpu: int, others: set[int], last: int) -> None:
    found = nearest(cpu, others, last)
    assert set(found) == others
    if last in others:
        assert found.pop(0) == last
    distances = [abs(other - cpu) for other in found]
    assert distances == sorted(distances)


def _is_free(cpu: int) -> bool:
    with socket.socket(socket.AF_UNIX) as one:
        try:
            one.bind(f"\0nsbuild/cpu/{cpu}")
        except OSError:
            return False
    return True


def test_a_claim_moves_to_what_is_free_and_leaves_the_old_one() -> None:
    if sum(map(_is_free, os.sched_getaffinity(0))) < 2:
        pytest.skip("needs two processors without a container")
    first = CpuClaim(None)
    start = first.cpu
    other = next(filter(_is_free, first.others))
    try:
        assert start not in first.others
        assert first.move(other)
        assert first.cpu == other
        assert start in first.others
        assert other not in first.others
        assert _is_free(start)
        assert not _is_free(other)
        second = CpuClaim(None)
        try:
            assert second.cpu != other
            assert not second.move(other)
            assert not first.move(second.cpu)
            assert first.cpu == other
        finally:
            second.let_go()
    finally:
        first.let_go()
    assert _is_free(other)


class Place:
    """A claim on CPU 1, with 0 free as well."""

    def __init__(self) -> None:
        self.cpu = 1
        self.others = frozenset({0})

    def move(self, cpu: int) -> bool:
        self.others = frozenset({self.cpu})
        self.cpu = cpu
        return True


class Calls:
    """Births of a container in which there are none."""

    owes = False
    in_flight = None
    numbers = None


def _rotation(place: Place, *pids: int) -> Rotation:
    """One that is due, of a container whose processes all sleep."""
    turns = Turns(set(), lambda: False, Seen)
    table: Any = SimpleNamespace(by_vpid={}, by_pidfd={})
    for pid in pids:
        process = Process(str(pid), pid, Clock(Rates()), Stream(root_seed(0)))
        process.pid = process.pidfd = pid
        table.by_vpid[pid] = table.by_pidfd[pid] = process
        turns.keeps(Made(pid), process)
    births: Any = Calls()
    return Rotation(place, 1, table, turns, births, lambda: True, stay=0)


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> dict[int, set[int]]:
    """Where everybody was put."""
    places: dict[int, set[int]] = {}
    monkeypatch.setattr(os, "sched_setaffinity", places.__setitem__)
    return places


def test_all_of_it_goes(moved: dict[int, set[int]]) -> None:
    place = Place()
    _rotation(place, 101, 102, 103).look()
    assert place.cpu == 0
    assert all(moved[pid] == {0} for pid in (0, 101, 102, 103))


def test_all_of_it_comes_back_if_somebody_cannot_go(
    moved: dict[int, set[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(pid: int, cpus: set[int]) -> None:
        if pid == 102:
            raise PermissionError
        moved[pid] = cpus

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    # It must not even try again, however soon it may.
    monkeypatch.setattr("nsbuild.supervisor.rotation._RETRY_SECONDS", 0)
    place = Place()
    rotation = _rotation(place, 101, 102, 103)
    rotation.look()
    assert place.cpu == 1
    assert set(map(frozenset, moved.values())) == {frozenset({1})}
    assert {0, 101} <= set(moved)
    moved.clear()
    rotation.look()
    assert not moved


def test_who_was_told_where_to_be_goes_nowhere() -> None:
    cpu = min(os.sched_getaffinity(0))
    claim = CpuClaim(cpu)
    assert claim.cpu == cpu
    assert not claim.others
