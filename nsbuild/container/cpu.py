"""The one CPU: which it is, and who comes first on it.

The guest and its supervisor share a CPU, the supervisor above: SCHED_FIFO over SCHED_FIFO where the
host allows it, so that the schedule itself repeats; else a nice value that keeps the supervisor
above, so that at least no signal of the guest's hits a call that is being handed over (equal values
fail 17 % of calls on a busy CPU).
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
from collections.abc import Collection, Iterator

import prctl

from nsbuild.container.spec import SchedulingSpec
from nsbuild.errors import NsbuildError, warn
from nsbuild.kernel.sched import set_slice
from nsbuild.supervisor.initpriority import PRIORITY

GUEST_PRIORITY = 10
GUEST_NICE = 12
"""How much worse the guest's nice value is where SCHED_FIFO cannot be had.

A supervisor that has used up its share wakes late, and its share is one among all runnable guests.
Runs of 320 jobs, eight at a time, in which a fork failed with EINTR: 8 of 80 at 7, 2 of 80 at 10,
none of 160 at 12. More would cost more where others want the CPU: beside one busy loop the same
work took 3.2 s at 7, 4.6 at 10, 6.1 at 12 and 7.7 at 15.
"""
SUPERVISOR_NICE = -20
"""The supervisor's own there, if it may (CAP_SYS_NICE).

With root's at 0 and the guest at 12, two of nine runs of 960 jobs, eight at a time, still had a
fork that failed.
"""


def check_cpu(cpu: int) -> None:
    """NsbuildError unless we may run on `cpu`."""
    allowed = os.sched_getaffinity(0)
    if cpu not in allowed:
        numbers = ", ".join(map(str, sorted(allowed)))
        raise NsbuildError(f"cannot run on CPU {cpu}", f"these can be used here: {numbers}")


GUEST_SLICE = 100_000_000
"""The guest's time slice without SCHED_FIFO, in nanoseconds, the longest there is.

Of 200 jobs that dash starts at once it got 12 to 66 started before a fork failed with EINTR, by
nice values alone and with a short slice for the supervisor; with a long one for the guest, all 200,
each time (Linux 6.18): a supervisor that wakes then goes before them, however many there are.
"""


class CpuClaim:
    """A CPU chosen for one container, kept from other containers' choice while it lasts.

    The claim is an abstract unix socket, which the kernel takes back however we end. `others` are
    those that the container may move to: none where it was told where to be, or has to share.
    """

    def __init__(self, wanted: int | None) -> None:
        self._claim: socket.socket | None = None
        self.others: frozenset[int] = frozenset()
        if wanted is not None:
            check_cpu(wanted)
            self.cpu = wanted
            return
        allowed = sorted(os.sched_getaffinity(0), reverse=True)
        for cpu in allowed:
            if self.move(cpu):
                self.others = frozenset(allowed) - {cpu}
                return
        # Every CPU has a container already; any of them is as good as another.
        self.cpu = allowed[os.getpid() % len(allowed)]

    def move(self, cpu: int) -> bool:
        """Claim `cpu` in the place of what was claimed; False if another container has it."""
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            claim.bind(f"\0nsbuild/cpu/{cpu}")
        except OSError:
            claim.close()
            return False
        if self._claim is not None:
            self.others = (self.others | {self.cpu}) - {cpu}
            self._claim.close()
        self._claim = claim
        self.cpu = cpu
        return True

    def let_go(self) -> None:
        """Leave the claim to another process, which has it since a fork."""
        if self._claim is not None:
            self._claim.close()


def supervise_on(cpu: int, spec: SchedulingSpec) -> bool:
    """Put the calling process above its guest and pin it to `cpu`; True under SCHED_FIFO.

    Must happen before the user namespace is entered: inside, SCHED_FIFO is EPERM.
    """
    # Before it moves to where others may be busy: an ordinary task would wait for a slice there.
    fifo = _take_fifo(spec)
    os.sched_setaffinity(0, {cpu})
    return fifo


def _take_fifo(spec: SchedulingSpec) -> bool:
    if spec.policy == "other":
        _outweigh()
        return False
    try:
        if not _would_keep_fifo():
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except PermissionError as error:
        hint = _fifo_hint()
        if spec.policy == "fifo":
            raise NsbuildError.from_os("cannot use SCHED_FIFO", error, hint) from error
        warn(f"no SCHED_FIFO here: values repeat, the order of processes may not ({hint})")
        _outweigh()
        return False
    return True


def _would_keep_fifo() -> bool:
    """Whether we could still raise a task after joining a user namespace (see join), if we must.

    Capabilities of the namespace outside count for nothing there, but the limit does.
    """
    if prctl.cap_effective.sys_admin:
        return True
    allowed, _ = resource.getrlimit(resource.RLIMIT_RTPRIO)
    return allowed == resource.RLIM_INFINITY or allowed >= PRIORITY


@contextlib.contextmanager
def aside(cpu: int, others: Collection[int], fifo: bool) -> Iterator[None]:
    """Leave `cpu`, to which the calling process is pinned, to its child for a while.

    On `others` there may be other containers: it goes before their guests, which might not let go
    of the CPU, and behind their supervisors. Where there are none it stays.
    """
    if not others:
        yield
        return
    # In this order: the child has our priority, and below it we would not get to move away.
    os.sched_setaffinity(0, others)
    if fifo:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(GUEST_PRIORITY + 1))
    try:
        yield
    finally:
        if fifo:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
        os.sched_setaffinity(0, {cpu})


def _outweigh() -> None:
    """Take SUPERVISOR_NICE where we may."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, SUPERVISOR_NICE)


def _fifo_hint() -> str:
    """How SCHED_FIFO can be allowed: root lacks it only in a container (sched(7))."""
    if os.geteuid() == 0:
        allowance = (
            "CAP_SYS_NICE, as by 'podman run --cap-add=SYS_NICE'"
            if prctl.cap_effective.sys_admin
            else f"RLIMIT_RTPRIO, as by 'podman run --ulimit=rtprio={PRIORITY}:{PRIORITY}'"
        )
        return (
            f"as root it takes {allowance}, "
            "and a real-time budget in cpu.rt_runtime_us if the cgroup has that file"
        )
    return (
        f"allow it with a line '* - rtprio {PRIORITY}' "
        "in /etc/security/limits.d/nsbuild.conf and a new login"
    )


def become_guest(fifo: bool) -> None:
    """Step below the supervisor; the calling process is about to run the command."""
    if fifo:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(GUEST_PRIORITY))
    else:
        nice = os.nice(0)
        # The supervisor's own is inherited; what the caller had is lost then, and 0 is most likely.
        base = 0 if nice == SUPERVISOR_NICE else nice
        set_slice(min(base + GUEST_NICE, 19), GUEST_SLICE)
