"""The endpoints that go on: what a container has written and writes, and a way to its stdin.

A client that attaches takes the connection over, as Docker has it: after the answer it is no HTTP
any more but bytes both ways. Who sends no more has only closed stdin and still wants the output.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import select
import termios
from collections.abc import AsyncIterator, Callable, Iterator

from aiohttp import web

from nsbuild.cli.runvalues import moment
from nsbuild.container.log import Line
from nsbuild.container.records import RUNNING, Record
from nsbuild.container.specjson import decode
from nsbuild.service.errors import ApiError
from nsbuild.service.requests import find_container, flag, service_of
from nsbuild.service.watching import Input, Output, frame, until_started

RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
_READS, _READ = 500, 0.01
"""How often it is looked whether a client has read the head of an answer; seconds in between."""
_LOOK = 1.0
"""Seconds between two looks whether an attached client is still there."""


class _Shown:
    """Which lines of a log a client wants, and in which form."""

    def __init__(self, request: web.Request, record: Record) -> None:
        self.tty = decode(record.spec).command.tty
        self.streams = {name.encode() for name in ("stdout", "stderr") if flag(request, name)}
        if not self.streams:
            raise ApiError(400, "Bad parameters: you must choose at least one stream")
        self.timestamps = flag(request, "timestamps")
        self.since, self.until = (_moment(request, name) for name in ("since", "until"))

    @property
    def media_type(self) -> str:
        return RAW if self.tty else MULTIPLEXED

    def wants(self, line: Line) -> bool:
        stamp = line.time.decode()
        return (
            line.stream in self.streams
            and (not self.since or stamp >= self.since)
            and (not self.until or stamp <= self.until)
        )

    def piece(self, line: Line) -> bytes:
        if self.timestamps:
            line = line._replace(text=line.time + b" " + line.text)
        return frame(line, self.tty)


def _moment(request: web.Request, name: str) -> str:
    text = request.query.get(name, "")
    whole, _, fraction = text.partition(".")
    text = whole if whole.isdigit() and fraction.isdigit() else text
    return moment(text) if text not in ("", "0") else ""


async def logs(request: web.Request) -> web.StreamResponse:
    """GET /containers/NAME/logs."""
    record = find_container(request)
    shown = _Shown(request, record)
    tail = request.query.get("tail") or "all"
    if tail != "all" and not tail.lstrip("-").isdigit():
        raise ApiError(400, f"tail: neither a number nor all: {tail}")
    with _output(request, record, later=False) as output:
        lines = [line for line in output.more() if shown.wants(line)]
        if tail != "all" and int(tail) >= 0:
            lines = lines[len(lines) - int(tail) :] if int(tail) < len(lines) else lines
        response = web.StreamResponse(headers={"Content-Type": shown.media_type})
        await response.prepare(request)
        for line in lines:
            await response.write(shown.piece(line))
        if flag(request, "follow"):
            async for line in output.follow(record):
                if shown.wants(line):
                    await response.write(shown.piece(line))
    return response


async def attach(request: web.Request) -> web.StreamResponse:
    """POST /containers/NAME/attach."""
    record = find_container(request)
    stdin, streaming = flag(request, "stdin"), flag(request, "stream")
    shown = _Shown(request, record)
    with _output(request, record, later=not flag(request, "logs")) as output:
        if "upgrade" not in request.headers.get("Connection", "").lower():
            response = web.StreamResponse(headers={"Content-Type": shown.media_type})
            await response.prepare(request)
            async for line in _attached(request, record, output, streaming):
                if shown.wants(line):
                    await response.write(shown.piece(line))
            return response
        async with _taken_over(request, shown.media_type) as (response, reader, writer):
            feeding = None
            if stdin and streaming:
                feeding = asyncio.create_task(_feed(request, record, reader))
            try:
                async for line in _attached(request, record, output, streaming):
                    if shown.wants(line):
                        writer.write(shown.piece(line))
                        await writer.drain()
            finally:
                if feeding:
                    feeding.cancel()
                    await asyncio.gather(feeding, return_exceptions=True)
    return response


@contextlib.contextmanager
def _output(request: web.Request, record: Record, later: bool) -> Iterator[Output]:
    with service_of(request).records() as records:
        output = Output(records.directory(record.id), later)
    try:
        yield output
    finally:
        output.close()


async def _attached(
    request: web.Request, record: Record, output: Output, streaming: bool
) -> AsyncIterator[Line]:
    """What there is of the output and, if `streaming`, what comes until the container ends."""
    for line in output.more():
        yield line
    if streaming:
        running = await _run_of(request, record)
        if running:
            async for line in output.follow(running):
                yield line
        # One that was removed between two looks has left its log to us.
        for line in output.more():
            yield line


async def _run_of(request: web.Request, record: Record) -> Record | None:
    """The container as it runs, now or once it has been started."""
    if record.state == RUNNING:
        return record
    return await until_started(service_of(request).place, record)


async def _feed(request: web.Request, record: Record, reader: asyncio.StreamReader) -> None:
    if await _run_of(request, record) is None:
        return
    with service_of(request).records() as records:
        directory = records.directory(record.id)
    given = await Input.open(directory)
    if given:
        try:
            await given.feed(reader.read)
            # Its output is drained until the end, so that its front need not wait for us.
            await asyncio.Event().wait()
        finally:
            await given.close()


@contextlib.asynccontextmanager
async def _taken_over(
    request: web.Request, media_type: str
) -> AsyncIterator[tuple[web.StreamResponse, asyncio.StreamReader, asyncio.StreamWriter]]:
    """The connection as bytes both ways, once the client has been told so."""
    headers = {"Content-Type": media_type, "Connection": "Upgrade", "Upgrade": "tcp"}
    response = web.StreamResponse(status=101, reason="UPGRADED", headers=headers)
    await response.prepare(request)
    transport = request.transport
    if transport is None:
        raise ConnectionResetError
    await _until_taken(transport)
    before = transport.get_protocol()
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    protocol.connection_made(transport)
    transport.set_protocol(protocol)
    writer = asyncio.StreamWriter(transport, protocol, reader, loop)
    task = asyncio.current_task()
    assert task is not None
    watching = asyncio.create_task(_until_gone(transport, task.cancel))
    try:
        yield response, reader, writer
    finally:
        watching.cancel()
        transport.set_protocol(before)
        transport.close()


async def _until_taken(transport: asyncio.Transport) -> None:
    """Wait until the client has read the head of the answer.

    docker-py reads that through a buffer and the rest behind its back: what comes in one read with
    the head is lost to it.
    """
    socket = transport.get_extra_info("socket")
    for _ in range(_READS):
        # For a socket this is SIOCOUTQ (unix(7)): what the other end has still to read.
        if fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, b"\0" * 4) == b"\0" * 4:
            return
        await asyncio.sleep(_READ)


async def _until_gone(transport: asyncio.Transport, act: Callable[[], object]) -> None:
    """Call `act` when the client has closed its end, and not only half of it."""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), 0)
    while not any(events & select.POLLHUP for _, events in poll.poll(0)):
        await asyncio.sleep(_LOOK)
    act()
