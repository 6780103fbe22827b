"""Calls that wait with a timeout: poll, select and epoll, sigtimedwait, mq_timed*, sleeping.

A look, with a timeout of zero, is let go on at once, and so is who waits for descriptors without
one; but to be answered puts its caller behind all others that can run, so that who looks again and
again, or finds each time what it has itself put there, does not keep the CPU from what it looks
for. The other calls are notified only with a timeout that is not endless. What has come already is
left to the kernel, which sees it as well; else the call is kept (see nsbuild.supervisor.waits).
When something has come later, poll, select and epoll are answered here: somebody else may take it
meanwhile, and then the kernel would wait for real.

Futexes, semaphores, asynchronous I/O and recvmmsg have modules of their own. Blocking calls on a
socket with SO_RCVTIMEO or SO_SNDTIMEO are not notified: see nsbuild.supervisor.blocked.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct
from collections.abc import Callable, Sequence

from nsbuild.determinism.clock import LATEST, NSEC_PER_SEC
from nsbuild.kernel.epoll import EPOLL_EVENT_SIZE, epoll_events
from nsbuild.kernel.process import read_small, status_fields
from nsbuild.kernel.x86_64 import NR
from nsbuild.supervisor.answers import Handler, signed32
from nsbuild.supervisor.borrow import borrow
from nsbuild.supervisor.deadline import Held
from nsbuild.supervisor.idle import pending
from nsbuild.supervisor.listener import Call
from nsbuild.supervisor.processes import Process
from nsbuild.supervisor.waits import Waits

from .time import TIMESPEC

_POLLFD = struct.Struct("=iHH")
_MASK = struct.Struct("=Q")
SIGMASK_ARGUMENT = struct.Struct("=QQ")
"""The sixth argument of pselect6 and io_pgetevents: address and size of a signal mask."""

_MOST_FDS = 4096
"""Who waits for more descriptors waits for real: each costs us one as well."""

POLLIN, POLLPRI, POLLOUT, POLLERR, POLLHUP = 1, 2, 4, 8, 16
_FOR_READING = 0x40 | 0x80 | POLLIN | POLLHUP | POLLERR
_FOR_WRITING = 0x100 | 0x200 | POLLOUT | POLLERR
"""What select(2) takes for readable and for writable, as linux/poll.h has it (fs/select.c)."""

ALL_SIGNALS = (1 << 64) - 1

_MOST_EVENTS = 1024
"""Of an epoll instance, for one call; the next finds the others."""

Ready = Sequence[int]
"""The events that have come, 0 for none, for each Watched."""
Watched = tuple[int, int]
"""A descriptor of the guest's and the events of linux/poll.h that it is watched for."""


