"""The supervisor's half of a container: from the parts that were made to what is left of them.

Apart from `launch`, because most of nsbuild hangs on it. `launch` imports this once the child that
becomes the container is on its way, so that one is loaded while the other is made.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from nsbuild.container import early
from nsbuild.container.cpu import GUEST_PRIORITY, CpuClaim
from nsbuild.container.handover import Handover
from nsbuild.container.init import FUSE_HINT, NO_FUSE
from nsbuild.container.join import join
from nsbuild.container.spec import ContainerSpec
from nsbuild.determinism.clock import NSEC_PER_SEC
from nsbuild.errors import warn
from nsbuild.supervisor.continuation import files_left, progress
from nsbuild.supervisor.devices import file_systems
from nsbuild.supervisor.initlink import Event, InitLink
from nsbuild.supervisor.initpriority import InitPriority
from nsbuild.supervisor.loop import Supervisor
from nsbuild.supervisor.parts import Parts
from nsbuild.supervisor.rotation import Rotation, pays
from nsbuild.supervisor.spin import SpinGuard
from nsbuild.supervisor.vdso import Patch
from nsbuild.tuples import NamedTuple

if TYPE_CHECKING:
    from nsbuild.supervisor.trace import Trace


class Made(NamedTuple):
    """What there is of a container when its command is about to start."""

    listener: int
    ready: Event
    """EVENT_READY, with its descriptors."""
    link: InitLink
    priority: InitPriority
    events: socket.socket
    front: socket.socket
    watcher: socket.socket | None
    """From `fork_watcher`; None where the guest is not under SCHED_FIFO."""
    start: int
    """Real time in nanoseconds when it was begun."""


def load() -> Patch:
    """Read of this kernel what cannot be read from inside: the vDSO's patch."""
    return Patch.of_this_kernel()


def make_supervisor(spec: ContainerSpec, made: Made, patch: Patch, trace: Trace) -> Supervisor:
    """Join the container and be ready to answer; raises NsbuildError."""
    ready = made.ready
    fuse = dict(zip(ready.data[1:].decode().split(), ready.fds[4:], strict=True))
    if not fuse and not spec.root.in_place:
        warn(f"{NO_FUSE}: /dev/random and /dev/urandom do not exist inside ({FUSE_HINT})")
    pids = ready.fds[1]
    contract = spec.command.contract
    bound = spec.scheduling.spin_bound
    spin = None
    if made.watcher is not None:
        spin = SpinGuard(os.fstat(pids).st_ino, bound, GUEST_PRIORITY, made.watcher)
    lasting = frozenset() if spec.state is None else file_systems()
    users = join(*ready.fds[2:4])
    parts = Parts(
        made.listener,
        ready.fds[0],
        pids,
        made.link,
        made.priority,
        made.events,
        made.front,
        fuse,
        patch,
        spin,
        made.start,
        users,
        os.fsencode(spec.root.writable_cwd or ""),
        spec.root.network != "none",
        (0, 1, 2, *(contract.caller.open if contract else ())),
        Handover,
        lasting,
    )
    return Supervisor(spec.rules, parts, trace)


def rotate(supervisor: Supervisor, claim: CpuClaim) -> None:
    """Let the container change between CPUs, where that spares it the kernel's pauses."""
    turns, spin = supervisor.turns, supervisor.parts.spin
    if turns is None or spin is None or not claim.others or not pays():
        return
    back, waiting, waits = spin.back, supervisor.entrants.waiting, supervisor.waits
    rotation = Rotation(
        claim,
        supervisor.parts.priority.pid,
        supervisor.table,
        turns,
        supervisor.births,
        # The idle process may run while all change, and then memory is looked at too early.
        lambda: not (back or waiting or waits.of_memory),
    )
    turns.by_itself = rotation.look


def finish(spec: ContainerSpec, supervisor: Supervisor, start: int, code: int) -> None:
    """Leave files and state as they are to be found by the next, and a hint after a failure."""
    if supervisor.parts.spin is not None:
        supervisor.parts.spin.dismiss()
    times, rules = supervisor.times, spec.rules
    found = times.finish()
    if spec.state is not None:
        files = files_left(times, found)
        epoch = rules.rates.epoch // NSEC_PER_SEC
        spec.state.save(rules.seed, epoch, start, progress(supervisor.table), files)
    if code:
        written = [path for file, path in times.dirty.items() if file.written]
        hint = early.hint(written, supervisor.table.root.clock.wall)
        if hint:
            warn(hint)
