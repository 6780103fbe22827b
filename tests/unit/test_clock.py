"""The clock: what every read, sleep, fork and reaping does to it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nsbuild.determinism.clock import MOST_STEPS, Clock, GlobalClock, Rates, cpu_steps

TIMES = st.integers(min_value=0, max_value=1 << 60)
STEPS = st.integers(min_value=1, max_value=1 << 40)
RATES = st.builds(Rates, TIMES, STEPS, STEPS)


def read_wall(clock: Clock) -> int:
    clock.wall = clock.next_wall()
    return clock.wall


def read_monotonic(clock: Clock) -> int:
    clock.monotonic = clock.next_monotonic()
    return clock.monotonic


@given(RATES, st.integers(min_value=1, max_value=50))
def test_reads_start_at_the_epoch_and_move_by_steps(rates: Rates, reads: int) -> None:
    clock = Clock(rates)
    assert [read_wall(clock) for _ in range(reads)] == [
        rates.epoch + i * rates.step for i in range(reads)
    ]
    assert [read_monotonic(clock) for _ in range(reads)] == [
        (i + 1) * rates.monotonic_step for i in range(reads)
    ]


@given(RATES)
def test_asking_for_the_next_reading_moves_nothing(rates: Rates) -> None:
    clock = Clock(rates)
    assert clock.next_wall() == clock.next_wall()
    assert clock.next_monotonic() == clock.next_monotonic()


@given(RATES, TIMES)
def test_sleep_moves_both_clocks_by_its_length(rates: Rates, duration: int) -> None:
    clock, awake = Clock(rates), Clock(rates)
    clock.sleep(duration)
    assert clock.next_wall() == awake.next_wall() + duration
    assert clock.next_monotonic() == awake.next_monotonic() + duration


@given(RATES, st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_a_child_goes_on_from_its_parent_and_disturbs_it_not(
    rates: Rates, before: int, by_child: int, by_parent: int
) -> None:
    parent, alone = Clock(rates), Clock(rates)
    for _ in range(before):
        read_wall(parent)
        read_wall(alone)
    child = parent.child()
    assert child.next_wall() == parent.next_wall()
    for _ in range(by_child):
        read_wall(child)
    for _ in range(by_parent):
        assert read_wall(parent) == read_wall(alone)


@given(RATES, TIMES, TIMES, TIMES, TIMES)
def test_merge_is_the_maximum_of_each_part(rates: Rates, a: int, b: int, c: int, d: int) -> None:
    one, other = Clock(rates), Clock(rates)
    one.wall, one.monotonic, other.wall, other.monotonic = a, b, c, d
    one.merge(other)
    assert (one.wall, one.monotonic) == (max(a, c), max(b, d))
    assert (other.wall, other.monotonic) == (c, d)


@given(RATES, st.permutations(range(4)), st.lists(TIMES, min_size=4, max_size=4))
def test_the_order_in_which_children_are_merged_does_not_matter(
    rates: Rates, order: list[int], sleeps: list[int]
) -> None:
    def merged(indices: list[int]) -> tuple[int, int]:
        parent = Clock(rates)
        for index in indices:
            child = parent.child() if index < 0 else Clock(rates)
            child.sleep(sleeps[index])
            parent.merge(child)
        return parent.wall, parent.monotonic

    assert merged(order) == merged(list(range(4)))


@given(RATES, st.integers(1, 30))
def test_the_global_clock_is_one_counter(rates: Rates, reads: int) -> None:
    clock = GlobalClock(rates)
    family = [clock, clock.child(), clock.child().child()]
    seen = [read_wall(family[i % 3]) for i in range(reads)]
    assert seen == [rates.epoch + i * rates.step for i in range(reads)]
    family[1].merge(family[2])
    assert read_wall(clock) == rates.epoch + reads * rates.step


@given(st.integers(0, 10_000))
def test_a_cpu_clock_moves_by_more_the_more_it_is_read(reads: int) -> None:
    steps = cpu_steps(reads)
    assert 1 <= steps <= cpu_steps(reads + 1) <= 2 * steps
    assert steps <= MOST_STEPS


def test_the_first_readings_of_a_cpu_clock_are_a_step_apart() -> None:
    assert [cpu_steps(reads) for reads in range(7)] == [1, 1, 1, 1, 2, 4, 8]
