"""A notified call against a native one, on the same CPU.

The guest counts cycles, since inside every clock is virtual. `raw_getppid` is not notified and
shows what the filter alone costs; `libc_clock_gettime` is what programs call. `Python's floor` is a
loop that receives and answers nothing (see floor.py): what no supervisor in Python can go below. It
is notified of raw_clock_gettime and raw_getrandom alone, so its other figures are about native.
`Python only` is nsbuild without its extension for hot calls: what stat and open cost then.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common import (
    alternate,
    guest,
    inside,
    output,
    pinned,
    python_only,
    table,
    title,
)


def main(quick: bool) -> None:
    """Print one table for each kind of call."""
    binary = guest("calls")
    hertz = float(output(pinned(binary, "calibrate")).split()[1])
    count = "2000" if quick else "20000"

    def measure(command: Sequence[str | Path]) -> dict[str, float]:
        lines = [line.split() for line in output(command).splitlines()]
        return {name: float(cycles) / hertz for name, cycles in lines}

    floor: list[str | Path] = [sys.executable, "-m", "benchmarks.floor", binary, count]
    found = alternate(
        {
            "native": lambda: measure(pinned(binary, count)),
            "Python's floor": lambda: measure(floor),
            "nsbuild": lambda: measure(inside(binary, count)),
            "nsbuild, Python only": lambda: measure(python_only(inside(binary, count))),
            "nsbuild --sched=other": lambda: measure(
                inside(binary, count, options=["--sched=other"])
            ),
        },
        3 if quick else 9,
    )
    for kind in found["native"][0]:
        title(f"one call: {kind}")
        table(
            {name: [sample[kind] for sample in samples] for name, samples in found.items()},
            "us",
            1e6,
            "native",
        )
