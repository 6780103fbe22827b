"""Whether the schedule itself repeats: six racing shells on one CPU, on a loaded host.

Every line of every shell goes into one pipe, so the order of the lines is the interleaving. The
figure is the share of runs with the commonest one; under SCHED_FIFO it should be 95 % and more.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common import inside, load, output, pinned, title

RACE = """
for shell in 1 2 3 4 5 6; do
  (
    line=0
    while [ $line -lt 40 ]; do
      line=$((line + 1))
      echo "$shell $line"
      [ $((line % 10)) -ne 0 ] || /bin/true
    done
  ) &
done
wait
"""


def repeats(command: Sequence[str | Path], runs: int) -> tuple[int, int]:
    """(runs that show the commonest interleaving, number of different ones)."""
    seen = Counter(hashlib.sha256(output(command).encode()).digest() for _ in range(runs))
    return seen.most_common(1)[0][1], len(seen)


def main(quick: bool) -> None:
    """Print the shares."""
    runs = 20 if quick else 100
    race = ["sh", "-c", RACE]
    commands: dict[str, list[str | Path]] = {
        "bare on one CPU": pinned(*race),
        "nsbuild --sched=other": inside(*race, options=["--sched=other"]),
        "nsbuild (auto)": inside(*race),
    }
    title(f"six racing shells, {runs} runs, loaded host")
    with load(2 * (os.cpu_count() or 1)):
        for name, command in commands.items():
            most, different = repeats(command, runs)
            print(f"  {name:<34}{100 * most / runs:>6.1f} % the same, {different} interleavings")
