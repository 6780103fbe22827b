"""The page of memory through which the command's process hands over its listener.

Once the filter is installed, any system call of that process might be one that waits for an answer,
so it makes none: it writes the descriptor's number into shared memory and spins until the
supervisor, which runs above it on the same CPU and looks every now and then, has taken the
descriptor with pidfd_getfd(2). The same page carries the errno of an exec that failed, to the
front process what the exit code alone does not say, and to the command the signals that came before
it was there: everybody from the front process on has them blocked until its own child is there, and
then notes what is pending.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterable

from nsbuild.kernel.sharedmem import SharedWords

LOOK_SECONDS = 0.0001

_LISTENER, _ERRNO, _TAKEN, _EXEC_ERRNO, _EXEC_STAGE, _BEGUN, _STATUS, _FRONT, _SIGNALS = range(9)
"""Indices of the page's words; from _SIGNALS on there is one for each signal."""

FORWARDED = frozenset(
    (
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
    )
)
"""Signals that are the command's, whichever process of ours gets them."""

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

    def begin(self) -> None:
        """In the command's process: what may fail before the filter has been done."""
        self._words[_BEGUN] = 1

    @property
    def begun(self) -> bool:
        """Whether it has."""
        return bool(self._words[_BEGUN])

    def note_pending(self) -> None:
        """After a fork: keep for the command what is pending here, which the child has not got.

        What has come since the fork the child has as well. That is no harm: until it is executed
        the command has no handlers, and one signal or two end it in the same way.
        """
        self._note(signal.sigpending() & FORWARDED)

    def note_first(self, numbers: Iterable[int]) -> None:
        """In the front process, once: `numbers`, of FORWARDED, were pending when it had forked."""
        self._note(numbers)
        self._words[_FRONT] = 1

    def _note(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._words[_SIGNALS + number] = 1

    def await_front(self) -> None:
        """Wait until the front process has noted what it had, so that the command may go on."""
        while not self._words[_FRONT]:
            time.sleep(LOOK_SECONDS)

    @property
    def noted(self) -> list[int]:
        """The signals that have been noted."""
        return [number for number in FORWARDED if self._words[_SIGNALS + number]]

    def ended(self, status: int) -> None:
        """The command has ended with the wait status `status`."""
        self._words[_STATUS] = status + 1

    @property
    def status(self) -> int | None:
        """The command's wait status, None before its end."""
        return self._words[_STATUS] - 1 if self._words[_STATUS] else None
