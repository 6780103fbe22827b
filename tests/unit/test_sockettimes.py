"""Timeouts of sockets: how the kernel keeps one for us, and how a call is ended for one."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsbuild.kernel import ptrace
from nsbuild.kernel.x86_64 import NR
from nsbuild.supervisor.endcall import end_call
from nsbuild.supervisor.sockettimes import TIMEVAL, Blocked, hidden_in, hide

LONGEST = (1 << 51) - 1
OPTIONS = (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO)


@given(st.integers(1, 1 << 60), st.sampled_from(OPTIONS))
def test_the_kernel_keeps_it(timeout: int, option: int) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.setsockopt(socket.SOL_SOCKET, option, hide(timeout))
        kept = one.getsockopt(socket.SOL_SOCKET, option, TIMEVAL.size)
    assert hidden_in(kept) == min(timeout, LONGEST)


@pytest.mark.parametrize("seconds", [0, 1, 1 << 40])
def test_what_hides_none(seconds: int) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, TIMEVAL.pack(seconds, 0))
        kept = one.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, TIMEVAL.size)
    assert hidden_in(kept) is None


def forked(what: Callable[[int], int]) -> tuple[int, int]:
    """A child that does `what` with a descriptor, to which it has nothing to read, and ours of it.

    It writes first, and ends with what it is told by `what`.
    """
    ours, theirs = socket.socketpair()
    child = os.fork()
    if not child:
        status = 99
        try:
            ours.close()
            os.write(theirs.fileno(), b"x")
            status = what(theirs.fileno())
        finally:
            os._exit(status)
    theirs.close()
    assert ours.recv(1) == b"x"
    while "S" not in Path(f"/proc/{child}/stat").read_text().rpartition(")")[2]:
        time.sleep(0.001)
    return child, ours.detach()


def reads(fd: int) -> int:
    try:
        os.read(fd, 1)
    except OSError as error:
        return error.errno or 98
    return 0


def blocked(child: int, number: int) -> Blocked:
    return Blocked(child, child, child, child, 0, number, errno.ENOSTR, 1, 0)


def status_of(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_call_is_ended() -> None:
    """Python would try again after EINTR."""
    assert ptrace.available()
    child, ours = forked(reads)
    assert end_call(blocked(child, NR["read"]), lambda: True)
    assert status_of(child) == errno.ENOSTR
    os.close(ours)


@pytest.mark.parametrize(("number", "sleeps"), [("recvfrom", True), ("read", False)])
def test_another_call_goes_on(number: str, sleeps: bool) -> None:
    child, ours = forked(reads)
    assert not end_call(blocked(child, NR[number]), lambda: sleeps)
    os.write(ours, b"x")
    assert status_of(child) == 0
    os.close(ours)


def test_who_has_ended() -> None:
    child, ours = forked(reads)
    os.close(ours)
    assert status_of(child) == 0
    assert not end_call(blocked(child, NR["read"]), lambda: True)
