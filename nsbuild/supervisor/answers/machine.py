"""The machine: one CPU, number 0, never scheduled specially, and the name that uname gives.

The guest really is pinned to one CPU of the host; which one, and under which policy, is not its
business. Calls that only would *set* such things succeed in the filter and change nothing.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable

from nsbuild.kernel.namespaces import PER_LINUX32, PER_MASK
from nsbuild.kernel.process import read_small
from nsbuild.kernel.x86_64 import NR
from nsbuild.supervisor.answers import Handler, signed32
from nsbuild.supervisor.listener import Call
from nsbuild.supervisor.processes import Process

_UTS_FIELD = 65
"""__NEW_UTS_LEN + 1: the size of each field of struct new_utsname."""
_AFFINITY = struct.pack("=Q", 1)
_SCHED_ATTR_SIZE = 56
_SCHED_ATTR_VER0 = 48
_NICE_ZERO = 20
"""getpriority(2), raw: 20 minus the nice value."""
_RR_INTERVAL = struct.pack("=qq", 0, 4_000_000)
_PAGE_SIZE = 4096


class UtsNames:
    """What uname says beyond the two names that the UTS namespace holds."""

    def __init__(self, release: str, version: str, machine: str) -> None:
        self.release = release
        self.version = version
        self.machine = machine


class Machine:
    """Answers about CPUs, scheduling and names.

    `uts_namespace` returns host and domain name as the container's UTS namespace has them now, so
    that sethostname(2) inside has its usual effect.
    """

    def __init__(self, names: UtsNames, uts_namespace: Callable[[], tuple[bytes, bytes]]) -> None:
        self.names = names
        self.uts_namespace = uts_namespace

    def handlers(self) -> dict[int, Handler]:
        """See nsbuild.supervisor.answers."""
        return {
            NR["getcpu"]: self.getcpu,
            NR["sched_getaffinity"]: self.sched_getaffinity,
            NR["sched_getparam"]: self.sched_getparam,
            NR["sched_getattr"]: self.sched_getattr,
            NR["sched_rr_get_interval"]: self.sched_rr_get_interval,
            NR["getpriority"]: self.getpriority,
            NR["uname"]: self.uname,
        }

    def getcpu(self, call: Call, process: Process) -> None:
        """getcpu(2): CPU 0, node 0."""
        for address in call.args[:2]:
            if address and process.memory.write(call, address, bytes(4)) < 4:
                call.fail(errno.EFAULT)
                return
        call.answer()

    def sched_getaffinity(self, call: Call, process: Process) -> None:
        """sched_getaffinity(2): the mask has bit 0; returns the bytes written, as the raw call."""
        size = call.args[1] & 0xFFFFFFFF
        if size < len(_AFFINITY) or size % 8:
            call.fail(errno.EINVAL)
        elif process.memory.write(call, call.args[2], _AFFINITY) < len(_AFFINITY):
            call.fail(errno.EFAULT)
        else:
            call.answer(len(_AFFINITY))

    def sched_getparam(self, call: Call, process: Process) -> None:
        """sched_getparam(2): SCHED_OTHER has priority 0."""
        self._write_scheduling(call, process, call.args[1], bytes(4))

    def sched_rr_get_interval(self, call: Call, process: Process) -> None:
        """sched_rr_get_interval(2)."""
        self._write_scheduling(call, process, call.args[1], _RR_INTERVAL)

    def sched_getattr(self, call: Call, process: Process) -> None:
        """sched_getattr(2): SCHED_OTHER, nice 0."""
        size, flags = call.args[2] & 0xFFFFFFFF, call.args[3]
        if flags or not _SCHED_ATTR_VER0 <= size <= _PAGE_SIZE:
            call.fail(errno.EINVAL)
            return
        known = min(size, _SCHED_ATTR_SIZE)
        data = struct.pack("=I", known).ljust(known, b"\0")
        self._write_scheduling(call, process, call.args[1], data)

    def _write_scheduling(self, call: Call, process: Process, address: int, data: bytes) -> None:
        if signed32(call.args[0]) < 0 or not address:
            call.fail(errno.EINVAL)
        elif process.memory.write(call, address, data) < len(data):
            call.fail(errno.EFAULT)
        else:
            call.answer()

    def getpriority(self, call: Call, _process: Process) -> None:
        """getpriority(2): nice 0 for everybody."""
        if signed32(call.args[0]) not in (0, 1, 2):
            call.fail(errno.EINVAL)
        else:
            call.answer(_NICE_ZERO)

    def uname(self, call: Call, process: Process) -> None:
        """uname(2)."""
        nodename, domainname = self.uts_namespace()
        names = self.names
        machine = "i686" if _is_linux32(call.tid) else names.machine
        release, version = names.release.encode(), names.version.encode()
        fields = (b"Linux", nodename, release, version, machine.encode(), domainname)
        data = b"".join(_uts_field(field) for field in fields)
        if process.memory.write(call, call.args[0], data) < len(data):
            call.fail(errno.EFAULT)
        else:
            call.answer()


def _uts_field(text: bytes) -> bytes:
    return text[: _UTS_FIELD - 1].ljust(_UTS_FIELD, b"\0")


def _is_linux32(tid: int) -> bool:
    """Whether setarch(8) has told the process that it runs on 32 bits."""
    try:
        persona = int(read_small(f"{tid}/personality"), 16)
    except (OSError, ValueError):
        return False
    return persona & PER_MASK == PER_LINUX32
