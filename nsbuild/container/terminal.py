"""The pseudo-terminal of `-t`: made inside the container, driven by the front process outside.

The command gets the slave as its controlling terminal in a session of its own; the front process
holds the master, copies bytes both ways and passes window sizes on. The user's own terminal is raw
meanwhile, so that every key, Ctrl-C and Ctrl-Z included, means what it says inside.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import termios
import tty
from collections.abc import Callable

_WINSIZE = 8
_CHUNK = 65536


def adopt_terminal(slave: int) -> None:
    """Make `slave` the controlling terminal and the standard files of the calling process."""
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for fd in (0, 1, 2):
        os.dup2(slave, fd)


def window_size(terminal: int) -> bytes:
    """The struct winsize of a terminal (ioctl_tty(2))."""
    return fcntl.ioctl(terminal, termios.TIOCGWINSZ, bytes(_WINSIZE))


def copy_size(source: int, target: int) -> None:
    """Give terminal `target` the window size of terminal `source`."""
    fcntl.ioctl(target, termios.TIOCSWINSZ, window_size(source))


def foreground_group() -> int | None:
    """The process group that our controlling terminal listens to, None without one."""
    try:
        fd = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.tcgetpgrp(fd)
    except OSError:
        return None
    finally:
        os.close(fd)


def give_terminal(group: int) -> None:
    """Let our controlling terminal listen to process group `group`, if there still is one."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        fd = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            if os.tcgetpgrp(fd) != group:
                os.tcsetpgrp(fd, group)
        finally:
            os.close(fd)
    except OSError:
        return
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class RawTerminal:
    """Puts descriptor `fd` into raw mode for the time of a `with`, if it is a terminal.

    What was typed ahead stays (TCSAFLUSH, Python's default, would throw it away).
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._saved: list[int | list[bytes | int]] | None = None

    def __enter__(self) -> RawTerminal:
        if os.isatty(self._fd):
            self._saved = termios.tcgetattr(self._fd)
            tty.setraw(self._fd, termios.TCSADRAIN)
        return self

    def __exit__(self, *_: object) -> None:
        if self._saved is not None:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._saved)


class Relay:
    """Copies between the user's stdin and stdout and the `master` of the container's terminal.

    With `keyboard` false, stdin is left alone, as `-t` without `-i` asks for.
    """

    def __init__(self, master: int, keyboard: bool, wake_fd: int) -> None:
        self.master = master
        self._wake_fd = wake_fd
        self._poll = select.poll()
        self._poll.register(master, select.POLLIN)
        self._poll.register(wake_fd, select.POLLIN)
        if keyboard:
            self._poll.register(0, select.POLLIN)

    def run(self, on_signal: Callable[[bytes], bool]) -> None:
        """Copy until `on_signal`, given the numbers of signals that came, returns True.

        What the command wrote last is copied before that.
        """
        while True:
            ready = dict(self._poll.poll())
            if self.master in ready and not self._output():
                self._poll.unregister(self.master)
            if 0 in ready:
                self._input()
            if self._wake_fd in ready and on_signal(os.read(self._wake_fd, 512)):
                while self._poll_master() and self._output():
                    pass
                return

    def _poll_master(self) -> bool:
        last = select.poll()
        last.register(self.master, select.POLLIN)
        return any(events & select.POLLIN for _, events in last.poll(0))

    def _output(self) -> bool:
        """Copy what the command has written; False once its side is closed (EIO)."""
        try:
            data = os.read(self.master, _CHUNK)
        except OSError:
            return False
        write_all(1, data)
        return bool(data)

    def _input(self) -> None:
        data = os.read(0, _CHUNK)
        if data:
            write_all(self.master, data)
        else:
            # The end of a stdin that is no terminal becomes the terminal's own: Ctrl-D.
            write_all(self.master, b"\x04")
            self._poll.unregister(0)


def write_all(fd: int, data: bytes) -> None:
    """Write everything; a descriptor that nobody reads any more swallows it."""
    while data:
        try:
            data = data[os.write(fd, data) :]
        except OSError:
            return
