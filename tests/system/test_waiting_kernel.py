"""Semaphores of System V and asynchronous I/O: what others do to them is seen, and nothing lost.

That each call times out, ends and is interrupted as on a bare kernel is in test_waiting.py.
"""

from __future__ import annotations

import pytest

from tests.system.harness import Runner
from tests.system.waiting import again

_SEMAPHORE = """
import ctypes, os, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
UNDO, HOUR = 0x1000, struct.pack("qq", 3600, 0)

def operate(operation, flags=0, time=None):
    return libc.semtimedop(semaphore, struct.pack("Hhh", 0, operation, flags), 1, time)

def start(what):
    child = os.fork()
    if not child:
        os._exit(what())
    return child

def end(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

semaphore = libc.semget(0, 1, 0o600)
"""

_SHARED = """
def take(patience):
    time.sleep(patience)
    done = operate(-1, 0, HOUR)
    return 1 if done == 0 else ctypes.get_errno()

children = [start(lambda: take(i)) for i in range(5)]
time.sleep(100)
operate(3)
print([end(child) for child in children], time.monotonic() > 3600)
"""

_LOCK = """
def lock(seconds):
    operate(-1, UNDO, HOUR)
    before = libc.semctl(semaphore, 0, 12)
    time.sleep(seconds)
    return before

operate(1)
children = [start(lambda: lock(100)) for _ in range(5)]
print([end(child) for child in children], libc.semctl(semaphore, 0, 12))
"""

_GONE = """
def remove():
    time.sleep(10)
    return libc.semctl(semaphore, 0, 0) != 0

child = start(remove)
print(operate(-1, 0, HOUR), ctypes.get_errno(), end(child))
"""


def test_one_goes_on_for_each_that_is_given(ns: Runner) -> None:
    lines = again(ns, "/usr/bin/python3", "-c", _SEMAPHORE + _SHARED).ok().lines
    assert lines == ["[1, 1, 1, 11, 11] True"]


def test_a_lock_that_ends_give_back(ns: Runner) -> None:
    """SEM_UNDO: it is the process itself that must take it."""
    lines = again(ns, "/usr/bin/python3", "-c", _SEMAPHORE + _LOCK).ok().lines
    assert lines == ["[0, 0, 0, 0, 0] 1"]


def test_a_set_that_is_removed(ns: Runner) -> None:
    lines = again(ns, "/usr/bin/python3", "-c", _SEMAPHORE + _GONE).ok().lines
    assert lines == ["-1 43 0"]


_DISK = """
import ctypes, mmap, os, struct
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.argtypes = [ctypes.c_long] * 7
SETUP, DESTROY, GETEVENTS, SUBMIT = 206, 207, 208, 209
file = os.open("data", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
room = mmap.mmap(-1, 1 << 20)
address = ctypes.addressof(ctypes.c_char.from_buffer(room))
os.write(file, room)
context = ctypes.c_ulong()
assert libc.syscall(SETUP, 64, ctypes.addressof(context), 0, 0, 0, 0) == 0
events = ctypes.create_string_buffer(64 * 32)

def submit(offset):
    read = struct.pack("QIIHhIQQqQII", offset, 0, 0, 0, 0, file, address, 4096, offset, 0, 0, 0)
    block = ctypes.create_string_buffer(read)
    kept.append(block)
    pointer = ctypes.c_void_p(ctypes.addressof(block))
    return libc.syscall(SUBMIT, context.value, 1, ctypes.addressof(pointer), 0, 0, 0)

def wait(least, seconds, nanoseconds=0):
    time = ctypes.create_string_buffer(struct.pack("qq", seconds, nanoseconds))
    arguments = context.value, least, 64, ctypes.addressof(events), ctypes.addressof(time), 0
    return libc.syscall(GETEVENTS, *arguments)

for _ in range(50):
    kept = []
    sent = sum(submit(4096 * i) for i in range(16))
    came = wait(16, 0, 1000)
    assert sent == came == 16, (sent, came)
    data = [struct.unpack_from("QQq", events, 32 * i) for i in range(16)]
    assert sorted(one[0] for one in data) == [4096 * i for i in range(16)]
    assert {one[2] for one in data} == {4096}
print("all came before the time was over")
kept = []
submit(0)
print(wait(2, 3600), struct.unpack_from("QQq", events, 0)[2], wait(1, 3600))
"""


def test_no_timeout_fires_while_a_disk_is_busy(ns: Runner) -> None:
    """Sixteen reads take longer than a microsecond; who waits for one too many gets what came."""
    lines = again(ns, "/usr/bin/python3", "-c", _DISK).ok().lines
    assert lines == ["all came before the time was over", "1 4096 0"]


@pytest.mark.xfail(strict=True, reason="the kernel keeps the signal as it was sent")
def test_a_signal_that_waits_says_how_many_there_were(root: Runner) -> None:
    """si_overrun of one that is taken late; timer_getoverrun(2) counts (docs/waiting.md)."""
    lines = root.exec(root.guest("timers"), "overruns").ok().lines
    assert [line for line in lines if line.startswith("it says")] == 2 * ["it says: 3"]


@pytest.mark.xfail(strict=True, reason="close(2) is not notified, and lingers in real time")
def test_a_socket_lingers_in_virtual_time(root: Runner) -> None:
    """SO_LINGER of two seconds, and a peer that reads nothing; bare, the clock says so as well."""
    script = (
        "import socket, struct, time\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "client = socket.create_connection(server.getsockname())\n"
        "peer, _ = server.accept()\n"
        "client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 2))\n"
        "client.setblocking(False)\n"
        "try:\n"
        "    while True:\n"
        "        client.send(bytes(65536))\n"
        "except BlockingIOError:\n"
        "    client.setblocking(True)\n"
        "before = time.monotonic()\n"
        "client.close()\n"
        "print(round(time.monotonic() - before))\n"
    )
    python = "/usr/bin/python3", "-c", script
    assert root.bare(*python).ok().lines == ["2"]
    assert root.exec(*python).ok().lines == ["2"]
