"""Threads: what a program determines itself repeats everywhere, what the schedule does under FIFO.

docs/threads.md has the promises.
"""

from __future__ import annotations

import contextlib

import pytest

from tests.system.harness import Outcome, Runner, load

RUNS = 4


def runs(runner: Runner, *argv: str, options: tuple[str, ...] = ()) -> list[Outcome]:
    """RUNS runs, every second one beside a busy process on each CPU."""
    seen = []
    for number in range(RUNS):
        with load() if number % 2 else contextlib.nullcontext():
            seen.append(runner.exec(*argv, options=options).ok())
    return seen


@pytest.mark.parametrize("policy", ["auto", "other"])
def test_a_program_without_races_repeats_under_every_policy(root: Runner, policy: str) -> None:
    seen = runs(root, root.guest("threads"), "free", options=(f"--sched={policy}",))
    assert len(set(seen)) == 1
    assert len(seen[0].lines) == 31


def test_the_policies_agree_about_it(root: Runner, user: Runner) -> None:
    """The values, too, follow from the program alone: whoever runs it, and however."""
    outputs = {
        runner.exec(runner.guest("threads"), "free", options=options).ok().stdout
        for runner, options in ((root, ()), (root, ("--sched=other",)), (user, ()))
    }
    assert len(outputs) == 1


def test_it_differs_bare(root: Runner) -> None:
    root.twice(root.guest("threads"), "free").ok()


def test_a_race_repeats_under_fifo(root: Runner) -> None:
    """The order in which threads get a mutex; bare it differs, so there is a race."""
    seen = runs(root, root.guest("threads"), "race", options=("--sched=fifo",))
    assert len(set(seen)) == 1
    changes = int(seen[0].lines[0].split()[3])
    assert changes > 100, "the threads hardly ever took turns"
    # Of the order alone: the second line has the clock.
    bare = {root.bare(root.guest("threads"), "race").lines[0] for _ in range(2 * RUNS)}
    assert len(bare) > 1
