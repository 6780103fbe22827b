"""Files of /proc whose content changes by itself, served by FUSE from the reader's own state.

Each hands out its whole content at offset 0 and nothing behind it, as a small file of /proc does.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from nsbuild.determinism.clock import NSEC_PER_SEC
from nsbuild.supervisor.answers.random import format_uuid
from nsbuild.supervisor.fusefile import Answer
from nsbuild.supervisor.processes import Process

Commit = Callable[[], None]


class ProcFile:
    """A read-only file; subclasses say what it holds for a process."""

    def __init__(self, process_of_pid: Callable[[int], Process | None]) -> None:
        self.process_of_pid = process_of_pid

    def content(self, process: Process) -> tuple[str, Commit]:
        """What `process` reads, and what to do once it has."""
        raise NotImplementedError

    def read(self, pid: int, offset: int, size: int) -> tuple[bytes, Commit]:
        """See supervisor.fusefile.Content; OSError(EIO) for a reader from outside."""
        process = self.process_of_pid(pid)
        if process is None:
            raise OSError(errno.EIO, "not a process of the container")
        if offset:
            return b"", lambda: None
        text, commit = self.content(process)
        return text.encode()[:size], commit

    def write(self, _pid: int, _data: bytes) -> int:
        """The file is read-only."""
        return errno.EACCES

    def ioctl(self, _pid: int, _cmd: int, _in_data: bytes) -> Answer:
        """No file of /proc has any."""
        return errno.ENOTTY, b""


class UuidFile(ProcFile):
    """/proc/sys/kernel/random/uuid: a new random UUID (version 4) for each read."""

    def content(self, process: Process) -> tuple[str, Commit]:
        """36 characters and a newline, from the reader's stream."""
        stream = process.stream
        return format_uuid(stream.peek(16)) + "\n", lambda: stream.advance(16)


class UptimeFile(ProcFile):
    """/proc/uptime: the reader's monotonic clock, read as by clock_gettime; one CPU, never idle."""

    def content(self, process: Process) -> tuple[str, Commit]:
        """Uptime and idle time in seconds, with hundredths (proc(5))."""
        clock = process.clock
        monotonic = clock.next_monotonic()
        seconds, nanoseconds = divmod(monotonic, NSEC_PER_SEC)

        def commit() -> None:
            clock.monotonic = monotonic

        return f"{seconds}.{nanoseconds // 10_000_000:02d} 0.00\n", commit
