"""Causal names: who a process is, told by who forked it and as which of its children.

The command is "1"; its third child is "1.3"; that one's first child "1.3.1". A name does not depend
on the schedule, and the process number follows from the name: a hash of it, in the range that a
kernel with the smallest default pid_max hands out.
"""

from __future__ import annotations

from collections.abc import Callable

from .digest import sha1

ROOT = "1"
ROOT_PID = 2
"""The command's process number; 1 is the container's init."""

FIRST_PID = 300
"""RESERVED_PIDS of kernel/pid.c: below it the kernel itself hands out none after start-up."""
PID_LIMIT = 32768
"""PID_MAX_DEFAULT of linux/threads.h; larger numbers are not to be had on every host."""


def child_name(parent: str, ordinal: int) -> str:
    """The name of the child forked as number `ordinal`, counted from 0."""
    return f"{parent}.{ordinal + 1}"


def entrant_name(ordinal: int) -> str:
    """The name of a process that comes into the running container as number `ordinal`, from 0.

    Nobody inside has forked it, so it heads a family of its own, as the command does.
    """
    return str(int(ROOT) + 1 + ordinal)


def thread_name(process: str, ordinal: int) -> str:
    """The name of the thread that `process` makes as number `ordinal`, counted from 0."""
    return f"{process}/{ordinal + 1}"


def preferred_pid(name: str) -> int:
    """The process number that follows from `name`: FIRST_PID <= pid < PID_LIMIT."""
    digest = sha1(name.encode(), usedforsecurity=False).digest()
    return FIRST_PID + int.from_bytes(digest[:8], "big") % (PID_LIMIT - FIRST_PID)


def next_free(wish: int, taken: Callable[[int], bool]) -> int:
    """The number `wish`, or the next that is not `taken`; LookupError when every number is."""
    span = PID_LIMIT - FIRST_PID
    for distance in range(span):
        pid = FIRST_PID + (wish - FIRST_PID + distance) % span
        if not taken(pid):
            return pid
    raise LookupError("no process number is free")
