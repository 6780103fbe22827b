"""Clients of a container that runs: one that lets a command in, and one that attaches to the first.

Both stand outside, pass signals and a terminal's keys in and what comes out on. They can go away
without harm: the container and what was started in it stay.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nsbuild.container.attendance import ATTACH, CLOSE, INPUT, SIZE, connect_to
from nsbuild.container.entry import write_entry
from nsbuild.container.failure import command_error
from nsbuild.container.handover import FORWARDED, Handover
from nsbuild.container.spec import CommandSpec
from nsbuild.container.terminal import RawTerminal, copy_size, window_size, write_all
from nsbuild.errors import NsbuildError
from nsbuild.kernel.signalfd import pending, signalfd
from nsbuild.supervisor.initlink import decode_error
from nsbuild.supervisor.parley import ENTER, ERROR, LEFT, SIGNAL, STARTED

KILLED = 128 + signal.SIGKILL
"""How it ends for a client whose container is gone all at once."""
DETACHED = 0
_LIMIT = 1 << 16
_CHUNK = 1 << 15
_PASSED_ON = frozenset((*FORWARDED, signal.SIGWINCH))
_KEYS = b"\x10\x11"
"""Ctrl-P Ctrl-Q: leave the container to itself."""


def enter(directory: str, command: CommandSpec, detached: bool) -> int:
    """Run `command` in the container whose directory that is; returns its exit code.

    `detached` leaves it to itself once it has begun. Raises NsbuildError.
    """
    shared = os.memfd_create("nsbuild-handover", os.MFD_CLOEXEC)
    os.ftruncate(shared, os.sysconf("SC_PAGESIZE"))
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    standard = [null] * 3 if detached else [0, 1, 2]
    entry = write_entry(command)
    # From its first moment on what is sent to us is for it.
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    with _connected(directory) as client:
        socket.send_fds(client, [ENTER], [entry, shared, *standard])
        message, fds, _, _ = socket.recv_fds(client, _LIMIT, 1)
        if message[:1] == ERROR:
            raise decode_error(message)
        if message[:1] != STARTED:
            return KILLED
        if detached:
            return 0
        code = _Visit(client, fds[0] if fds else -1, command.interactive).run()
    stage, number = Handover(shared).exec_failure
    if stage:
        raise command_error(command, stage, number)
    return code


def attach(directory: str, feed: bool) -> int:
    """Show what the container writes and, with `feed`, give it our stdin; returns its exit code.

    Ctrl-P Ctrl-Q on a terminal leaves it.
    """
    with _connected(directory) as client:
        client.send(ATTACH)
        message = client.recv(16)
        return _Attached(client, feed, message[1:] == b"1").run() if message else KILLED


@contextmanager
def _connected(directory: str) -> Iterator[socket.socket]:
    try:
        client = connect_to(directory)
    except OSError as error:
        raise NsbuildError.from_os("cannot reach the container", error) from error
    with client:
        yield client


class _Client:
    """What both have in common: signals come in, and messages."""

    def __init__(self, client: socket.socket) -> None:
        self.client = client
        self.code: int | None = None
        self._poll = select.poll()
        self._handlers: dict[int, Callable[[], None]] = {}
        signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
        self._signals = signalfd(_PASSED_ON)
        self.watch(self._signals, self._signalled)
        self.watch(client.fileno(), self._heard)

    def watch(self, fd: int, handle: Callable[[], None]) -> None:
        self._handlers[fd] = handle
        self._poll.register(fd, select.POLLIN)

    def drop(self, fd: int) -> None:
        if self._handlers.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def serve(self) -> int:
        while self.code is None:
            for fd, _ in self._poll.poll():
                if fd in self._handlers:
                    self._handlers[fd]()
        return self.code

    def say(self, message: bytes) -> None:
        try:
            self.client.send(message)
        except OSError:
            self.code = KILLED if self.code is None else self.code

    def _signalled(self) -> None:
        for number, _ in pending(self._signals):
            if number == signal.SIGWINCH:
                self.resized()
            else:
                self.say(SIGNAL + b"%d" % number)

    def resized(self) -> None:
        """Our terminal has another size."""

    def heard(self, message: bytes) -> None:
        """A message that is not LEFT."""

    def ended(self, text: bytes) -> int:
        """The exit code that LEFT tells."""
        return int(text)

    def _heard(self) -> None:
        try:
            message = self.client.recv(_LIMIT)
        except ConnectionResetError:
            message = b""
        if not message:
            self.code = KILLED
        elif message[:1] == LEFT:
            self.code = self.ended(message[1:])
        else:
            self.heard(message)


class _Visit(_Client):
    """A command that we have let in; `master` is its terminal's, -1 for none."""

    def __init__(self, client: socket.socket, master: int, interactive: bool) -> None:
        super().__init__(client)
        self._master = master
        self._keyboard = master >= 0 and interactive
        if master >= 0:
            self.watch(master, self._output)
            self.resized()
        if self._keyboard:
            self.watch(0, self._input)

    def run(self) -> int:
        with RawTerminal(0 if self._keyboard else -1):
            code = self.serve()
            while self._master in self._handlers and self._more():
                self._output()
            return code

    def _more(self) -> bool:
        last = select.poll()
        last.register(self._master, select.POLLIN)
        return any(events & select.POLLIN for _, events in last.poll(0))

    def resized(self) -> None:
        if self._master >= 0 and os.isatty(0):
            copy_size(0, self._master)

    def ended(self, text: bytes) -> int:
        code = os.waitstatus_to_exitcode(int(text))
        return 128 - code if code < 0 else code

    def _output(self) -> None:
        try:
            data = os.read(self._master, _CHUNK)
        except OSError:
            data = b""
        if data:
            write_all(1, data)
        else:
            self.drop(self._master)

    def _input(self) -> None:
        data = os.read(0, _CHUNK)
        if not data:
            self.drop(0)
        write_all(self._master, data or b"\x04")


class _Attached(_Client):
    """Attached to the container's first command."""

    def __init__(self, client: socket.socket, feed: bool, tty: bool) -> None:
        super().__init__(client)
        self._tty = tty
        self._raw = feed and tty
        self._typed = b""
        if feed:
            self.watch(0, self._input)
        self.resized()

    def run(self) -> int:
        with RawTerminal(0 if self._raw else -1):
            return self.serve()

    def resized(self) -> None:
        if self._tty and os.isatty(0):
            self.say(SIZE + window_size(0))

    def heard(self, message: bytes) -> None:
        write_all(2 if message[:1] == b"e" else 1, message[1:])

    def _input(self) -> None:
        data = os.read(0, _CHUNK)
        if not data:
            self.drop(0)
            self.say(CLOSE)
            return
        if self._raw and (self._typed + data).endswith(_KEYS):
            self.code = DETACHED
            return
        self._typed = data[-1:]
        self.say(INPUT + data)
