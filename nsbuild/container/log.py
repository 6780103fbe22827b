"""The log of a container: what it has written, line by line, with the time at which that came.

The form is that of Podman's k8s-file driver, `TIME STREAM TAG TEXT`, which conmon writes and many
tools read: STREAM is stdout or stderr, TAG is F for a whole line and P for a part of one. Times are
the host's own: they say when something was seen, and no command inside sees them.
"""

from __future__ import annotations

import os
import time

from nsbuild.tuples import NamedTuple

STREAMS = {b"o": b"stdout", b"e": b"stderr"}
_CHUNK = 1 << 16


class Line(NamedTuple):
    """A line of a log: `text` ends with a newline, unless it is a part."""

    time: bytes
    stream: bytes
    text: bytes


class Log:
    """A log that is being written."""

    def __init__(self, path: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o600)

    def write(self, stream: bytes, data: bytes) -> None:
        """Add what came on `stream`, a key of STREAMS."""
        head = _now() + b" " + STREAMS[stream]
        lines = data.split(b"\n")
        last = lines.pop()
        text = b"".join(b"%b F %b\n" % (head, line) for line in lines)
        if last:
            text += b"%b P %b\n" % (head, last)
        while text:
            text = text[os.write(self._fd, text) :]


def _now() -> bytes:
    seconds, rest = divmod(time.time_ns(), 1_000_000_000)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return b"%b.%09d+00:00" % (stamp.encode(), rest)


def read_log(path: str, offset: int = 0) -> tuple[list[Line], int]:
    """The whole lines of a log from `offset` on, and the offset behind them."""
    lines: list[Line] = []
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                offset += len(line)
                stamp, stream, tag, text = line.split(b" ", 3)
                lines.append(Line(stamp, stream, text if tag == b"F" else text[:-1]))
    except FileNotFoundError:
        pass
    return lines, offset
