"""setsockopt and getsockopt of SO_RCVTIMEO and SO_SNDTIMEO: timeouts of sockets in virtual time.

The profile notifies these options only, old and new. The kernel is told a timeout that never comes,
in which the real one is hidden (see nsbuild.supervisor.sockettimes), and asked for it again. Where
ptrace(2) is not to be had, because somebody inside traces the caller or the container runs in
another that forbids it, no call could be ended, and the kernel's own timeout counts real time.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable

from nsbuild.determinism.clock import NSEC_PER_SEC
from nsbuild.kernel import ptrace
from nsbuild.kernel.process import read_small, status_fields
from nsbuild.kernel.x86_64 import NR
from nsbuild.supervisor.answers import Handler, signed32
from nsbuild.supervisor.borrow import borrow
from nsbuild.supervisor.listener import Call
from nsbuild.supervisor.memory import out_of_descriptors
from nsbuild.supervisor.processes import Process
from nsbuild.supervisor.sockettimes import TIMEVAL, as_socket, hidden_in, hide

MICROSECONDS = 1_000_000
_INT = struct.Struct("=i")


class SocketTimes:
    """Answers for the timeouts of sockets; `first` is called whenever one is set."""

    def __init__(self, first: Callable[[], None]) -> None:
        self._set = first

    def handlers(self) -> dict[int, Handler]:
        """See nsbuild.supervisor.answers."""
        return {NR["setsockopt"]: self.set, NR["getsockopt"]: self.get}

    def set(self, call: Call, process: Process) -> None:
        """setsockopt(2)."""
        own = _borrow(call, process)
        if own is None:
            return
        with own:
            if signed32(call.args[4]) < TIMEVAL.size:
                call.fail(errno.EINVAL)
                return
            data = process.memory.read(call, call.args[3], TIMEVAL.size)
            if len(data) < TIMEVAL.size:
                call.fail(errno.EFAULT)
                return
            seconds, microseconds = TIMEVAL.unpack(data)
            if not 0 <= microseconds < MICROSECONDS:
                call.fail(errno.EDOM)
                return
            hides = (seconds or microseconds) and seconds >= 0 and _can_end(call.tid)
            option = hide(seconds * MICROSECONDS + microseconds) if hides else data
            # A negative time is over at once, and none is endless, for the kernel as well.
            try:
                own.setsockopt(socket.SOL_SOCKET, signed32(call.args[2]), option)
            except OSError as error:
                call.fail(error.errno or errno.EINVAL)
                return
        if call.answer() and hides:
            call.said = (seconds * MICROSECONDS + microseconds) * (NSEC_PER_SEC // MICROSECONDS)
            self._set()

    def get(self, call: Call, process: Process) -> None:
        """getsockopt(2)."""
        own = _borrow(call, process)
        if own is None:
            return
        with own:
            try:
                option = own.getsockopt(socket.SOL_SOCKET, signed32(call.args[2]), TIMEVAL.size)
            except OSError as error:
                call.fail(error.errno or errno.ENOPROTOOPT)
                return
        timeout = hidden_in(option)
        if timeout is not None:
            option = TIMEVAL.pack(*divmod(timeout, MICROSECONDS))
        value, length = call.args[3:5]
        data = process.memory.read(call, length, _INT.size)
        if len(data) < _INT.size:
            call.fail(errno.EFAULT)
            return
        size = min(_INT.unpack(data)[0], len(option))
        if size < 0:
            call.fail(errno.EINVAL)
            return
        write = process.memory.write
        if (size and write(call, value, option[:size]) < size) or write(
            call, length, _INT.pack(size)
        ) < _INT.size:
            call.fail(errno.EFAULT)
            return
        call.answer()


def _borrow(call: Call, process: Process) -> socket.socket | None:
    """Our duplicate of the call's socket; None after having failed the call."""
    try:
        return as_socket(borrow(call.tid, process, signed32(call.args[0])))
    except OSError as error:
        out_of_descriptors(error)
        call.fail(error.errno or errno.EBADF)
    return None


def _can_end(tid: int) -> bool:
    """Whether a call of that thread could be ended at its timeout."""
    try:
        tracer = status_fields(read_small(f"{tid}/status"))[b"TracerPid"]
    except (OSError, KeyError):
        return False
    return tracer == b"0" and ptrace.available()
