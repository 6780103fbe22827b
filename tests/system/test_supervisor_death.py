"""kill -9 of the supervisor: the container dies with it, the caller learns it, nothing is left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.system.harness import TIMEOUT, Runner
from tests.system.leftovers import MARK, children, marked, new_mark, none_marked, snapshot

BUSY = (
    "while :; do (date; od -An -N8 /dev/urandom) | cat & sh -c 'mktemp; sleep 1' & wait; done; "
    "echo survived >survived"
)
MOMENTS = int(os.environ.get("NSBUILD_KILLS", "10"))


@contextmanager
def busy(ns: Runner, mark: dict[str, str], cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A container with busy processes, which bear `mark` like nsbuild itself."""
    arguments = () if ns.is_root else ("--sched=other",)
    process = subprocess.Popen(
        ns.command("exec", *arguments, "-e", MARK, "/", "dash", "-c", BUSY),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=ns.environment() | mark,
        cwd=cwd,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def status(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def is_supervisor(pid: int) -> bool:
    """Not a program that the front runs to look something up."""
    return "Name:\tnsbuild-super\n" in status(pid)


def is_process_1(pid: int) -> bool:
    """Not the process that enters the namespaces to fork init."""
    return f"\nNSpid:\t{pid}\t1\n" in status(pid)


def child(process: subprocess.Popen[bytes], pid: int, wanted: Callable[[int], bool]) -> int:
    """The child of `pid` that is `wanted`, as soon as there is one; `process` must go on."""
    end = time.monotonic() + TIMEOUT
    while True:
        assert process.poll() is None
        assert time.monotonic() < end
        for found in children(pid):
            if wanted(found):
                return found


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_killed_at_a_random_moment(ns: Runner, moment: int) -> None:
    """From the moment that it exists, which is before the container does, to half a second on."""
    delay = random.Random(moment).uniform(0, 0.4) if moment else 0.0
    cwd, mark = ns.directory(), new_mark()
    before = snapshot(cwd)
    with busy(ns, mark, cwd) as process:
        supervisor = child(process, process.pid, is_supervisor)
        time.sleep(delay)
        os.kill(supervisor, signal.SIGKILL)
        assert process.wait(TIMEOUT) == 125
        assert none_marked(mark), "processes left behind"
    assert snapshot(cwd) == before, "something left behind"


def test_the_caller_killed_takes_all_with_it(ns: Runner) -> None:
    """kill -9 of the nsbuild that the user started."""
    cwd, mark = ns.directory(), new_mark()
    before = snapshot(cwd)
    with busy(ns, mark, cwd) as process:
        child(process, process.pid, is_supervisor)
        time.sleep(0.4)
        assert len(marked(mark)) > 3, "the container's processes bear no mark"
        process.kill()
        process.wait()
        assert none_marked(mark), "processes left behind"
    assert snapshot(cwd) == before, "something left behind"


def test_process_1_killed_from_outside(ns: Runner) -> None:
    cwd, mark = ns.directory(), new_mark()
    before = snapshot(cwd)
    with busy(ns, mark, cwd) as process:
        supervisor = child(process, process.pid, is_supervisor)
        os.kill(child(process, supervisor, is_process_1), signal.SIGKILL)
        assert process.wait(TIMEOUT) == 125
        assert none_marked(mark), "processes left behind"
    assert snapshot(cwd) == before, "something left behind"
