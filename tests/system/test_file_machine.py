"""Random sequences of file operations by several processes, in a container and against a model.

All sequences of a run go through in one container, each in a directory of its own with the same
inputs in it. Two runs, on other file systems and at other times, must print the same to the last
field and leave the same times on disk; every line must be what the model (filemodel) allows; and
the kernel, bare, must agree with the model about everything but times and numbers.

NSBUILD_MACHINE_EXAMPLES=N draws N sequences at random instead of the same ones every time.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.guests.build import SOURCES
from tests.system.filemodel import Model, Wrong
from tests.system.filesteps import WALK, Steps, draw, inputs, lay_out
from tests.system.harness import TIMEOUT, Outcome, Runner, difference, load, next_second

EXAMPLES = int(os.environ.get("NSBUILD_MACHINE_EXAMPLES", "0"))
FIXED = 60
NSEC = 1_000_000_000
PYTHON = ("/usr/bin/python3", "-I", "-S", "-c", (SOURCES / "filemachine.py").read_text())


class Sequence(NamedTuple):
    """Steps, and whether they are done on an overlay or in the working directory."""

    steps: Steps
    overlaid: bool


class Result(NamedTuple):
    """What a run printed, and the mtimes on disk after it; `real` are those of the host's clock."""

    outcome: Outcome
    left: list[str]
    real: list[str]


class Bench:
    """Runs sequences as one account.

    What is `overlaid` lies outside the working directory, where the container has an overlay.
    """

    def __init__(self, ns: Runner) -> None:
        self.ns = ns
        self.owner = (ns.account.uid, ns.account.gid)
        self.above = ns.directory("overlaid-")

    def lay_out(self, sequences: list[Sequence], cwd: Path) -> bytes:
        """Make the inputs for each sequence in a directory of its own; what the guest reads."""
        shutil.rmtree(self.above)
        self.above.mkdir()
        os.chown(self.above, *self.owner)
        work = []
        for number, sequence in enumerate(sequences):
            place = (self.above if sequence.overlaid else cwd) / str(number)
            lay_out(place, self.owner)
            work.append((str(place) if sequence.overlaid else place.name, sequence.steps))
        return json.dumps(work).encode()

    def run(self, sequences: list[Sequence], cwd: Path) -> Result:
        """All of them in one container."""
        stdin = self.lay_out(sequences, cwd)
        since = time.time_ns() - NSEC
        outcome = self.ns.exec(*PYTHON, stdin=stdin, cwd=cwd, timeout=TIMEOUT + len(sequences))
        times = {
            str(path.relative_to(cwd)): path.lstat().st_mtime_ns for path in sorted(cwd.rglob("*"))
        }
        real = [path for path, when in times.items() if since <= when <= time.time_ns()]
        return Result(outcome, [f"{path} {when}" for path, when in times.items()], real)

    def bare(self, sequences: list[Sequence]) -> Outcome:
        """What the kernel itself makes of them."""
        cwd = self.ns.directory()
        stdin = self.lay_out(sequences, cwd)
        command = [*self.ns.account.prefix, *PYTHON]
        return self.ns.outside(command, stdin=stdin, cwd=cwd)


def complaints(result: Result, sequences: list[Sequence]) -> dict[int, str]:
    """What is wrong with a run, by sequence."""
    found = {int(path.partition("/")[0]): f"real time is left in {path}" for path in result.real}
    return found | not_allowed(result.outcome, sequences, False)


def not_allowed(outcome: Outcome, sequences: list[Sequence], bare: bool) -> dict[int, str]:
    """What the model does not allow, by sequence."""
    lines: list[dict[str, list[Any]]] = [{} for _ in sequences]
    for line in outcome.ok().lines:
        said = json.loads(line)
        lines[int(said[0].partition(".")[0])].setdefault(said[0], []).append(said)
    found = {}
    for number, (steps, overlaid) in enumerate(sequences):
        try:
            Model(str(number), lines[number], inputs(), bare, overlaid and not bare).run(steps)
        except Wrong as wrong:
            found[number] = str(wrong)
    return found


def shorter(bench: Bench, sequence: Sequence) -> str:
    """The complaint of a sequence from which all was left out that it is wrong without."""
    steps, overlaid = sequence
    said = "right when done alone"
    size = len(steps)
    while size:
        starts = range(0, len(steps), size)
        trials = [Sequence(steps[:start] + steps[start + size :], overlaid) for start in starts]
        wrong = complaints(bench.run(trials, bench.ns.directory()), trials)
        if wrong:
            number, said = wrong.popitem()
            steps = trials[number].steps
            size = min(size, len(steps))
        else:
            size //= 2
    return f"{said}\n{json.dumps(steps)}, overlaid: {overlaid}"


def sequences_for(ns: Runner) -> list[Sequence]:
    """Half of them look at everything in the end; what the others left unseen shows on disk.

    A user's overlay cannot copy up directories of strangers, in which those of the tests lie.
    """
    return [
        Sequence(steps + WALK if number % 4 < 2 else steps, ns.is_root and bool(number % 2))
        for number, steps in enumerate(draw(EXAMPLES or FIXED, not EXAMPLES))
    ]


@contextmanager
def elsewhere(ns: Runner) -> Iterator[Path]:
    """A working directory on a tmpfs."""
    path = Path(tempfile.mkdtemp(prefix="nsbuild-test-", dir="/dev/shm"))
    try:
        os.chown(path, ns.account.uid, ns.account.gid)
        path.chmod(0o755)
        yield path
    finally:
        shutil.rmtree(path)


def test_random_steps(ns: Runner) -> None:
    bench = Bench(ns)
    sequences = sequences_for(ns)
    plain = bench.bare(sequences)
    assert not_allowed(plain, sequences, True) == {}, "the model is wrong about the kernel"
    first = bench.run(sequences, ns.directory())
    wrong = complaints(first, sequences)
    for number in wrong:
        others = "\n".join(list(wrong.values())[:20])
        pytest.fail(f"{shorter(bench, sequences[number])}\nAll {len(wrong)}:\n{others}")
    next_second(time.time())
    with load(), elsewhere(ns) as cwd:
        second = bench.run(sequences, cwd)
    changes = difference(first.outcome, second.outcome)
    assert first.outcome == second.outcome, f"two runs under nsbuild differ: {changes}"
    assert first.left == second.left, "what is left on disk differs"
    assert bench.bare(sequences) != plain
