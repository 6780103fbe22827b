"""futex(2) and futex_waitv(2) with a timeout.

The call is kept (see nsbuild.supervisor.waits), and the words in the guest's memory are looked at
when another thread of the process makes a notified call, and when everything waits: nothing tells
us of a FUTEX_WAKE.
"""

from __future__ import annotations

import errno
import struct

from nsbuild.kernel.x86_64 import NR
from nsbuild.supervisor.answers import Handler
from nsbuild.supervisor.deadline import Held
from nsbuild.supervisor.listener import Call
from nsbuild.supervisor.processes import Process
from nsbuild.supervisor.waits import Waits

from .time import CLOCK_MONOTONIC, CLOCK_REALTIME
from .wait import relative, until

FUTEX_CMD_MASK = 0x7F
FUTEX_CLOCK_REALTIME = 256
FUTEX_WAIT, FUTEX_LOCK_PI, FUTEX_WAIT_BITSET, FUTEX_LOCK_PI2 = 0, 6, 9, 13
FUTEX_WAIT_REQUEUE_PI = 11
FUTEX_TID_MASK = 0x3FFFFFFF
FUTEX_32, FUTEX_PRIVATE_FLAG = 2, 128
FUTEX_WAITV_MAX = 128

_ERESTARTSYS, _ERESTARTNOINTR = 512, 513
"""linux/errno.h: the call is made again after the handler, if that has SA_RESTART; in any case."""
_WORD = struct.Struct("=I")
_WAITER = struct.Struct("=QQII")
"""struct futex_waitv: value, address, flags, reserved."""


class Futex:
    """Answers for futexes that are waited for."""

    def __init__(self, waits: Waits) -> None:
        self._waits = waits

    def handlers(self) -> dict[int, Handler]:
        """See nsbuild.supervisor.answers."""
        return {NR["futex"]: self.futex, NR["futex_waitv"]: self.waitv}

    def futex(self, call: Call, process: Process) -> None:
        """futex(2) with a timeout: FUTEX_WAIT, FUTEX_WAIT_BITSET, FUTEX_LOCK_PI(2).

        And FUTEX_WAIT_REQUEUE_PI: who changes the word and then moves the waiter to the other one
        finds nobody to move, and the waiter is told by EAGAIN that it has come too late to wait.
        """
        address, operation, expected, timeout = call.args[:4]
        command = operation & FUTEX_CMD_MASK
        if command == FUTEX_WAIT:
            duration: int | None = relative(call, process, timeout)
        else:
            wall = command == FUTEX_LOCK_PI or bool(operation & FUTEX_CLOCK_REALTIME)
            duration = until(call, process, timeout, wall)
        locks = command in (FUTEX_LOCK_PI, FUTEX_LOCK_PI2)
        read = process.memory.read

        def changed() -> bool:
            data = read(call, address, _WORD.size)
            if len(data) < _WORD.size:
                return True
            (value,) = _WORD.unpack(data)
            return not value & FUTEX_TID_MASK if locks else value != expected & 0xFFFFFFFF

        if duration is None or duration < 0 or changed():
            call.resume()
            return

        def expire() -> bool:
            return call.fail(errno.ETIMEDOUT)

        if not duration:
            expire()
            return
        held = Held(call, process, duration, expire)
        held.changed = changed
        if not locks and command != FUTEX_WAIT_REQUEUE_PI:
            # For the kernel it would never have slept. And what is left of an absolute time it
            # counts by its own clock.
            held.come = lambda: call.answer() or True
            held.interrupt = lambda: call.fail(errno.EINTR)
        elif not locks:
            held.interrupt = lambda: call.fail(_ERESTARTNOINTR)
        self._waits.hold(held)

    def waitv(self, call: Call, process: Process) -> None:
        """futex_waitv(2), whose timeout is absolute."""
        array, count, flags, timeout, clock = call.args[:5]
        count, clock = count & 0xFFFFFFFF, clock & 0xFFFFFFFF
        size = count * _WAITER.size
        data = process.memory.read(call, array, size) if 0 < count <= FUTEX_WAITV_MAX else b""
        waiters = list(_WAITER.iter_unpack(data)) if len(data) == size else []
        duration = until(call, process, timeout, clock == CLOCK_REALTIME)
        valid = clock in (CLOCK_REALTIME, CLOCK_MONOTONIC) and not flags & 0xFFFFFFFF and waiters
        plain = all(
            flags & ~FUTEX_PRIVATE_FLAG == FUTEX_32 and not more for _, _, flags, more in waiters
        )

        def changed() -> int | None:
            """Which of them has; -1 if one cannot be read."""
            for index, (value, address, _, _) in enumerate(waiters):
                data = process.memory.read(call, address, _WORD.size)
                if len(data) < _WORD.size:
                    return -1
                if _WORD.unpack(data)[0] != value & 0xFFFFFFFF:
                    return index
            return None

        if not valid or not plain or duration is None or changed() is not None:
            # The kernel refuses it, or says that it has come too late to wait.
            call.resume()
            return

        def come() -> bool:
            index = changed()
            if index is not None and index >= 0:
                call.answer(index)
            elif index is not None:
                call.fail(errno.EFAULT)
            return index is not None

        if duration <= 0:
            call.fail(errno.ETIMEDOUT)
            return
        held = Held(call, process, duration, lambda: call.fail(errno.ETIMEDOUT))
        held.changed = lambda: changed() is not None
        held.come = come
        held.interrupt = lambda: call.fail(_ERESTARTSYS)
        self._waits.hold(held)
