"""Where everybody goes when a container changes CPUs (nsbuild/supervisor/rotation.py)."""

from __future__ import annotations

import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsbuild.container.cpu import CpuClaim
from nsbuild.supervisor.rotation import followed, nearest

CPUS = st.integers(0, 7)


@given(st.sets(CPUS, min_size=2), st.data())
def test_there_and_back_again(all_of_them: set[int], data: st.DataObject) -> None:
    old, new = data.draw(st.permutations(sorted(all_of_them)))[:2]
    assert followed({old}, old, new) == {new}
    assert followed(all_of_them - {old}, old, new) == all_of_them - {new}
    assert followed(all_of_them, old, new) == all_of_them
    for cpus in ({old}, all_of_them - {old}, all_of_them):
        assert followed(followed(cpus, old, new), new, old) == cpus


@given(CPUS, st.sets(CPUS))
def test_the_nearest_first(cpu: int, others: set[int]) -> None:
    found = nearest(cpu, others)
    assert set(found) == others
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
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two processors")
    first = CpuClaim(None)
    start = first.cpu
    (other, *_) = nearest(start, first.others)
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


def test_who_was_told_where_to_be_goes_nowhere() -> None:
    cpu = min(os.sched_getaffinity(0))
    claim = CpuClaim(cpu)
    assert claim.cpu == cpu
    assert not claim.others
