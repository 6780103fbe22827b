"""A process's number in another PID namespace: by ioctl, and as older kernels tell it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nsbuild.kernel.namespaces import number_in
from nsbuild.supervisor import processes

OLDER = (errno.ENOTTY, errno.EINVAL)
"""What ioctl(2) says before Linux 6.11."""

# A child in a PID namespace of its own, where it is number 1; the parent says both numbers.
NESTED = """
import os, sys
os.chdir("/proc")
sys.path.insert(0, sys.argv[1])
from nsbuild.kernel.namespaces import CLONE_NEWPID, CLONE_NEWUSER, number_in, unshare
from nsbuild.supervisor import processes
unshare(CLONE_NEWPID | (CLONE_NEWUSER if os.geteuid() else 0))
read, write = os.pipe()
child = os.fork()
if child == 0:
    os.read(read, 1)
    os._exit(0)
print(processes._number_by_pidfd(os.pidfd_open(child)))
try:
    print(number_in(os.open(f"{child}/ns/pid", os.O_RDONLY), child))
except OSError as error:
    print(error.errno)
os.write(write, b".")
os.waitpid(child, 0)
"""


def test_both_ways_tell_the_same() -> None:
    root = str(Path(processes.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", NESTED, root], capture_output=True, text=True, check=False
    )
    if "unshare" in done.stderr:
        pytest.skip("no namespaces here")
    by_pidfd, by_ioctl = map(int, done.stdout.split())
    assert by_pidfd == 1
    assert by_ioctl == 1 or by_ioctl in OLDER


def test_a_process_that_has_ended_has_none() -> None:
    child = os.fork()
    if child == 0:
        signal.pause()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    here = os.open("/proc/self/ns/pid", os.O_RDONLY)
    number = 0
    try:
        number_in(here, child)
    except OSError as error:
        number = error.errno or 0
    os.close(here)
    assert number in (errno.ESRCH, *OLDER)
