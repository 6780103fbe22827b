"""kill -9 of the supervisor: the container dies with it, the caller learns it, nothing is left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.system.harness import TIMEOUT, Runner
from tests.system.leftovers import children, new_mark, none_marked, snapshot

BUSY = (
    "while :; do (date; od -An -N8 /dev/urandom) | cat & sh -c 'mktemp; sleep 1' & wait; done; "
    "echo survived >survived"
)
MOMENTS = int(os.environ.get("NSBUILD_KILLS", "10"))


def start(ns: Runner, mark: dict[str, str], cwd: Path) -> subprocess.Popen[bytes]:
    arguments = () if ns.is_root else ("--sched=other",)
    return subprocess.Popen(
        ns.command("exec", *arguments, "/", "dash", "-c", BUSY),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=ns.environment() | mark,
        cwd=cwd,
    )


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_killed_at_a_random_moment(ns: Runner, moment: int) -> None:
    """From the moment that it exists, which is before the container does, to a second later."""
    delay = random.Random(moment).uniform(0, 0.4) if moment else 0.0
    cwd, mark = ns.directory(), new_mark()
    before = snapshot(cwd)
    process = start(ns, mark, cwd)
    end = time.monotonic() + TIMEOUT
    while not (found := children(process.pid)):
        assert process.poll() is None
        assert time.monotonic() < end
    time.sleep(delay)
    os.kill(found[0], signal.SIGKILL)
    assert process.wait(TIMEOUT) == 125
    assert none_marked(mark), "processes left behind"
    assert snapshot(cwd) == before, "something left behind"


def test_the_caller_killed_takes_all_with_it(ns: Runner) -> None:
    """kill -9 of the nsbuild that the user started."""
    cwd, mark = ns.directory(), new_mark()
    before = snapshot(cwd)
    process = start(ns, mark, cwd)
    end = time.monotonic() + TIMEOUT
    while not children(process.pid) and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.4)
    process.kill()
    process.wait()
    assert none_marked(mark), "processes left behind"
    assert snapshot(cwd) == before, "something left behind"


def test_process_1_killed_from_outside(ns: Runner) -> None:
    cwd, mark = ns.directory(), new_mark()
    before = snapshot(cwd)
    process = start(ns, mark, cwd)
    end = time.monotonic() + TIMEOUT
    first: list[int] = []
    while not first and time.monotonic() < end:
        first = [pid for child in children(process.pid) for pid in children(child)]
        time.sleep(0.01)
    os.kill(first[0], signal.SIGKILL)
    assert process.wait(TIMEOUT) == 125
    assert none_marked(mark)
    assert snapshot(cwd) == before
