"""Threads: what a program determines itself repeats everywhere, what the schedule does under FIFO.

docs/threads.md has the promises.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

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


PAGES = 512


def forget(*files: Path) -> None:
    """Let the kernel have the contents on the disk only."""
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def test_a_disk_is_not_waited_for_between_threads(root: Runner) -> None:
    """The order of threads that use files is the same whether these are in memory or not."""
    directory = Path(root.directory("disk-"))
    files = [directory / name for name in ("mapped", "opened")]
    for path in files:
        path.write_bytes(bytes(4096 * PAGES))
    names = [str(path) for path in files]
    volume = f"--volume={directory}:{directory}"

    def run() -> tuple[str, ...]:
        command = (root.guest("disk"), *names)
        return tuple(root.exec(*command, options=("--sched=fifo", volume)).ok().lines)

    forget(*files)
    first = run()
    again = run()
    forget(*files)
    assert first == again == run()
    # Who opens a file waits for the supervisor and lets the other go first, but for nobody else.
    assert len(first) <= 4
