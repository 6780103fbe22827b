"""What the files of `served` hold; apart from it, because whoever mounts them needs none of it."""

from __future__ import annotations

from collections.abc import Callable

from .answers.procfiles import UptimeFile, UuidFile
from .answers.random import RandomDevice
from .fusefile import Content
from .processes import Process

CONTENTS: dict[str, Callable[[Callable[[int], Process | None]], Content]] = {
    "random": RandomDevice,
    "urandom": RandomDevice,
    "uuid": UuidFile,
    "uptime": UptimeFile,
}
"""Name in SERVED -> a file's content, for who is told of the process that reads."""
