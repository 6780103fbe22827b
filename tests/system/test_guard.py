"""The guard keeps the guest from running while the supervisor sleeps, and nobody else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.capabilities import needs
from tests.system.harness import TIMEOUT

REPO = Path(__file__).parents[2]

# A supervisor that sleeps under its guard for a while; how far an ordinary task and one of the
# guest's priority come meanwhile on the same CPU.
_SLEEP = """
import json, os, sys, time
from nsbuild.kernel.sharedmem import SharedWords
from nsbuild.supervisor.guard import Guard

os.chdir("/proc")
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
guarded, mine = sys.argv[1] == "guarded", os.stat("self/ns/pid").st_ino
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(20))
words = SharedWords().words
children = []

def spin(word, priority):
    child = os.fork()
    if child:
        children.append(child)
        return
    kind = os.SCHED_FIFO if priority else os.SCHED_OTHER
    os.sched_setscheduler(0, kind, os.sched_param(priority))
    while True:
        words[word] += 1

spin(0, 0)
if sys.argv[2] == "guest":
    spin(1, 10)
guard = Guard(11, mine if sys.argv[2] == "guest" else 0)
if guarded:
    with guard():
        time.sleep(0.4)
else:
    time.sleep(0.4)
came = list(words[:2])
for child in children:
    os.kill(child, 9)
print(json.dumps(came))
"""


@pytest.fixture(autouse=True)
def _possible() -> None:
    needs("root, for SCHED_FIFO", os.geteuid() == 0)
    needs("two processors", (os.cpu_count() or 1) > 1)


def _came(guarded: str, guest: str) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", _SLEEP, guarded, guest],
        cwd=REPO,
        check=True,
        capture_output=True,
        timeout=TIMEOUT,
    )
    came: list[int] = json.loads(done.stdout)
    return came


def test_the_guest_does_not_run() -> None:
    assert _came("bare", "guest")[1] > 0
    assert _came("guarded", "guest")[1] == 0


def test_ordinary_tasks_run_while_nobody_of_the_guest_could() -> None:
    """They may be what brings the pages, where the disk interrupts this CPU."""
    assert _came("guarded", "nobody")[0] > 0
