"""The answers for calls that wait for other things than descriptors, signals or time alone."""

from __future__ import annotations

from nsbuild.supervisor.answers import Handler
from nsbuild.supervisor.waits import Waits

from .futex import Futex
from .receive import Receive
from .semaphores import Semaphores


def waiting(waits: Waits) -> dict[int, Handler]:
    """See nsbuild.supervisor.answers."""
    return {
        **Futex(waits).handlers(),
        **Receive(waits).handlers(),
        **Semaphores(waits).handlers(),
    }
