"""The endpoints that copy files: tar archives into and out of containers, by `nsbuild cp`."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import stat
import tarfile
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from nsbuild.service.errors import ApiError
from nsbuild.service.requests import break_off, find_container
from nsbuild.service.verbs import Done, started

_CHUNK = 1 << 16
_HEAD = 8 * tarfile.RECORDSIZE
"""Bytes in which the first member's header is: longer names than that do not exist."""
_GO_DIRECTORY, _GO_SYMLINK = 1 << 31, 1 << 27
"""Bits of a mode as Go has it (io/fs), in which Docker's clients read it."""


async def get(request: web.Request) -> web.StreamResponse:
    """GET and HEAD /containers/NAME/archive: what is at `path`, as an archive."""
    where = _where(request)
    async with started("cp", where, "-") as process:
        assert process.stdout is not None
        head = b""
        while len(head) < _HEAD and (data := await process.stdout.read(_CHUNK)):
            head += data
        if not head:
            raise ApiError(404, await _complaint(process))
        headers = {
            "Content-Type": "application/x-tar",
            "X-Docker-Container-Path-Stat": _described(head),
        }
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        if request.method == "GET":
            await response.write(head)
            while data := await process.stdout.read(_CHUNK):
                await response.write(data)
            if await process.wait():
                return break_off(request, response)
    return response


async def put(request: web.Request) -> web.Response:
    """PUT /containers/NAME/archive: unpack the body at `path`, a directory that exists."""
    where = _where(request)
    async with started("cp", "-", where, fed=True) as process:
        assert process.stdin is not None
        # Where it wants no more it says why, and with which exit code.
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            async for data in request.content.iter_chunked(_CHUNK):
                process.stdin.write(data)
                await process.stdin.drain()
            process.stdin.close()
        complaint = await _complaint(process)
        if process.returncode:
            raise ApiError(404 if "must be a directory" in complaint else 400, complaint)
    return web.Response(status=200)


def _where(request: web.Request) -> str:
    path = request.query.get("path", "")
    if not path:
        raise ApiError(400, "path: which path?")
    return f"{find_container(request).id}:{path}"


async def _complaint(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    said = await process.stderr.read()
    code = await process.wait()
    return Done(code, b"", said.decode(errors="replace")).complaint


def _described(head: bytes) -> str:
    """The header about what the archive begins with."""
    with tarfile.open(fileobj=io.BytesIO(head), mode="r|") as archive:
        member = archive.next()
    assert member is not None
    mode = stat.S_IMODE(member.mode)
    mode |= _GO_DIRECTORY * member.isdir() | _GO_SYMLINK * member.issym()
    about: dict[str, Any] = {
        "name": member.name,
        "size": member.size,
        "mode": mode,
        "mtime": datetime.fromtimestamp(member.mtime, UTC).isoformat(),
        "linkTarget": member.linkname,
    }
    return base64.b64encode(json.dumps(about).encode()).decode()