class Wait:
    """Answers for calls that wait."""

    def __init__(self, waits: Waits) -> None:
        self._waits = waits

    def handlers(self) -> dict[int, Handler]:
        """See nsbuild.supervisor.answers."""
        return {
            NR["poll"]: self.poll,
            NR["ppoll"]: self.poll,
            NR["select"]: self.select,
            NR["pselect6"]: self.select,
            NR["epoll_wait"]: self.epoll,
            NR["epoll_pwait"]: self.epoll,
            NR["epoll_pwait2"]: self.epoll,
            NR["rt_sigtimedwait"]: self.sigtimedwait,
            NR["mq_timedsend"]: self.mq_timed,
            NR["mq_timedreceive"]: self.mq_timed,
        }

    # Descriptors.

    def poll(self, call: Call, process: Process) -> None:
        """poll(2), ppoll(2)."""
        array, count, timeout = call.args[:3]
        if call.nr == NR["poll"]:
            duration = max(0, signed32(timeout)) * 1_000_000
            mask = None
        else:
            duration = relative(call, process, timeout)
            mask = read_mask(call, process, call.args[3])
        size = count * _POLLFD.size
        data = process.memory.read(call, array, size) if 0 < count <= _MOST_FDS else b""
        if duration <= 0 or len(data) < size or count > _MOST_FDS:
            call.resume()
            return
        entries = list(_POLLFD.iter_unpack(data))
        watched = [(fd, events | POLLERR | POLLHUP) for fd, events, _ in entries if fd >= 0]

        def tell(ready: Ready) -> int:
            found = iter(ready)
            told = [next(found) if fd >= 0 else 0 for fd, _, _ in entries]
            result = b"".join(
                _POLLFD.pack(fd, events, seen & (events | POLLERR | POLLHUP))
                for (fd, events, _), seen in zip(entries, told, strict=True)
            )
            if result != data:
                process.memory.write(call, array, result)
            return sum(map(bool, told))

        self._hold(call, process, duration, watched, mask, tell)

    def select(self, call: Call, process: Process) -> None:
        """select(2), pselect6(2)."""
        count, *sets, timeout = call.args[:5]
        count = signed32(count)
        mask = None
        if call.nr == NR["select"]:
            duration = relative(call, process, timeout, 1000)
        else:
            duration = relative(call, process, timeout)
            pair = process.memory.read(call, call.args[5], 16) if call.args[5] else b""
            if len(pair) == SIGMASK_ARGUMENT.size:
                mask = read_mask(call, process, SIGMASK_ARGUMENT.unpack(pair)[0])
        if duration <= 0 or not 0 <= count <= _MOST_FDS:
            call.resume()
            return
        size = (count + 63) // 64 * 8
        watched: list[Watched] = []
        asked: list[tuple[int, int]] = []
        for address, events in zip(sets, (_FOR_READING, _FOR_WRITING, POLLPRI), strict=True):
            if address and size:
                data = process.memory.read(call, address, size)
                if len(data) < size:
                    call.resume()
                    return
                bits = int.from_bytes(data, "little") & (1 << count) - 1
                watched.extend((fd, events) for fd in range(count) if bits >> fd & 1)
                asked.extend((fd, address) for fd in range(count) if bits >> fd & 1)

        def tell(ready: Ready) -> int:
            found = dict.fromkeys((address for address in sets if address and size), 0)
            for (fd, address), (_, events), seen in zip(asked, watched, ready, strict=True):
                if seen & events:
                    found[address] |= 1 << fd
            for address, bits in found.items():
                process.memory.write(call, address, bits.to_bytes(size, "little"))
            number = sum(bits.bit_count() for bits in found.values())
            if not number:
                process.memory.write(call, timeout, bytes(16))
            return number

        self._hold(call, process, duration, watched, mask, tell)

    def epoll(self, call: Call, process: Process) -> None:
        """epoll_wait(2), epoll_pwait(2), epoll_pwait2(2)."""
        fd, timeout = signed32(call.args[0]), call.args[3]
        mask = None
        if call.nr == NR["epoll_pwait2"]:
            duration = relative(call, process, timeout)
        else:
            duration = max(0, signed32(timeout)) * 1_000_000
        if call.nr != NR["epoll_wait"]:
            mask = read_mask(call, process, call.args[4])
        if duration <= 0 or signed32(call.args[2]) <= 0 or not _is_epoll(call.tid, fd):
            call.resume()
            return
        most = min(signed32(call.args[2]), _MOST_EVENTS)

        def tell(ready: Ready) -> int:
            # Ours is a duplicate of the guest's own: what it says once may be gone then.
            events = epoll_events(held.fds[0], most) if any(ready) else b""
            process.memory.write(call, call.args[1], events)
            return len(events) // EPOLL_EVENT_SIZE

        held = self._hold(call, process, duration, [(fd, POLLIN)], mask, tell)

    def mq_timed(self, call: Call, process: Process) -> None:
        """mq_timedsend(2), mq_timedreceive(2): absolute, by the wall clock."""
        fd = signed32(call.args[0])
        duration = until(call, process, call.args[4], wall=True)
        if duration is None:
            call.resume()
            return
        events = POLLOUT if call.nr == NR["mq_timedsend"] else POLLIN
        held = self._hold(call, process, duration, [(fd, events)], None, None)
        held.expire = lambda: call.fail(errno.ETIMEDOUT)

    def _hold(
        self,
        call: Call,
        process: Process,
        duration: int,
        watched: Sequence[Watched],
        mask: int | None,
        tell: Callable[[Ready], int] | None,
    ) -> Held:
        """Keep the call until one of `watched` is ready, unless one is or a signal is there.

        `mask` are the signals that the call blocks while it waits, None for those of the thread.
        `tell` writes into the guest what is ready of `watched`, and returns what the call does;
        with None the kernel does it all.
        """
        held = Held(call, process, duration, lambda: call.answer(0))
        if mask is not None:
            held.masks = ~mask & ALL_SIGNALS, mask
            if has_signal(call, held.masks[0]):
                call.resume()
                return held
        try:
            ready = _watch(held, watched)
        except OSError:
            ready = True
        if ready:
            held.close()
            call.resume()
            return held
        if tell is not None:
            held.expire = lambda: call.answer(tell([0] * len(watched)))
            held.come = lambda: _tell_ready(held, tell)
        self._waits.hold(held)
        return held

    # Signals.

    def sigtimedwait(self, call: Call, process: Process) -> None:
        """rt_sigtimedwait(2)."""
        mask = read_mask(call, process, call.args[0])
        duration = relative(call, process, call.args[2])
        if mask is None or duration <= 0 or has_signal(call, mask):
            call.resume()
            return
        held = Held(call, process, duration, lambda: call.fail(errno.EAGAIN))
        held.masks = mask, 0
        self._waits.hold(held)

    def sleep(self, call: Call, process: Process, duration: int, rest: int) -> None:
        """nanosleep(2) and clock_nanosleep(2), whose `rest` a signal fills in; 0 for none."""
        if not duration:
            call.answer()
            return

        def interrupt() -> None:
            if rest:
                process.memory.write(call, rest, TIMESPEC.pack(*divmod(duration, NSEC_PER_SEC)))
            call.fail(errno.EINTR)

        held = Held(call, process, duration, lambda: call.answer(0))
        held.interrupt = interrupt
        call.said = duration
        self._waits.hold(held)


