"""What the benchmarks share: guests, alternating rounds, the host's load, tables."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

HERE = Path(__file__).resolve().parent
REPO = HERE.parent
CACHE = Path(os.environ.get("BENCH_DIR") or REPO / ".cache" / "bench")
"""Where everything is built. An ext4 without a journal makes files slowly for minutes after others
were removed (docs/qubes-builder.md), and so is none to measure on."""
RT_RUNTIME = Path("/proc/sys/kernel/sched_rt_runtime_us")
RT_PERIOD = Path("/proc/sys/kernel/sched_rt_period_us")
NSBUILD = os.environ.get("NSBUILD") or str(Path(sys.executable).with_name("nsbuild"))

Value = TypeVar("Value")
Command = Sequence[str | Path]


class CannotMeasure(Exception):
    """A command that is to be measured does not work; the message says which and what it said."""


def cpu() -> int:
    """The CPU that everything is pinned to: the last allowed one, far from most interrupts."""
    return max(os.sched_getaffinity(0))


def pinned(*command: str | Path) -> list[str | Path]:
    """The command on that CPU, without nsbuild."""
    return ["taskset", "--cpu-list", str(cpu()), *command]


def inside(*command: str | Path, options: Sequence[str] = ()) -> list[str | Path]:
    """The command under `nsbuild exec` on that CPU, with the host's own root."""
    return [NSBUILD, "exec", f"--cpu={cpu()}", *options, "/", *command]


def anywhere(*command: str | Path) -> list[str | Path]:
    """The same on the CPUs that nsbuild chooses, one at a time."""
    return [NSBUILD, "exec", "/", *command]


def python_only(command: Command) -> list[str | Path]:
    """The command under an nsbuild that does without its C extension."""
    return ["env", "NSBUILD_HOTCALLS=0", *command]


def guest(name: str) -> Path:
    """Compile benchmarks/NAME.c, static, into the cache directory."""
    CACHE.mkdir(parents=True, exist_ok=True)
    source, binary = HERE / f"{name}.c", CACHE / name
    output(["gcc", "-O2", "-Wall", "-Wextra", "-static", "-o", binary, source])
    return binary


def output(command: Command, cwd: Path = CACHE) -> str:
    """Run a command and return its standard output; CannotMeasure when it fails."""
    cwd.mkdir(parents=True, exist_ok=True)
    words = [str(word) for word in command]
    if shutil.which(words[0]) is None:
        raise CannotMeasure(f"{words[0]} is not installed")
    done = subprocess.run(
        words, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise CannotMeasure(f"exit status {done.returncode} from {' '.join(words)}: {said}")
    return done.stdout


def seconds(command: Command, cwd: Path = CACHE) -> float:
    """How long the command takes by the wall clock."""
    start = time.perf_counter()
    output(command, cwd)
    return time.perf_counter() - start


def alternate(
    candidates: Mapping[str, Callable[[], Value]], rounds: int, *, warm_up: bool = True
) -> dict[str, list[Value]]:
    """Measure each candidate `rounds` times, in turns, so that all see the same host.

    A candidate that cannot be measured is named and left out, unless it is nsbuild.
    """
    working = dict(candidates)
    for name, measure in candidates.items():
        try:
            if warm_up:
                measure()
        except CannotMeasure as error:
            if name.startswith("nsbuild"):
                raise
            print(f"  {name}: not measured: {error}")
            del working[name]
    found: dict[str, list[Value]] = {name: [] for name in working}
    for _ in range(rounds):
        for name, measure in working.items():
            found[name].append(measure())
    return found


@contextmanager
def load(processes: int) -> Iterator[None]:
    """Keep the host busy with that many spinning processes, wherever they are put."""
    spin = [sys.executable, "-SIc", "while True: pass"]
    running = [subprocess.Popen(spin) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def throttled() -> bool:
    """Whether this kernel may stop SCHED_FIFO for a part of each second, and we may change that.

    That is what kernel.sched_rt_runtime_us says (sched(7)), which Linux 6.12 and later heed only
    with CONFIG_RT_GROUP_SCHED.
    """
    runtime, period = (int(path.read_text()) for path in (RT_RUNTIME, RT_PERIOD))
    return 0 <= runtime < period and os.access(RT_RUNTIME, os.W_OK)


@contextmanager
def unthrottled() -> Iterator[None]:
    """Let SCHED_FIFO have all of its CPU, on the whole host, until the block ends."""
    before = RT_RUNTIME.read_text()
    RT_RUNTIME.write_text("-1")
    try:
        yield
    finally:
        RT_RUNTIME.write_text(before)


def title(text: str) -> None:
    print(f"\n{text}")


def table(samples: Mapping[str, Sequence[float]], unit: str, scale: float, base: str) -> None:
    """Print median, extremes and the ratio of the medians to that of `base`."""
    reference = statistics.median(samples[base])
    print(f"  {'':<34}{'median':>10}{'min':>10}{'max':>10} {unit:<4}{'ratio':>8}")
    for name, values in samples.items():
        median = statistics.median(values)
        print(
            f"  {name:<34}{median * scale:>10.2f}{min(values) * scale:>10.2f}"
            f"{max(values) * scale:>10.2f} {unit:<4}{median / reference:>8.2f}"
        )
