"""Files that the supervisor serves by FUSE, each a mount of its own in the container."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .answers.procfiles import UptimeFile, UuidFile
from .answers.random import RandomDevice
from .fusefile import Content
from .processes import Process


class Served(NamedTuple):
    """A file that the supervisor serves: its path inside, its real st_mode, and what it holds."""

    path: str
    mode: int
    content: Callable[[Callable[[int], Process | None]], Content]
    shown: tuple[int, int, int]
    """st_mode and device number as the build sees them."""


SERVED = {
    "random": Served("/dev/random", 0o100666, RandomDevice, (0o020666, 1, 8)),
    "urandom": Served("/dev/urandom", 0o100666, RandomDevice, (0o020666, 1, 9)),
    "uuid": Served("/proc/sys/kernel/random/uuid", 0o100444, UuidFile, (0o100444, 0, 0)),
    "uptime": Served("/proc/uptime", 0o100444, UptimeFile, (0o100444, 0, 0)),
}
