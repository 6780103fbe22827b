"""Causal names and the process numbers that follow from them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsbuild.determinism.names import (
    FIRST_PID,
    PID_LIMIT,
    ROOT,
    child_name,
    next_free,
    preferred_pid,
)

PATHS = st.lists(st.integers(0, 5000), max_size=12)


def name_of(path: list[int]) -> str:
    name = ROOT
    for ordinal in path:
        name = child_name(name, ordinal)
    return name


def test_names_count_from_one() -> None:
    assert name_of([]) == "1"
    assert name_of([2, 0]) == "1.3.1"


@given(PATHS, PATHS)
def test_names_tell_processes_apart(one: list[int], other: list[int]) -> None:
    assert (name_of(one) == name_of(other)) == (one == other)


@given(PATHS)
def test_numbers_are_in_range_and_follow_from_the_name(path: list[int]) -> None:
    pid = preferred_pid(name_of(path))
    assert FIRST_PID <= pid < PID_LIMIT
    assert pid == preferred_pid(name_of(path))


@given(PATHS, st.integers(0, 300))
def test_a_taken_number_falls_to_the_next_free_one(path: list[int], busy: int) -> None:
    name = name_of(path)
    span = PID_LIMIT - FIRST_PID
    wish = preferred_pid(name)
    taken = {FIRST_PID + (wish - FIRST_PID + i) % span for i in range(busy)}
    assert next_free(wish, taken.__contains__) == FIRST_PID + (wish - FIRST_PID + busy) % span


def test_no_number_left() -> None:
    with pytest.raises(LookupError):
        next_free(FIRST_PID, lambda _: True)


def test_numbers_spread_evenly() -> None:
    """A thousand siblings get almost a thousand numbers: collisions are as rare as by chance."""
    numbers = {preferred_pid(child_name(ROOT, i)) for i in range(1000)}
    assert len(numbers) > 970
