"""Aides notice that the supervisor is gone, however it went."""

from __future__ import annotations

import os
import socket

import pytest

from nsbuild.supervisor.aide import fork_aide, messages, reply


def echo(requests: socket.socket) -> None:
    for message in messages(requests):
        reply(requests, message[::-1])


def test_an_aide_answers_and_ends_with_its_socket() -> None:
    ours = fork_aide("nsbuild-echo", echo)
    ours.send(b"ab")
    assert ours.recv(16) == b"ba"
    ours.send(b"cd")
    # The answer to this stays unread.
    ours.close()
    assert os.wait()[1] == 0


def test_an_aide_that_fails_says_so_by_its_status() -> None:
    def fail(requests: socket.socket) -> None:
        raise SystemError

    ours = fork_aide("nsbuild-fail", fail)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 1
    ours.close()


def test_a_supervisor_killed_before_it_read_an_answer() -> None:
    """The kernel says ECONNRESET then, and not that this is the end."""
    for look in (lambda end: list(messages(end)), lambda end: reply(end, b"x")):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.send(b"answer")
        ours.close()
        look(theirs)
        theirs.close()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.send(b"answer")
    ours.close()
    with pytest.raises(ConnectionResetError):
        theirs.recv(1)
    theirs.close()
