"""What containers do, as the service sees it without a thread: their ends and what they write.

A container's output is read from its log. That begins before the command does and is whole when its
front has ended, so that nobody who attaches to a container that is still to be started misses a
byte, and nobody who reads too slowly holds the container up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable

from nsbuild.container.attendance import ATTACH, CLOSE, INPUT, WAIT, connect_to
from nsbuild.container.life import ends, open_front
from nsbuild.container.log import Line, read_log
from nsbuild.container.records import RUNNING, Record, Records
from nsbuild.container.session import LOG
from nsbuild.errors import NsbuildError
from nsbuild.supervisor.parley import LEFT

_LOOK = 0.05
"""Seconds between two looks for more."""
_CHUNK = 1 << 15
_STREAMS = {b"stdout": 1, b"stderr": 2}


def frame(line: Line, tty: bool) -> bytes:
    """A piece of output as clients get it: with its stream and length in front, or bare."""
    return (
        line.text
        if tty
        else struct.pack(">BxxxL", _STREAMS[line.stream], len(line.text)) + line.text
    )


def find(place: str, identity: str) -> Record | None:
    """The container as it is now; None where it is gone."""
    with contextlib.closing(Records(place)) as records, contextlib.suppress(NsbuildError):
        return records.find(identity)
    return None


def _last_code(place: str, before: Record) -> int | None:
    with contextlib.closing(Records(place)) as records:
        return records.last_code(before)


def _directory(place: str, record: Record) -> str:
    with contextlib.closing(Records(place)) as records:
        return records.directory(record.id)


async def until_started(place: str, record: Record) -> Record | None:
    """The container once it runs, or has run since `record` was read; None if it is removed."""
    found: Record | None = record
    while found and found.state != RUNNING and found.started == record.started:
        await asyncio.sleep(_LOOK)
        found = find(place, record.id)
    return found


async def until_removed(place: str, record: Record) -> None:
    """Wait until the container is gone."""
    while find(place, record.id):
        await asyncio.sleep(_LOOK)


async def exit_code(place: str, record: Record, next_exit: bool) -> int | None:
    """The exit code of the container once it has ended; that of its last run if it does not run.

    With `next_exit`, that of the first run to begin or end after `record` was read. None if it was
    removed without one.
    """
    now = await until_started(place, record) if next_exit else record
    if now and now.state != RUNNING:
        return now.code
    front = open_front(now) if now else -1
    told = None
    if now and front >= 0:
        try:
            told = await _told(_directory(place, now), front)
            await _readable(front)
        finally:
            os.close(front)
    found = find(place, record.id)
    if found:
        return found.code
    return told if told is not None else _last_code(place, record)


async def _told(directory: str, front: int) -> int | None:
    """What the front says when the command has ended, which it does even if all is removed then."""
    while True:
        try:
            client = connect_to(directory)
            break
        except OSError:
            # It is on record as running a moment before it listens.
            if ends(front, 0):
                return None
            await asyncio.sleep(_LOOK)
    with client:
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_sendall(client, WAIT)
            message = await loop.sock_recv(client, 64)
        except OSError:
            return None
    return int(message[1:]) if message[:1] == LEFT else None


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    seen = loop.create_future()

    def see() -> None:
        loop.remove_reader(fd)
        seen.set_result(None)

    loop.add_reader(fd, see)
    try:
        await seen
    finally:
        loop.remove_reader(fd)


class Output:
    """The log of a container, from its beginning or, with `later`, from now on."""

    def __init__(self, directory: str, later: bool) -> None:
        # Made here if the container has not, and kept open, as it may be removed with its end.
        self._fd = os.open(
            os.path.join(directory, LOG), os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        self._offset = os.fstat(self._fd).st_size if later else 0

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)

    def more(self) -> list[Line]:
        """What has come since the last call."""
        lines, self._offset = read_log(f"/proc/self/fd/{self._fd}", self._offset)
        return lines

    async def follow(self, record: Record) -> AsyncIterator[Line]:
        """All that comes until the container, which has been started, has ended."""
        front = open_front(record)
        try:
            while True:
                # In this order: what was written before the end is read after it is known.
                over = front < 0 or ends(front, 0)
                for line in self.more():
                    yield line
                if over:
                    return
                await asyncio.sleep(_LOOK)
        finally:
            if front >= 0:
                os.close(front)


class Input:
    """The way to a container's stdin. What comes back, its output, is let fall."""

    def __init__(self, client: socket.socket) -> None:
        client.setblocking(False)
        self._client = client
        self._drain = asyncio.create_task(self._let_fall())

    @classmethod
    async def open(cls, directory: str) -> Input | None:
        """Attach to the container in `directory`; None if it has ended."""
        for _ in range(round(_SOON / _LOOK)):
            with contextlib.suppress(OSError):
                client = connect_to(directory)
                client.send(ATTACH)
                return cls(client)
            if not os.path.isdir(directory):
                break
            await asyncio.sleep(_LOOK)
        return None

    async def _let_fall(self) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while await loop.sock_recv(self._client, _CHUNK << 1):
                pass

    async def feed(self, read: Callable[[int], object]) -> None:
        """Pass on what `read`, a StreamReader's, gives until its end, which is that of stdin."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while data := await read(_CHUNK):  # type: ignore[misc]
                await loop.sock_sendall(self._client, INPUT + data)
            await loop.sock_sendall(self._client, CLOSE)

    async def close(self) -> None:
        """Leave the container."""
        self._drain.cancel()
        await asyncio.gather(self._drain, return_exceptions=True)
        self._client.close()


_SOON = 5.0
"""Seconds in which a container that runs listens."""
