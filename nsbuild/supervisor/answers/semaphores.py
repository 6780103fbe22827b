"""semtimedop(2) with a timeout.

Nothing tells us when another changes a semaphore, so the values are looked at when everything
waits, in the IPC namespace of the caller, where the supervisor has no other business. What can be
done already, or then, is left to the kernel, which knows who may do it and undoes it (SEM_UNDO).
One at a time goes on: a second would find that the first has taken it, and wait by the kernel's
clock.
"""

from __future__ import annotations

import errno
import os

from nsbuild.kernel.files import setns
from nsbuild.kernel.namespaces import CLONE_NEWIPC
from nsbuild.kernel.sysvipc import IPC_NOWAIT, SEMBUF, SEMOPM, value
from nsbuild.kernel.x86_64 import NR
from nsbuild.supervisor.answers import Handler, signed32
from nsbuild.supervisor.deadline import Held
from nsbuild.supervisor.listener import Call
from nsbuild.supervisor.processes import Process
from nsbuild.supervisor.waits import Waits

from .wait import relative


class Semaphores:
    """Answers for semaphores that are waited for."""

    def __init__(self, waits: Waits) -> None:
        self._waits = waits
        self._namespace = 0

    def handlers(self) -> dict[int, Handler]:
        """See nsbuild.supervisor.answers."""
        return {NR["semtimedop"]: self.timed}

    def timed(self, call: Call, process: Process) -> None:
        """semtimedop(2)."""
        semaphores, count = signed32(call.args[0]), call.args[2] & 0xFFFFFFFF
        duration = relative(call, process, call.args[3])
        size = count * SEMBUF.size
        data = process.memory.read(call, call.args[1], size) if 0 < count <= SEMOPM else b""
        if duration <= 0 or not size or len(data) < size:
            call.resume()
            return
        operations = list(SEMBUF.iter_unpack(data))
        try:
            self._join(call.tid)
            ready = _is_possible(semaphores, operations)
        except OSError:
            ready = True
        if ready:
            call.resume()
            return

        def changed() -> bool:
            try:
                self._join(call.tid)
                return _is_possible(semaphores, operations)
            except OSError:
                return True

        def come() -> bool:
            try:
                _is_possible(semaphores, operations)
            except OSError as error:
                # The kernel would not say by which of the two it has gone.
                if error.errno in (errno.EINVAL, errno.EIDRM):
                    return call.fail(errno.EIDRM) or True
            call.resume()
            return True

        held = Held(call, process, duration, lambda: call.fail(errno.EAGAIN))
        held.changed = changed
        held.takes = True
        held.come = come
        held.interrupt = lambda: call.fail(errno.EINTR)
        self._waits.hold(held)

    def _join(self, tid: int) -> None:
        """Enter the IPC namespace of a thread, unless we are there; raises OSError."""
        fd = os.open(f"{tid}/ns/ipc", os.O_RDONLY | os.O_CLOEXEC)
        try:
            namespace = os.fstat(fd).st_ino
            if namespace != self._namespace:
                setns(fd, CLONE_NEWIPC)
                self._namespace = namespace
        finally:
            os.close(fd)


def _is_possible(semaphores: int, operations: list[tuple[int, int, int]]) -> bool:
    """Whether they need not wait: all can be done, or one of them is not to wait; OSError."""
    values: dict[int, int] = {}
    for number, operation, flags in operations:
        if number not in values:
            values[number] = value(semaphores, number)
        waits = values[number] != 0 if operation == 0 else values[number] + operation < 0
        if waits:
            return bool(flags & IPC_NOWAIT)
        values[number] += operation
    return True
