"""How often a call returns EINTR that never does so natively, under SIGALRM at 5 kHz.

docs/signals.md explains the window that is left. libc's clock calls must show none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.common import guest, inside, output, pinned, title


def show(name: str, command: Sequence[str | Path]) -> None:
    """Run the guest and print its counts as shares."""
    lines = [line.split() for line in output(command).splitlines()]
    counts = {kind: (int(calls), int(interrupted)) for kind, calls, interrupted in lines}
    signals, _ = counts.pop("signals")
    for kind, (calls, interrupted) in counts.items():
        share = 100 * interrupted / calls
        print(f"  {name:<24}{kind:<22}{interrupted:>7} of {calls} calls, {share:.3f} %")
    print(f"  {name:<24}signals that came: {signals}")


def main(quick: bool) -> None:
    """Print the counts."""
    binary = guest("storm")
    count = "20000" if quick else "200000"
    title("EINTR under SIGALRM at 5 kHz, handler without SA_RESTART")
    show("native", pinned(binary, count))
    show("nsbuild", inside(binary, count))
    show("nsbuild --sched=other", inside(binary, count, options=["--sched=other"]))
