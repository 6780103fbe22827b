"""recvmmsg(2) with a timeout of its own, which the kernel looks at after each datagram only.

By its own clock, and it tells what is left by that as well; so the datagrams are received here,
from a duplicate of the socket, and written into the guest. The timeout is a deadline like others,
but ends nothing: who has waited beyond it takes one more, as on any Linux. With a timeout of
nothing the kernel takes exactly one and tells nothing of its clock. That is what it is given where
it has to do this by itself: control messages may bring descriptors and numbers of processes, a
stream has no ends, and a socket with SO_RCVTIMEO is looked after by nsbuild.supervisor.blocked.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import struct

from nsbuild.determinism.clock import NSEC_PER_SEC
from nsbuild.kernel.sockets import Received, recvmsg
from nsbuild.kernel.x86_64 import NR
from nsbuild.supervisor.answers import Handler, signed32
from nsbuild.supervisor.borrow import borrow
from nsbuild.supervisor.deadline import Held
from nsbuild.supervisor.listener import Call
from nsbuild.supervisor.processes import Process
from nsbuild.supervisor.sockettimes import TIMEVAL, as_socket
from nsbuild.supervisor.waits import Waits
from nsbuild.tuples import NamedTuple

from .time import TIMESPEC
from .wait import relative

_HEADER = struct.Struct("=QixxxxQQQQixxxxIxxxx")
"""struct mmsghdr: name and its length, parts and their number, control and its length, flags; and
the length of what was received."""
_NAME_LENGTH, _CONTROL_LENGTH, _FLAGS, _LENGTH = 8, 40, 48, 56
"""Where those lie that are written."""
_PART = struct.Struct("=QQ")
"""struct iovec."""
_INT, _LONG = struct.Struct("=i"), struct.Struct("=Q")
_MOST_PARTS = 1024
_MOST_MESSAGES = 1024
_MOST_BYTES = 1 << 24
"""More than any datagram has (socket(7), wmem_max)."""
MSG_WAITFORONE = 0x10000
MSG_CMSG_CLOEXEC = 0x40000000
_FLAGS_KNOWN = (
    *(socket.MSG_PEEK, socket.MSG_TRUNC, socket.MSG_DONTWAIT, socket.MSG_WAITALL),
    *(socket.MSG_NOSIGNAL, MSG_WAITFORONE, MSG_CMSG_CLOEXEC),
)


class Message(NamedTuple):
    """Where one datagram goes: `parts` are addresses and sizes; the name has `room` bytes."""

    header: int
    name: int
    room: int
    parts: list[tuple[int, int]]

    @property
    def size(self) -> int:
        """How many bytes fit in."""
        return min(sum(size for _, size in self.parts), _MOST_BYTES)


class Receive:
    """Answers for recvmmsg with a timeout."""

    def __init__(self, waits: Waits) -> None:
        self._waits = waits

    def handlers(self) -> dict[int, Handler]:
        """See nsbuild.supervisor.answers."""
        return {NR["recvmmsg"]: self.recvmmsg}

    def recvmmsg(self, call: Call, process: Process) -> None:
        """recvmmsg(2)."""
        fd, array, count, flags, timeout = call.args[:5]
        duration = relative(call, process, timeout)
        if duration <= 0:
            call.resume()
            return
        try:
            own = as_socket(borrow(call.tid, process, signed32(fd)))
        except OSError:
            call.resume()
            return
        count, flags = count & 0xFFFFFFFF, flags & 0xFFFFFFFF
        headers = process.memory.read(call, array, min(count, _MOST_MESSAGES) * _HEADER.size)
        if not (_is_plain(own, flags) and _have_no_control(headers, count)):
            own.close()
            process.memory.write(call, timeout, bytes(TIMESPEC.size))
            call.resume()
            return
        receiving = Receiving(call, process, duration, own, count)
        error = own.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            call.fail(error)
            receiving.close()
        elif receiving.come():
            receiving.close()
        else:
            self._waits.hold(receiving)


def _is_plain(own: socket.socket, flags: int) -> bool:
    """Whether the socket has datagrams, and nothing about them is unusual."""
    limit = own.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, TIMEVAL.size)
    return (
        own.type != socket.SOCK_STREAM
        and TIMEVAL.unpack(limit) == (0, 0)
        and not flags & ~sum(_FLAGS_KNOWN)
    )


def _have_no_control(headers: bytes, count: int) -> bool:
    """Whether all `count` of them could be read, and none has room for control messages."""
    if len(headers) != count * _HEADER.size:
        return False
    return not any(header[4] and header[5] for header in _HEADER.iter_unpack(headers))


class Receiving(Held):
    """The call, which wants `wanted` datagrams from `own`; those that have come are in the guest.

    As in the kernel (do_recvmmsg in net/socket.c) an error ends it, but what has come is told.
    """

    stays = True

    def __init__(
        self, call: Call, process: Process, duration: int, own: socket.socket, wanted: int
    ) -> None:
        super().__init__(call, process, duration, lambda: False)
        self._own = own
        self._wanted = wanted
        self._count = 0
        self._flags = call.args[3] & 0xFFFFFFFF & ~MSG_WAITFORONE
        self._for_one = bool(call.args[3] & MSG_WAITFORONE)
        status = fcntl.fcntl(own.fileno(), fcntl.F_GETFL)
        self._looks = bool(status & os.O_NONBLOCK or self._flags & socket.MSG_DONTWAIT)
        self.come = self._receive
        self.interrupt = self.go_on
        self.watch = select.epoll()
        self.watch.register(own.fileno(), select.EPOLLIN)

    def happen(self) -> None:
        """The time is over: the next datagram is the last."""
        self.move_clock()

    def close(self) -> None:
        """Give the socket back."""
        super().close()
        self._own.close()

    def _receive(self) -> bool:
        """Take what is there; whether the call has ended by that."""
        while self._count < self._wanted:
            try:
                self._take()
            except BlockingIOError:
                if self._looks or (self._for_one and self._count):
                    return self._end(errno.EAGAIN)
                return False
            except OSError as error:
                return self._end(error.errno or errno.EIO)
            self._count += 1
            if self.is_over():
                break
        return self._end(0)

    def _take(self) -> None:
        """One datagram; raises OSError."""
        header = self.call.args[1] + self._count * _HEADER.size
        message = self._read(header)
        flags = self._flags | socket.MSG_DONTWAIT
        received = recvmsg(self._own.fileno(), message.size, flags)
        if not self._write(message, received):
            raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))

    def _read(self, header: int) -> Message:
        """What is asked for, as the kernel reads it when it comes to that; raises OSError."""
        read = self.process.memory.read
        data = read(self.call, header, _HEADER.size)
        if len(data) < _HEADER.size:
            raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))
        name, room, parts, count, *_ = _HEADER.unpack(data)
        if count > _MOST_PARTS:
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
        if name and room < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        size = count * _PART.size
        array = read(self.call, parts, size) if size else b""
        if len(array) < size:
            raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))
        found = list(_PART.iter_unpack(array))
        if any(length >= 1 << 63 for _, length in found):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return Message(header, name, room, found)

    def _write(self, message: Message, received: Received) -> bool:
        """Write a datagram where it goes, with what is said of it; whether all of that could be."""
        writes = []
        rest = received.data
        for address, size in message.parts:
            writes.append((address, rest[:size]))
            rest = rest[size:]
        if message.name:
            writes.append((message.name, received.name[: message.room]))
            writes.append((message.header + _NAME_LENGTH, _INT.pack(len(received.name))))
        writes += [
            (message.header + _FLAGS, _INT.pack(received.flags)),
            (message.header + _CONTROL_LENGTH, _LONG.pack(0)),
            (message.header + _LENGTH, _INT.pack(received.length)),
        ]
        write = self.process.memory.write
        return all(not data or write(self.call, at, data) == len(data) for at, data in writes)

    def _end(self, error: int) -> bool:
        """Let the call return, and tell how much of the timeout is left."""
        if not self._count:
            self.call.fail(error) if error else self.call.answer()
            return True
        left = 0 if self.is_over() else self.at - self.process.clock.monotonic
        told = TIMESPEC.pack(*divmod(left, NSEC_PER_SEC))
        if self.process.memory.write(self.call, self.call.args[4], told) < TIMESPEC.size:
            self.call.fail(errno.EFAULT)
        else:
            self.call.answer(self._count)
        return True

    def go_on(self) -> bool:
        """Let the kernel do it, unless something has come."""
        return self._end(0) if self._count else super().go_on()
