"""The trace: one line an answer, as far as it shows what happened.

A line is `NAME PID WHAT`, with the process's causal name and its number in the container. Lines are
buffered; a file that cannot take them ends the container, because a trace with holes is worse than
none.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from nsbuild.errors import NsbuildError
from nsbuild.kernel.x86_64 import NR

if TYPE_CHECKING:
    from .listener import Call

_BUFFER = 1 << 16
_NAMES = {number: name for name, number in NR.items()}


class Trace:
    """An open trace file, or nothing at all when `path` is None.

    `enabled` tells callers whether to format a line at all. `guard` is entered around each write,
    which may have to wait for a disk.
    """

    def __init__(self, path: str | None) -> None:
        self.path = path
        self.enabled = path is not None
        self.guard: Callable[[], AbstractContextManager[None]] = nullcontext
        self._lines: list[str] = []
        self._size = 0
        self._fd = -1
        if path is not None:
            try:
                self._fd = os.open(
                    path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666
                )
            except OSError as error:
                raise NsbuildError.from_os(f"cannot write the trace {path}", error) from error

    def line(self, name: str, pid: int, what: str) -> None:
        """Record one event of process `name`."""
        if self._fd < 0:
            return
        text = f"{name} {pid} {what}\n"
        self._lines.append(text)
        self._size += len(text)
        if self._size >= _BUFFER:
            self.flush()

    def call(self, name: str, pid: int, call: Call) -> None:
        """Record an answered call: its integer arguments, its result, the nanoseconds it said."""
        arguments = ", ".join(hex(value) if value > 9 else str(value) for value in call.args[:4])
        said = "" if call.said is None else f" [{call.said}]"
        self.line(name, pid, f"{_NAMES.get(call.nr, call.nr)}({arguments}) = {call.outcome}{said}")

    def flush(self) -> None:
        """Write what is buffered; NsbuildError if the file does not take it."""
        data = "".join(self._lines).encode()
        self._lines.clear()
        self._size = 0
        try:
            with self.guard():
                while data:
                    data = data[os.write(self._fd, data) :]
        except OSError as error:
            raise NsbuildError.from_os(f"cannot write the trace {self.path}", error) from error

    def close(self) -> None:
        """Flush and close."""
        if self._fd >= 0:
            self.guard = nullcontext
            self.flush()
            os.close(self._fd)
            self._fd = -1
