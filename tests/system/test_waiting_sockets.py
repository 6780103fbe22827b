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
    "preadv2": -11,
    "splice_from": -11,
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
    "pwritev2": -11,
    "splice_to": -11,
    "sendmsg": -11,
    "sendmmsg": -11,
    "sendfile": -11,
    "half_write": 1,
}
CAME = {
    **dict.fromkeys(("recv", "read", "readv", "preadv2", "splice_from", "recvmsg"), 5),
    **dict.fromkeys(("datagram", "recvmmsg", "accept", "accept4", "sendmmsg"), 1),
    **dict.fromkeys(("write", "send", "writev", "pwritev2", "splice_to", "sendmsg", "sendfile"), 9),
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


_SPLICED = """
import os, socket, struct, time
one, other = socket.socketpair()
for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
    one.setsockopt(socket.SOL_SOCKET, option, struct.pack("qq", 5, 0))
reader, writer = os.pipe()
if os.fork() == 0:
    time.sleep(100)
    os.write(writer, b"late")
    time.sleep(100)
    os.read(reader, 1 << 20)
    os._exit(0)
print(os.splice(reader, one.fileno(), 9))
os.set_blocking(writer, False)
try:
    while True:
        os.write(writer, bytes(4096))
except BlockingIOError:
    os.set_blocking(writer, True)
other.send(b"x")
print(os.splice(one.fileno(), writer, 9))
try:
    os.splice(one.fileno(), writer, 9)
except BlockingIOError:
    print("timed out")
"""


def test_who_splices_waits_for_the_pipe_without_limit(ns: Runner) -> None:
    """The timeouts are those of the socket."""
    assert again(ns, "/usr/bin/python3", "-c", _SPLICED).ok().lines == ["4", "1", "timed out"]


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


_OVER = {"none in time", "some in time", "descriptor"}
"""Lines of the guest at whose end nothing is left of the timeout."""


@pytest.mark.parametrize("guest", guests("recvmmsg"), indirect=True)
def test_recvmmsg_with_a_timeout_of_its_own(ns: Runner, guest: str) -> None:
    """As on a bare kernel it is looked at after each datagram only."""
    lines = [line.split(": ") for line in again(ns, guest, "3600").ok().lines if ": " in line]
    left = {line[0]: int(line[1].rpartition(" left ")[2]) for line in lines if "left" in line[1]}
    assert left == dict.fromkeys(left, 0) | {
        **dict.fromkeys(("all in time", "for one", "too long", "how long", "peek"), 9),
        "interrupted": 9,
        "interrupted later": 8,
    }
    assert left.keys() > _OVER


def test_recvmmsg_does_what_it_does_bare(ns: Runner) -> None:
    """But for what is left of the timeout."""
    inside, bare = (
        [line.partition(" left ")[0] for line in seen.ok().lines]
        for seen in (
            ns.exec(ns.guest("recvmmsg"), "3600"),
            ns.bare(ns.guest("recvmmsg"), "1"),
        )
    )
    assert len(inside) == 23
    assert inside == bare
