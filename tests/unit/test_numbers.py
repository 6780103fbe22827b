"""Process numbers as the extension answers for them in init, compared with Python's answers."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from nsbuild.container.init import NUMBERS, exists
from nsbuild.determinism.names import FIRST_PID, PID_LIMIT, next_free
from nsbuild.supervisor import extension
from nsbuild.supervisor.initlink import BORN, EXISTS, NO, REQUEST, RESERVE, UTS_NAMES, YES, pair

pytestmark = pytest.mark.skipif(not extension.available(), reason="the extension is not there")

WISHES = (FIRST_PID, 1234, os.getpid(), os.getppid(), PID_LIMIT - 1, PID_LIMIT, FIRST_PID - 7)


class Served:
    """What serve_numbers works on, with a file for ns_last_pid; all is asked before it runs."""

    def __init__(self) -> None:
        self.ours, self._theirs = pair()
        self.awake, self.wake = os.pipe()
        self.last = os.memfd_create("ns_last_pid")

    def ask(self, what: bytes, value: int = 0) -> None:
        self.ours.send(REQUEST.pack(what, value))

    def serve(self) -> bytes | None:
        fds = self._theirs.fileno(), self.awake, self.last
        return extension.serve_numbers(*fds, NUMBERS)

    def close(self) -> None:
        self.ours.close()
        self._theirs.close()
        for fd in (self.last, self.awake, self.wake):
            os.close(fd)


@pytest.fixture
def served() -> Iterator[Served]:
    made = Served()
    yield made
    made.close()


def test_answers_are_those_of_python(served: Served) -> None:
    for wish in WISHES:
        served.ask(RESERVE, wish)
        served.ask(EXISTS, wish)
    served.ask(UTS_NAMES)
    assert served.serve() == REQUEST.pack(UTS_NAMES, 0)
    for wish in WISHES:
        got = int(served.ours.recv(64))
        assert got == next_free(wish, exists)
        assert served.ours.recv(64) == (YES if exists(wish) else NO)
    assert os.pread(served.last, 32, 0).startswith(str(got - 1).encode())


@pytest.mark.parametrize("step", [0, 1, 2])
def test_who_was_born_has_moved_the_counter(served: Served, step: int) -> None:
    free = next_free(PID_LIMIT - 1000, exists)
    os.write(served.last, b"%d\n" % (free - 1 + step))
    served.ask(BORN, free)
    served.ask(BORN, os.getpid())
    served.ours.shutdown(socket.SHUT_WR)
    assert served.serve() == b""
    assert served.ours.recv(64) == (YES if step else NO)
    assert served.ours.recv(64) == YES


def test_wakes_before_it_answers(served: Served) -> None:
    os.write(served.wake, b"x")
    served.ask(EXISTS, os.getpid())
    served.ours.shutdown(socket.SHUT_WR)
    assert served.serve() is None
    os.read(served.awake, 1)
    assert served.serve() == b""
    assert served.ours.recv(64) == YES
