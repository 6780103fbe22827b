"""SO_RCVTIMEO and SO_SNDTIMEO are in virtual time, for every call that they hold for.

Most timeouts here are of an hour; every run is bounded by real time from outside.
"""

from __future__ import annotations

import time

import pytest

from tests.system.harness import Runner
from tests.system.waiting import again, guests, told

TIMED_OUT = {
    "recv": -11,
    "read": -11,
    "datagram": -11,
    "readv": -11,
    "recvmsg": -11,
    "recvmmsg": -11,
    "half_recvmmsg": 1000,
    "half_recv": 4,
    "accept": -11,
    "accept4": -11,
    "connect": -115,
    "local_connect": -11,
    "write": -11,
    "send": -11,
    "writev": -11,
    "sendmsg": -11,
    "sendmmsg": -11,
    "sendfile": -11,
    "half_write": 1,
}
CAME = {
    **dict.fromkeys(("recv", "read", "readv", "recvmsg"), 5),
    **dict.fromkeys(("datagram", "recvmmsg", "accept", "accept4", "sendmmsg"), 1),
    **dict.fromkeys(("write", "send", "writev", "sendmsg", "sendfile"), 9),
    "local_connect": 0,
}
INTERRUPTED = {
    name: {"half_recvmmsg": 1004}.get(name, -4 if result < 0 else result)
    for name, result in TIMED_OUT.items()
}
"""What the same guest prints bare: EAGAIN is 11, EINPROGRESS 115, EINTR 4."""


@pytest.mark.parametrize("guest", guests("socktimes"), indirect=True)
def test_every_call(ns: Runner, guest: str) -> None:
    """Each waits an hour for what never comes; the bare kernel says the same after a second."""
    outcome = again(ns, guest, "timeouts", "3600")
    assert told(outcome, " at ") == TIMED_OUT
    clocks = [float(line.split()[-1]) for line in outcome.lines]
    assert clocks == pytest.approx([3600.001 * (i + 1) for i in range(len(TIMED_OUT))])
    bare = ns.bare(guest, "timeouts", "1").ok()
    assert told(bare, " at ") == TIMED_OUT


@pytest.mark.parametrize("guest", guests("socktimes"), indirect=True)
def test_what_comes_in_time(ns: Runner, guest: str) -> None:
    assert told(again(ns, guest, "events"), "\n") == CAME


@pytest.mark.parametrize("mode", ["signals", "restart"])
@pytest.mark.parametrize("guest", guests("socktimes"), indirect=True)
def test_a_signal_interrupts_them(ns: Runner, guest: str, mode: str) -> None:
    """With SA_RESTART too, because there is a timeout (signal(7))."""
    outcome = ns.exec(guest, mode, "3600").ok()
    assert told(outcome, " after ") == INTERRUPTED
    assert all(line.endswith("after 1 signal(s)") for line in outcome.lines)


def test_who_else_has_the_timeout(ns: Runner) -> None:
    lines = [line.split(" at ") for line in again(ns, ns.guest("socktimes"), "kin").ok().lines]
    said = [(line[0], round(float(line[1]))) for line in lines]
    assert said == [
        ("leader -11", 3600),
        ("thread -11", 7200),
        ("thread -11", 10800),
        ("longer -11", 14400),
        ("child 40", 18000),
        ("accepted -11", 21600),
        ("changed -11", 21607),
        ("new option -11", 21615),
        ("race 1", 21615),
        ("race -11", 21630),
    ]


@pytest.mark.parametrize("guest", guests("socktimes"), indirect=True)
def test_what_is_set_and_told(ns: Runner, guest: str) -> None:
    ns.twice(guest, "values", differs_bare=False)


_BUSY = """
import os, socket, struct, sys, time
one, other = socket.socketpair()
one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("qq", 0, 10_000))
if os.fork() == 0:
    for _ in range(30):
        os.spawnv(os.P_WAIT, "/bin/true", ["true"])
    other.send(b"worked")
    os._exit(0)
print(one.recv(9))
"""


def test_none_fires_while_anything_runs(ns: Runner) -> None:
    """A child's work takes longer than 10 ms, by a real clock."""
    assert again(ns, "/usr/bin/python3", "-c", _BUSY).ok().lines == ["b'worked'"]


_TRACED = """
import socket, struct
one, other = socket.socketpair()
one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("qq", 2, 0))
try:
    one.recv(1)
except BlockingIOError:
    print("timed out")
"""


def test_who_is_traced_waits_for_real(ns: Runner) -> None:
    start = time.monotonic()
    command = ["strace", "-qq", "-e", "none", "-e", "signal=none", "/usr/bin/python3", "-c"]
    assert ns.exec(*command, _TRACED).ok().lines == ["timed out"]
    assert time.monotonic() - start >= 2


def test_the_trace_tells(root: Runner) -> None:
    trace = root.directory() / "trace"
    root.exec(root.guest("socktimes"), "timeouts", options=["--trace", str(trace)]).ok()
    text = trace.read_text()
    for call in ("recvfrom", "accept4", "connect", "writev", "sendfile"):
        assert f" {call} ends after 3600000000 us\n" in text


_MANY = """
import ctypes, os, socket, struct, time
libc = ctypes.CDLL(None, use_errno=True)
one, other = socket.socketpair(type=socket.SOCK_DGRAM)
if os.fork() == 0:
    for _ in range(3):
        time.sleep(2)
        other.send(b"x")
    os._exit(0)
room = ctypes.create_string_buffer(16)
part = ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(room), 16))
header = struct.pack("QIxxxxQQQQixxxxIxxxx", 0, 0, ctypes.addressof(part), 1, 0, 0, 0, 0)
limit = struct.pack("qq", 1, 0)
print(libc.recvmmsg(one.fileno(), ctypes.create_string_buffer(header * 3), 3, 0, limit))
"""


def test_what_recvmmsg_says_bare(root: Runner) -> None:
    """The first comes after the timeout, at which the call looks then."""
    assert root.bare("/usr/bin/python3", "-c", _MANY).ok().lines == ["1"]


@pytest.mark.xfail(strict=True, reason="recvmmsg reads the kernel's clock between two datagrams")
def test_recvmmsg_with_a_timeout_of_its_own(root: Runner) -> None:
    assert root.exec("/usr/bin/python3", "-c", _MANY).ok().lines == ["1"]
