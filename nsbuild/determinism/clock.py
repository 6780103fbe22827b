"""A process's clock: wall time and monotonic time that move when they are read.

Every read returns the reading before it plus one step, so the value depends on what the process did
and on nothing else. A child starts from a copy of its parent's clock; a parent's clock moves up to
that of a child that it has reaped (`merge`), as a Lamport clock does. All times are nanoseconds.

Reading is split in two: `next_wall` and `next_monotonic` say what the next reading will be and
change nothing; `wall` and `monotonic` are assigned once the answer has been taken. A call that a
signal aborts and restarts therefore gets the same reading again instead of a second tick.
"""

from __future__ import annotations

from typing import NamedTuple

NSEC_PER_SEC = 1_000_000_000

DEFAULT_EPOCH = 1450797978
"""2015-12-22T15:26:18Z, the date of the proposal this comes from; seconds since 1970."""


LATEST = (1 << 63) - 1
"""No reading is later: the kernel's KTIME_MAX, nanoseconds."""


class Rates(NamedTuple):
    """How clocks start and move: all in nanoseconds."""

    epoch: int = DEFAULT_EPOCH * NSEC_PER_SEC
    step: int = NSEC_PER_SEC
    monotonic_step: int = 1_000_000


STEADY_READS, MOST_STEPS = 4, 1000


def cpu_steps(reads: int) -> int:
    """By how many monotonic steps a CPU clock moves that has been read `reads` times before.

    First by one; then by twice as many each time, up to MOST_STEPS. A program that calibrates
    itself (gpg-agent's key derivation, a benchmark) works twice as long each time until enough CPU
    time has passed: by single steps, that would be for ever.
    """
    return min(1 << max(0, reads - STEADY_READS + 1), MOST_STEPS)


class Clock:
    """The two readings last given to the process, in nanoseconds.

    `wall` counts from 1970 and starts one step before the epoch, so that the first reading is the
    epoch itself; `monotonic` starts at 0. BOOTTIME, RAW and the coarse clocks are views of these.
    """

    __slots__ = ("monotonic", "rates", "wall")

    def __init__(self, rates: Rates) -> None:
        self.rates = rates
        self.wall = rates.epoch - rates.step
        self.monotonic = 0

    def next_wall(self) -> int:
        """What the next wall clock read returns."""
        return min(self.wall + self.rates.step, LATEST)

    def next_monotonic(self) -> int:
        """What the next monotonic read returns."""
        return min(self.monotonic + self.rates.monotonic_step, LATEST)

    def until(self, when: int, wall: bool) -> int:
        """How long it is until `when`, a wall or a monotonic reading; 0 if that is over."""
        return max(0, when - (self.wall if wall else self.monotonic))

    def sleep(self, duration: int) -> None:
        """Move by `duration` nanoseconds, as a sleep does that nobody has to wait for."""
        self.wall = min(self.wall + duration, LATEST)
        self.monotonic = min(self.monotonic + duration, LATEST)

    def child(self) -> Clock:
        """The clock a child starts with."""
        clock = Clock(self.rates)
        clock.wall = self.wall
        clock.monotonic = self.monotonic
        return clock

    def merge(self, other: Clock) -> None:
        """Move up to `other`, never back: its owner's doings lie in our past from here on."""
        self.wall = max(self.wall, other.wall)
        self.monotonic = max(self.monotonic, other.monotonic)


class GlobalClock(Clock):
    """The proposal to the letter: one counter that all processes share, schedule and all."""

    __slots__ = ()

    def child(self) -> Clock:
        """The same counter."""
        return self

    def merge(self, other: Clock) -> None:
        """Nothing to do: there is only one."""
