"""Randomness: getrandom(2) and what the random devices and /proc files hand out.

All of them draw from the one stream of the process that reads, so that none repeats what another
gave, and none depends on what other processes read.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from nsbuild.kernel.x86_64 import NR
from nsbuild.supervisor.answers import Handler, signed32
from nsbuild.supervisor.fusefile import Answer, random_ioctl
from nsbuild.supervisor.listener import Call
from nsbuild.supervisor.processes import Process

GRND_NONBLOCK = 1
GRND_RANDOM = 2
GRND_INSECURE = 4

MAX_RW_COUNT = 0x7FFFF000
"""What one call moves at most (linux/fs.h)."""
CHUNK = 1 << 20


DEVICES = frozenset(("/dev/random", "/dev/urandom"))


class Random:
    """Answers getrandom, and refuses to move bytes out of the devices without reading them."""

    def handlers(self) -> dict[int, Handler]:
        """See nsbuild.supervisor.answers."""
        return {
            NR["getrandom"]: self.getrandom,
            NR["sendfile"]: self.sendfile,
            NR["splice"]: self.splice,
        }

    def sendfile(self, call: Call, _process: Process) -> None:
        """sendfile(2): EINVAL from a random device, on which every program reads instead.

        The kernel serves a sendfile from the page cache and up to the file's size, which is 0 for
        the file that stands in for the device: it would look as if the device had ended.
        """
        self._move(call, call.args[1])

    def splice(self, call: Call, _process: Process) -> None:
        """splice(2), for the same reason."""
        self._move(call, call.args[0])

    def _move(self, call: Call, source: int) -> None:
        try:
            path = os.readlink(f"{call.tid}/fd/{signed32(source)}")
        except OSError:
            path = ""
        if path in DEVICES:
            call.fail(errno.EINVAL)
        else:
            call.resume()

    def getrandom(self, call: Call, process: Process) -> None:
        """getrandom(2): any length, every flag; none of them makes a difference here."""
        address, size = call.args[0], min(call.args[1], MAX_RW_COUNT)
        flags = call.args[2] & 0xFFFFFFFF
        if flags & ~(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE) or flags & (
            GRND_RANDOM | GRND_INSECURE
        ) == (GRND_RANDOM | GRND_INSECURE):
            call.fail(errno.EINVAL)
            return
        stream = process.stream
        start = stream.position
        done = 0
        # The position moves only while a long answer is written; it is set for good below.
        while done < size:
            data = stream.peek(min(size - done, CHUNK))
            written = process.memory.write(call, address + done, data)
            done += written
            stream.position = start + done
            if written < len(data):
                break
        stream.position = start
        if size and not done:
            call.fail(errno.EFAULT)
        elif call.answer(done):
            stream.advance(done)


class RandomDevice:
    """The content of /dev/random and /dev/urandom, served by FUSE; see supervisor.fusefile."""

    def __init__(self, process_of_pid: Callable[[int], Process | None]) -> None:
        self.process_of_pid = process_of_pid

    def read(self, pid: int, _offset: int, size: int) -> tuple[bytes, Callable[[], None]]:
        """The next bytes of the reader's stream; OSError(EIO) for a reader from outside."""
        process = self.process_of_pid(pid)
        if process is None:
            raise OSError(errno.EIO, "not a process of the container")
        stream = process.stream
        data = stream.peek(size)
        return data, lambda: stream.advance(len(data))

    def write(self, _pid: int, _data: bytes) -> int:
        """Anybody may stir a pool, and it changes nothing."""
        return 0

    def ioctl(self, _pid: int, cmd: int, _in_data: bytes) -> Answer:
        """The RND ioctls of random(4)."""
        return random_ioctl(cmd)


def format_uuid(data: bytes) -> str:
    """16 random bytes as a UUID of version 4, variant 1 (RFC 9562), as lib/uuid.c writes it."""
    raw = bytearray(data)
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
