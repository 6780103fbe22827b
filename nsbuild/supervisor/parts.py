"""What the supervisor is made of: handed over by those who have made the container."""

from __future__ import annotations

import socket
from collections.abc import Callable

from nsbuild.tuples import NamedTuple

from .entrants import Offer
from .initlink import InitLink
from .initpriority import InitPriority
from .spin import SpinGuard
from .vdso import Patch


class Parts(NamedTuple):
    """What the container's makers hand over."""

    listener_fd: int
    proc_fd: int
    pids: int
    """The container's PID namespace, open."""
    link: InitLink
    priority: InitPriority
    events: socket.socket
    front: socket.socket
    fuse: dict[str, int]
    """Name in served.SERVED -> descriptor of its FUSE connection."""
    patch: Patch
    spin: SpinGuard | None
    """None without SCHED_FIFO, under which alone a spinner keeps the others from running."""
    start: int
    """Real time in nanoseconds from which what the kernel stamps is the container's doing."""
    users: int
    """The inode of the container's user namespace."""
    workdir: bytes
    """The mount point that counts as the working directory; empty for none."""
    network: bool
    """Whether the container has the host's network, and so peers who take their time."""
    inherited: tuple[int, ...] = (0, 1, 2)
    """Descriptors of ours that the command has from the caller."""
    offer: Callable[[int], Offer] | None = None
    """Makes what an entrant hands its listener over by; None where nobody may enter."""
    lasting: frozenset[bytes] = frozenset()
    """The file systems that are there without the container; empty where nobody needs to know."""
