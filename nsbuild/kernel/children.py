"""SIGCHLD as those need it who wait for children, whatever our caller has made of it.

Who ignores it has no children to wait for: the kernel reaps them, and waitpid fails with ECHILD
(wait(2), NOTES). An exec keeps a signal ignored, so a caller's shell can have done that to us.
"""

from __future__ import annotations

import signal

__all__ = ["are_ignored", "hear", "ignore_again"]


def _unheard(*_: object) -> None:
    """In the place of SIG_IGN: nothing is done, but the child stays until it is waited for."""


def hear() -> None:
    """Be a process that can wait for its children; `are_ignored` says whether it was none."""
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, _unheard)


def are_ignored() -> bool:
    """Whether our caller ignores SIGCHLD, and so would the command that it means to start."""
    return signal.getsignal(signal.SIGCHLD) in (signal.SIG_IGN, _unheard)


def ignore_again() -> None:
    """Undo `hear`, before this very process becomes the command."""
    if are_ignored():
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
