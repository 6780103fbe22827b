"""io_getevents(2) and io_pgetevents(2) with a timeout, and io_submit(2).

What has been done can be read from the ring that the kernel maps into the process for each context
(fs/aio.c). As long as something is being done by a disk, which goes on by itself, no timeout in the
container fires; so what is submitted is remembered until it is found in the ring. A poll
(IOCB_CMD_POLL) waits like any other for what somebody does and counts for nothing here.
"""

from __future__ import annotations

import errno
import struct

from nsbuild.kernel.x86_64 import NR
from nsbuild.supervisor.answers import Handler
from nsbuild.supervisor.deadline import Held
from nsbuild.supervisor.listener import Call
from nsbuild.supervisor.memory import MemoryClosedError
from nsbuild.supervisor.processes import Process
from nsbuild.supervisor.waits import Waits

from .wait import ALL_SIGNALS, SIGMASK_ARGUMENT, has_signal, read_mask, relative

_RING = struct.Struct("=8I")
"""struct aio_ring: id, number of events, head, tail, magic, two words of features, header size."""
_RING_MAGIC = 0xA10A10A1
_EVENT = struct.Struct("=QQqq")
"""struct io_event: data, iocb, and two results."""
_IOCB_OPCODE = struct.Struct("=16xH")
"""The head of struct iocb, with its aio_lio_opcode."""
_IOCB_CMD_POLL = struct.pack("=H", 5)
_MOST = 1 << 16
"""Of what is submitted by one call; the kernel takes no more than the context has room for."""


class Context:
    """What has been submitted, by address, and how far the ring has been looked at."""

    def __init__(self, tail: int) -> None:
        self.tail = tail
        self.flying: dict[int, int] = {}


class Aio:
    """Answers for asynchronous I/O of the kernel's own kind."""

    def __init__(self, waits: Waits) -> None:
        self._waits = waits
        self._contexts: dict[Process, dict[int, Context]] = {}

    def handlers(self) -> dict[int, Handler]:
        """See nsbuild.supervisor.answers."""
        return {
            NR["io_submit"]: self.submit,
            NR["io_getevents"]: self.getevents,
            NR["io_pgetevents"]: self.getevents,
        }

    def forget(self, process: Process) -> None:
        """`process` has ended, or runs a new program."""
        self._contexts.pop(process, None)

    def submit(self, call: Call, process: Process) -> None:
        """io_submit(2): the kernel does it."""
        where, count, array = call.args[:3]
        context = self._look(call, process, where)
        if context is not None and 0 < count <= _MOST:
            data = process.memory.read(call, array, count * 8)
            for (address,) in struct.iter_unpack("=Q", data[: len(data) // 8 * 8]):
                head = process.memory.read(call, address, _IOCB_OPCODE.size)
                polls = head[16:] == _IOCB_CMD_POLL
                if len(head) == _IOCB_OPCODE.size and not polls:
                    context.flying[address] = context.flying.get(address, 0) + 1
        call.resume()

    def getevents(self, call: Call, process: Process) -> None:
        """io_getevents(2), io_pgetevents(2)."""
        where, least, most = call.args[:3]
        duration = relative(call, process, call.args[4])
        context = self._look(call, process, where)
        if duration <= 0 or context is None or not 0 < least <= most < _MOST:
            call.resume()
            return

        def changed() -> bool:
            return _available(call, process, where) >= least

        def underway() -> bool:
            try:
                self._look(call, process, where)
            except MemoryClosedError:
                return False
            return bool(context.flying)

        held = Held(call, process, duration, lambda: _take(call, process, least))
        if call.nr == NR["io_pgetevents"] and call.args[5]:
            pair = process.memory.read(call, call.args[5], SIGMASK_ARGUMENT.size)
            mask = None
            if len(pair) == SIGMASK_ARGUMENT.size:
                mask = read_mask(call, process, SIGMASK_ARGUMENT.unpack(pair)[0])
            if mask is not None:
                held.masks = ~mask & ALL_SIGNALS, mask
        if changed() or (held.masks != (0, 0) and has_signal(call, held.masks[0])):
            call.resume()
            return
        held.changed = changed
        held.underway = underway
        held.interrupt = lambda: _interrupt(call, process)
        self._waits.hold(held)

    def _look(self, call: Call, process: Process, where: int) -> Context | None:
        """The context whose ring is at `where`, after what has been done; None if there is none."""
        ring = _read_ring(call, process, where)
        if ring is None:
            return None
        size, _, tail, header = ring
        own = self._contexts.setdefault(process, {})
        context = own.setdefault(where, Context(tail))
        while context.tail % size != tail:
            place = where + header + context.tail % size * _EVENT.size
            data = process.memory.read(call, place, _EVENT.size)
            if len(data) == _EVENT.size:
                address = _EVENT.unpack(data)[1]
                left = context.flying.pop(address, 1) - 1
                if left:
                    context.flying[address] = left
            context.tail = (context.tail + 1) % size
        return context


def _read_ring(call: Call, process: Process, where: int) -> tuple[int, int, int, int] | None:
    """How many events it has room for, head, tail, and the size of the header; None for no ring."""
    data = process.memory.read(call, where, _RING.size)
    if len(data) < _RING.size:
        return None
    _, size, head, tail, magic, _, _, header = _RING.unpack(data)
    valid = magic == _RING_MAGIC and 0 < size < _MOST and head < size and tail < size
    return (size, head, tail, header) if valid else None


def _available(call: Call, process: Process, where: int) -> int:
    ring = _read_ring(call, process, where)
    return _MOST if ring is None else (ring[2] - ring[1]) % ring[0]


def _take(call: Call, process: Process, least: int) -> bool:
    """The time is over: fewer than wanted are told, taken from the ring as a program may."""
    where = call.args[0]
    ring = _read_ring(call, process, where)
    if ring is None:
        return call.fail(errno.EINVAL)
    size, head, tail, header = ring
    count = min((tail - head) % size, least)
    read, write = process.memory.read, process.memory.write
    for index in range(count):
        place = where + header + (head + index) % size * _EVENT.size
        write(call, call.args[3] + index * _EVENT.size, read(call, place, _EVENT.size))
    if count:
        write(call, where + 8, struct.pack("=I", (head + count) % size))
    return call.answer(count)


def _interrupt(call: Call, process: Process) -> None:
    """A signal: what is there is told, else EINTR."""
    if _available(call, process, call.args[0]) not in (0, _MOST):
        _take(call, process, _MOST)
    else:
        call.fail(errno.EINTR)
