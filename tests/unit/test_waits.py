"""When a deadline fires though not everything waits: see Waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from nsbuild.determinism.clock import Clock, Rates
from nsbuild.determinism.entropy import Stream, root_seed
from nsbuild.supervisor.deadline import Deadline
from nsbuild.supervisor.idle import BUSY, Verdict
from nsbuild.supervisor.processes import Process
from nsbuild.supervisor.waits import Quiet, Waits


@pytest.mark.parametrize(
    ("seconds", "verdict", "over"),
    [
        (9, Verdict(BUSY, ticks=300), False),
        (11, Verdict(BUSY, ticks=300), True),
        (11, Verdict(BUSY, ticks=300, runs=True), False),
        (2, Verdict(BUSY, ticks=450, runs=True), True),
        (2, Verdict(BUSY, ticks=350, runs=True), False),
    ],
)
def test_who_is_kept_from_the_cpu_lets_nothing_fire(
    seconds: int, verdict: Verdict, over: bool
) -> None:
    """Who sleeps for a disk for ten seconds does, and who has used a second of CPU time."""
    now = time.monotonic()
    waits = Waits.__new__(Waits)
    waits._seen = 0
    waits._quiet = Quiet(BUSY, 0, now - seconds, used=3.0)
    process = Process("1", 2, Clock(Rates()), Stream(root_seed(0)))
    deadline = Deadline(process, duration=10_000_000)
    deadline.since = now - seconds
    assert waits._is_over(deadline, verdict) is over


@pytest.mark.parametrize("changed", [None, lambda: False])
def test_who_waits_for_memory_is_known(changed: Callable[[], bool] | None) -> None:
    waits = Waits.__new__(Waits)
    held: dict[int, Any] = {2: SimpleNamespace(changed=None), 3: SimpleNamespace(changed=changed)}
    waits._by_tid = held
    assert waits.of_memory is (changed is not None)
