"""The files that the supervisor serves over FUSE: where they are mounted and what they look like.

What they hold is the loop's concern; whoever mounts them needs none of that.
"""

from __future__ import annotations

from nsbuild.tuples import NamedTuple


class Served(NamedTuple):
    """A file that the supervisor serves: its path inside and its real st_mode."""

    path: str
    mode: int
    shown: tuple[int, int, int]
    """st_mode and device number as the build sees them."""


SERVED = {
    "random": Served("/dev/random", 0o100666, (0o020666, 1, 8)),
    "urandom": Served("/dev/urandom", 0o100666, (0o020666, 1, 9)),
    "uuid": Served("/proc/sys/kernel/random/uuid", 0o100444, (0o100444, 0, 0)),
    "uptime": Served("/proc/uptime", 0o100444, (0o100444, 0, 0)),
}
