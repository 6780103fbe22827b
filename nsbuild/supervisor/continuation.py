"""The two ends of a call that is one of several of a build: how it goes on, and what it leaves.

The arithmetic is in nsbuild.determinism.continuation; this joins it with the root process and with
the files that the supervisor knows.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from nsbuild.determinism.clock import Clock, GlobalClock
from nsbuild.determinism.continuation import Earlier, Left, Root, leave
from nsbuild.determinism.entropy import Stream, root_seed
from nsbuild.determinism.files import Key
from nsbuild.determinism.names import ROOT, ROOT_PID

from .filetimes import FileTimes, Found
from .processes import Process, ProcessTable
from .rules import Rules


def root_process(rules: Rules) -> Process:
    """The command's process, of which all others descend but those that come in later."""
    clock = GlobalClock(rules.rates) if rules.global_clock else Clock(rules.rates)
    root = Process(ROOT, ROOT_PID, clock, Stream(root_seed(rules.seed)))
    root.orphan = True
    if rules.earlier is not None:
        _resume(root, rules.earlier)
    return root


def _resume(root: Process, earlier: Earlier) -> None:
    """Let a build's root process be where the calls before have come to."""
    earlier.begin(root.clock)
    if earlier.root is not None:
        root.stream.position = earlier.root.position
        root.forks = earlier.root.forks
        root.threads_made = earlier.root.threads
        root.made = earlier.root.made


def progress(table: ProcessTable) -> Root:
    """How far the root process has come, which has ended."""
    root = table.root
    if root.pidfd in table.by_pidfd:
        table.ended(root.pidfd)
    clock = root.clock
    return Root(
        *(clock.wall, clock.monotonic, root.stream.position),
        *(root.forks, root.threads_made, root.made),
    )


def files_left(times: FileTimes, found: Iterable[Found]) -> dict[Key, Left]:
    """The files that the next call has to know of: none of what goes with the container.

    `found` is what `FileTimes.finish` returned.
    """
    left = {} if times.earlier is None else times.earlier.untouched(times.table)
    for key, mount, path, file in found:
        if times.devices.mount(mount, 0) not in times.devices.passing:
            entry = leave(file, os.fsdecode(path))
            if entry is not None:
                left[key] = entry
    return left
