"""nsbuild's verbs as the service calls them: each one in a process of its own.

A verb that has been started is seen through to its end, even if the client who wanted it goes away:
half a container is of use to nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator

from nsbuild.service.errors import ApiError
from nsbuild.tuples import NamedTuple

_ERROR, _WARNING = "Error: ", "nsbuild: "
_PATIENCE = 10.0
"""Seconds in which verbs may end when the service does; longer ones are ended."""


class Done(NamedTuple):
    """A verb that has ended: its exit code and what it has said."""

    code: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        """What it printed."""
        return self.stdout.decode(errors="replace").strip()

    @property
    def complaint(self) -> str:
        """Why it has failed, in its own words."""
        found = [line for line in self.stderr.splitlines() if not line.startswith(_WARNING)]
        return "\n".join(line.removeprefix(_ERROR) for line in found) or "it died without a word"

    @property
    def warnings(self) -> list[str]:
        """What it said beside."""
        lines = self.stderr.splitlines()
        return [line.removeprefix(_WARNING) for line in lines if line.startswith(_WARNING)]


class Verbs:
    """Starts verbs, and knows those that run."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Done]] = set()

    def begin(self, *words: str) -> asyncio.Task[Done]:
        """Start `nsbuild WORDS`; it goes on whatever becomes of the task that awaits it."""
        if any("\0" in word for word in words):
            raise ApiError(400, "a text has a NUL byte in it")
        task = asyncio.create_task(_finish(words))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def run(self, *words: str) -> Done:
        """The verb, once it has ended."""
        return await asyncio.shield(self.begin(*words))

    async def ok(self, *words: str, status: int = 500) -> Done:
        """The same; ApiError with `status` unless it succeeds."""
        done = await self.run(*words)
        if done.code:
            raise ApiError(status, done.complaint)
        return done

    async def close(self) -> None:
        """Wait for verbs that run; those that take too long are ended."""
        if self._running:
            await asyncio.wait(self._running, timeout=_PATIENCE)
        left = tuple(self._running)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _finish(words: tuple[str, ...]) -> Done:
    async with started(*words) as process:
        stdout, stderr = await process.communicate()
    return Done(process.returncode or 0, stdout, stderr.decode(errors="replace"))


@contextlib.asynccontextmanager
async def started(*words: str, fed: bool = False) -> AsyncIterator[asyncio.subprocess.Process]:
    """The process of `nsbuild WORDS`, with pipes; `fed` ones have a pipe as stdin, too.

    It is ended with the context.
    """
    fd = os.memfd_create("nsbuild-words")
    try:
        with open(os.dup(fd), "w") as file:
            json.dump(words, file)
        os.lseek(fd, 0, os.SEEK_SET)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "nsbuild.service.child", str(fd)),
            stdin=asyncio.subprocess.PIPE if fed else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=(fd,),
            # Signals from the terminal of the service are for the service.
            start_new_session=True,
        )
    finally:
        os.close(fd)
    try:
        yield process
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