def _watch(held: Held, watched: Sequence[Watched]) -> bool:
    """Watch our own duplicates; True where one is ready. Raises OSError for bad descriptors."""
    call, process = held.call, held.process
    watch = held.watch = select.epoll()
    for number, events in watched:
        fd = borrow(call.tid, process, number)
        held.fds.append(fd)
        if call.nr in _MQ and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK:
            return True
        # Files that cannot be watched are always ready: EPERM.
        watch.register(fd, events)
    return bool(watch.poll(0, 1))


def _tell_ready(held: Held, tell: Callable[[Ready], int]) -> bool:
    """Answer with what is ready; False if nothing is any more."""
    assert held.watch is not None
    found = dict(held.watch.poll(0))
    result = tell([found.get(fd, 0) for fd in held.fds]) if found else 0
    if result:
        held.call.answer(result)
    return bool(result)


_MQ = (NR["mq_timedsend"], NR["mq_timedreceive"])


def _is_epoll(tid: int, fd: int) -> bool:
    try:
        return os.readlink(b"%d/fd/%d" % (tid, fd)) == b"anon_inode:[eventpoll]"
    except OSError:
        return False


def read_mask(call: Call, process: Process, address: int) -> int | None:
    """The signal mask at `address`; None where there is none."""
    data = process.memory.read(call, address, _MASK.size) if address else b""
    return int(_MASK.unpack(data)[0]) if len(data) == _MASK.size else None


def has_signal(call: Call, wanted: int) -> bool:
    """Whether a signal is there already that the call is about to take."""
    try:
        return bool(pending(status_fields(read_small(f"{call.tid}/status"))) & wanted)
    except OSError:
        return True


def relative(call: Call, process: Process, address: int, unit: int = 1) -> int:
    """The struct timespec at `address`, or timeval with a `unit` of 1000, in nanoseconds.

    -1 for one that the kernel will refuse.
    """
    data = process.memory.read(call, address, TIMESPEC.size)
    if len(data) < TIMESPEC.size:
        return -1
    seconds, fraction = TIMESPEC.unpack(data)
    if seconds < 0 or fraction < 0 or (unit == 1 and fraction >= NSEC_PER_SEC):
        return -1
    return min(int(seconds) * NSEC_PER_SEC + int(fraction) * unit, LATEST)


def until(call: Call, process: Process, address: int, wall: bool) -> int | None:
    """How long it is until the absolute time at `address`; None if the kernel will refuse it."""
    when = relative(call, process, address)
    return None if when < 0 else process.clock.until(when, wall)
