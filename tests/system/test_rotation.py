"""Under SCHED_FIFO a container changes CPUs, all of it at once (nsbuild/supervisor/rotation.py)."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from nsbuild.supervisor.rotation import STAY_SECONDS
from tests.system.capabilities import needs
from tests.system.harness import TIMEOUT, Runner

PIPES = r"""
i=0
while [ $i -lt 400 ]; do
    { echo $i; date +%s.%N; } | sed 's/1/2/' | tee -a log | tr 3 4
    i=$((i + 1))
done
(date +%N; : >one) & (date +%N; : >two) & wait
ls --full-time log one two
"""
"""Some seconds of programs in pipes, and what each sees on its clock."""


@pytest.fixture(autouse=True)
def _several() -> None:
    needs("two processors", len(os.sched_getaffinity(0)) > 1)
    limit = Path("/proc/sys/kernel/sched_rt_runtime_us").read_text().strip()
    needs("a kernel that limits SCHED_FIFO (kernel.sched_rt_runtime_us)", limit != "-1")


SUPERVISOR = "nsbuild-super"
"""Its name as the kernel keeps it; when it ends, its aides are children of its parent's."""

Place = tuple[int, set[int]]
"""A process, and where it may run."""


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Container(NamedTuple):
    """One that writes a file `log` to its directory, and what it says to the pipe."""

    process: subprocess.Popen[bytes]
    directory: Path


def _places(container: Container) -> tuple[Place, list[Place]] | None:
    """The supervisor and all others under SCHED_FIFO, where they stand still.

    While a container is made, its supervisor goes out of the way.
    """
    if not (container.directory / "log").exists():
        return None
    try:
        (supervisor,) = _children(container.process.pid)
        if Path(f"/proc/{supervisor}/comm").read_text().strip() != SUPERVISOR:
            return None
        before = os.sched_getaffinity(supervisor)
        everybody = [supervisor]
        for pid in everybody:
            everybody += _children(pid)
        fifo = [pid for pid in everybody[1:] if os.sched_getscheduler(pid) == os.SCHED_FIFO]
        others = [(pid, os.sched_getaffinity(pid)) for pid in fifo]
        still = os.sched_getaffinity(supervisor) == before and len(before) == 1
    except (OSError, ValueError):
        # Somebody has ended meanwhile.
        return None
    return ((supervisor, before), others) if still else None


@contextmanager
def _container(root: Runner, *options: str, script: str = PIPES) -> Iterator[Container]:
    directory = root.directory()
    command = root.command("exec", "--sched=fifo", *options, "/", "dash", "-ec", script)
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=root.environment(),
        cwd=directory,
    ) as process:
        try:
            yield Container(process, directory)
        finally:
            process.terminate()


def _watch(container: Container, seen: Callable[[Place, list[Place]], None]) -> bytes:
    """Look at it until it ends; returns what it has said."""
    process = container.process
    end = time.monotonic() + TIMEOUT
    while process.poll() is None and time.monotonic() < end:
        places = _places(container)
        if places is not None:
            seen(*places)
        time.sleep(STAY_SECONDS / 20)
    assert process.stdout is not None
    written = process.stdout.read()
    assert process.wait(TIMEOUT) == 0
    return written


def test_all_of_it_changes_at_once_and_nothing_comes_out_otherwise(root: Runner) -> None:
    cpus: set[int] = set()
    apart: list[tuple[Place, Place]] = []
    company = 0

    def seen(supervisor: Place, others: list[Place]) -> None:
        nonlocal company
        cpus.update(supervisor[1])
        company = max(company, len(others))
        apart.extend((supervisor, other) for other in others if other[1] != supervisor[1])

    with _container(root) as container:
        written = _watch(container, seen)
    assert len(cpus) > 1
    assert company > 3
    # A program may start between two looks; one that stays behind is seen again and again.
    assert len(apart) < 3, apart
    with _container(root, f"--cpu={max(os.sched_getaffinity(0))}") as container:
        assert _watch(container, lambda *_: None) == written
    assert written.count(b"\n") > 800


def test_on_a_certain_cpu_it_stays(root: Runner) -> None:
    cpus: set[int] = set()
    with _container(root, "--cpu=0") as container:
        _watch(container, lambda supervisor, _: cpus.update(supervisor[1]))
    assert cpus == {0}


def test_two_containers_never_meet(root: Runner) -> None:
    """With two CPUs each stays, with more they change, but not to where the other is."""
    met = 0
    with _container(root) as first, _container(root) as second:
        for _ in range(60):
            before = _places(first)
            between = _places(second)
            after = _places(first)
            if before and between and after and before[0] == after[0]:
                met += before[0][1] == between[0][1]
            time.sleep(STAY_SECONDS / 20)
        for container in (first, second):
            _watch(container, lambda *_: None)
    assert not met


def test_threads_stay_where_they_are(root: Runner) -> None:
    """Of a thread that has been born and has not called yet not all kernels tell."""
    script = "exec /usr/bin/python3 -c '{}'".format(
        "import threading, os\n"
        "gate = threading.Event()\n"
        "threading.Thread(target=gate.wait).start()\n"
        'open("log", "w").close()\n'
        'for _ in range(30000): os.stat("/")\n'
        "gate.set()"
    )
    cpus: set[int] = set()
    with _container(root, script=script) as container:
        _watch(container, lambda supervisor, _: cpus.update(supervisor[1]))
    assert len(cpus) == 1
