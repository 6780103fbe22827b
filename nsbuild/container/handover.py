"""The page of memory through which the command's process hands over its listener.

Once the filter is installed, any system call of that process might be one that waits for an answer,
so it makes none: it writes the descriptor's number into shared memory and spins until the
supervisor, which runs above it on the same CPU and looks every now and then, has taken the
descriptor with pidfd_getfd(2). The same page carries the errno of an exec that failed, and to the
front process what the exit code alone does not say.
"""

from __future__ import annotations

import os
import select
import time

from nsbuild.kernel.sharedmem import SharedWords

LOOK_SECONDS = 0.0001

_LISTENER, _ERRNO, _TAKEN, _EXEC_ERRNO, _EXEC_STAGE, _LISTENING, _STATUS = range(7)

STAGE_EXEC = 1
STAGE_WORKDIR = 2
STAGE_IDS = 3
STAGE_GROUPS = 4
STAGE_GID = 5
STAGE_UID = 6
STAGE_LIMITS = 7


class Handover:
    """Shared by the front, the supervisor and its descendants; all fields start as 0.

    `fd` is a memfd for those who are no descendants (see nsbuild.supervisor.entrants).
    """

    def __init__(self, fd: int = -1) -> None:
        self._words = SharedWords(fd).words
        self._is_entrants = fd >= 0

    def offer(self, fd: int) -> None:
        """Called under the filter: offer `fd` and return when it has been taken."""
        words = self._words
        words[_LISTENER] = fd + 1
        if self._is_entrants:
            # The supervisor has more to do than to look here, and may have to wait for somebody
            # whom a spin would keep from the CPU: a call that waits for its answer does not. This
            # one shows no file, whose time the clock would move up to.
            os.path.exists("")
        while not words[_TAKEN]:
            pass

    def refuse(self, number: int) -> None:
        """The filter could not be installed, because of errno `number`."""
        self._words[_ERRNO] = number

    def await_offer(self, alive: int) -> int | None:
        """Wait for an offer; its descriptor, or None if it failed (`failure` says why).

        `alive` is a pidfd of the offering process, whose end ends the wait.
        """
        words = self._words
        ended = select.poll()
        ended.register(alive, select.POLLIN)
        while not words[_LISTENER]:
            if words[_ERRNO] or ended.poll(0):
                return None
            time.sleep(LOOK_SECONDS)
        return self.offered

    @property
    def offered(self) -> int:
        """The descriptor that is offered, -1 before that."""
        return self._words[_LISTENER] - 1

    def taken(self) -> None:
        """Let the offering process go on."""
        self._words[_TAKEN] = 1

    @property
    def failure(self) -> int:
        """errno of the failed installation, or 0."""
        return self._words[_ERRNO]

    def exec_failed(self, stage: int, number: int) -> None:
        """The command could not be started: at `stage`, with errno `number`."""
        self._words[_EXEC_ERRNO] = number
        self._words[_EXEC_STAGE] = stage

    @property
    def exec_failure(self) -> tuple[int, int]:
        """(stage, errno) of a command that could not be started; stage 0 if it could."""
        return self._words[_EXEC_STAGE], self._words[_EXEC_ERRNO]

    def listen(self) -> None:
        """In the command's process: from now on it gets the terminal's signals by itself."""
        self._words[_LISTENING] = 1

    @property
    def listening(self) -> bool:
        """Whether it does."""
        return bool(self._words[_LISTENING])

    def ended(self, status: int) -> None:
        """The command has ended with the wait status `status`."""
        self._words[_STATUS] = status + 1

    @property
    def status(self) -> int | None:
        """The command's wait status, None before its end."""
        return self._words[_STATUS] - 1 if self._words[_STATUS] else None
