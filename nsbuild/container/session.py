"""A recorded container's ends of what its command reads and writes, and its run by the front.

In the foreground the command has the caller's stdin, and its output is copied to the caller's own;
a detached one reads from whoever attaches. In both cases a log is kept.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable

from nsbuild.container.attendance import SOCKET, Attendance, listen_in
from nsbuild.container.handover import Handover
from nsbuild.container.log import Log
from nsbuild.container.spec import CommandSpec
from nsbuild.container.terminal import RawTerminal
from nsbuild.errors import NsbuildError

LOG = "log"
"""The log's name in the container's directory."""


class Session:
    """One run of a recorded container.

    `directory` is the container's own; `timeout` kills the command after so many seconds of real
    time; `started` is a descriptor that is closed once the command has been executed, -1 for none.
    """

    def __init__(
        self, directory: str, detached: bool, timeout: float | None = None, started: int = -1
    ) -> None:
        self.directory = directory
        self.detached = detached
        self.timeout = timeout
        self.started = started
        self.handover = Handover()
        self._command = CommandSpec((), {})
        self._inner: list[tuple[int, int]] = []
        self._outputs: dict[int, tuple[bytes, int]] = {}
        self._sink = -1
        self._listening: socket.socket | None = None
        self._attendance: Attendance | None = None

    def open(self, command: CommandSpec) -> None:
        """Make the pipes and the socket; raises NsbuildError."""
        self._command = command
        try:
            self._listening = listen_in(self.directory)
            self._log = Log(os.path.join(self.directory, LOG))
        except OSError as error:
            raise NsbuildError.from_os(f"cannot use {self.directory}", error) from error
        if self.detached and command.interactive and not command.tty:
            inner, self._sink = os.pipe()
            self._inner.append((inner, 0))
        # With a terminal only what we ourselves say goes another way.
        streams = {b"o": 1, b"e": 2} if not command.tty else {b"e": 2} if self.detached else {}
        for stream, number in streams.items():
            outer, inner = os.pipe()
            self._inner.append((inner, number))
            self._outputs[outer] = stream, -1 if self.detached else number

    def inside(self) -> None:
        """In the supervisor's process: have the command's ends as standard files, and no other."""
        assert self._listening is not None
        self._listening.close()
        for fd in (self._sink, *self._outputs):
            if fd >= 0:
                os.close(fd)
        for inner, number in self._inner:
            os.dup2(inner, number)
            os.close(inner)

    def outside(self) -> None:
        """In the front: let go of the command's ends."""
        for inner, _ in self._inner:
            os.close(inner)
        if self.started >= 0:
            os.close(self.started)
            # The caller reads what we have complained of up to here.
            null = os.open("/dev/null", os.O_RDWR)
            os.dup2(null, 2)
            os.close(null)

    def attend(
        self,
        master: int,
        signals: int,
        on_signals: Callable[[], bool],
        forward: Callable[[int], None],
        pass_on: Callable[[socket.socket], None],
    ) -> None:
        """Serve until `on_signals`, called when `signals` is readable, says that all is over.

        `master` is that of the command's terminal, -1 for none.
        """
        assert self._listening is not None
        keyboard = master >= 0 and self._command.interactive
        if master >= 0:
            self._outputs[master] = b"o", -1 if self.detached else 1
        if keyboard:
            self._sink = os.dup(master)
        served = Attendance(self._log, self._outputs, self._sink, master >= 0, forward, pass_on)
        self._attendance = served
        served.accept_from(self._listening)

        def signalled() -> None:
            if on_signals():
                served.stop()

        served.watch(signals, signalled)
        if keyboard and not self.detached:
            served.feed_from(0)
        if self.timeout is not None:
            served.end_after(self.timeout, lambda: forward(signal.SIGKILL))
        with RawTerminal(0 if keyboard and not self.detached else -1):
            served.run()

    def finish(self, code: int) -> None:
        """Tell who has attached, and remove the socket."""
        if self._attendance is not None:
            self._attendance.finish(code)
        if self._listening is not None:
            self._listening.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.directory, SOCKET))
