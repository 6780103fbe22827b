"""A terminal for the tests: runs a command on a pty and waits for what it prints."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from types import TracebackType

TIMEOUT = 30


class Terminal:
    """`command` on a new pty of `rows` by `columns`, as its session's controlling terminal."""

    def __init__(
        self,
        command: Sequence[str],
        env: dict[str, str],
        cwd: str,
        rows: int = 33,
        columns: int = 101,
    ) -> None:
        self.master, slave = os.openpty()
        self.resize(rows, columns)
        self.seen = b""
        self.process = subprocess.Popen(
            list(command),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=env,
            cwd=cwd,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)

    def resize(self, rows: int, columns: int) -> None:
        """Change the window's size, as a terminal emulator does."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, text: str) -> None:
        """Type `text`."""
        os.write(self.master, text.encode())

    def _read(self, seconds: float) -> bool:
        """Read what is there; False at the end."""
        ready, _, _ = select.select([self.master], [], [], seconds)
        if not ready:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return False
        self.seen += data
        return bool(data)

    def expect(self, pattern: str, timeout: float = TIMEOUT) -> re.Match[str]:
        """The first match of `pattern` in what is printed from here on, or AssertionError."""
        end = time.monotonic() + timeout
        while True:
            text = self.seen.decode(errors="replace")
            match = re.search(pattern, text)
            if match:
                self.seen = text[match.end() :].encode()
                return match
            more = self._read(max(0.0, min(0.2, end - time.monotonic())))
            late = not more or time.monotonic() >= end
            assert not late, f"no {pattern!r} in {text!r}"

    def wait(self, timeout: float = TIMEOUT) -> int:
        """Read to the end and return the exit code."""
        end = time.monotonic() + timeout
        while self.process.poll() is None:
            assert time.monotonic() < end, f"still running after {self.seen!r}"
            self._read(0.05)
        return self.process.returncode

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        os.close(self.master)
