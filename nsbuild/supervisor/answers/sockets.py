"""The names that the kernel would choose for a socket at random: ports, netlink and abstract names.

Whoever binds to port 0, or connects, listens or sends without having bound, gets a port from the
process's own stream of random bytes, bound by us through a duplicate of the descriptor; so do
netlink sockets, and AF_UNIX sockets that are bound to no name or that ask for senders' credentials.
A name that is in use is followed by the next one. See ip(7), netlink(7) and unix(7), "Autobind
feature".

The address is read while the call waits, and another thread may change it before a call that is let
through reads it again. That changes which name it gets and no permission. (What Landlock rules of
the guest's own say about binding to ports is not asked, where the port is one of these.)
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator

from nsbuild.kernel.process import pidfd_getfd
from nsbuild.kernel.sockets import (
    FAMILY,
    IP_BIND_ADDRESS_NO_PORT,
    NETLINK,
    PORT,
    SOCKADDR_IN6_SIZE_RFC2133,
    SOCKADDR_IN_SIZE,
    SOCKADDR_STORAGE_SIZE,
    bind,
    getsockname,
)
from nsbuild.kernel.x86_64 import NR
from nsbuild.supervisor.answers import Handler, signed32
from nsbuild.supervisor.listener import Call
from nsbuild.supervisor.memory import out_of_descriptors
from nsbuild.supervisor.processes import Process

FIRST_PORT, PORT_LIMIT = 32768, 61000
"""The kernel's default ip_local_port_range, which a new network namespace has."""
_PORTS = PORT_LIMIT - FIRST_PORT
_NETLINK_FIRST = 1 << 31
_NETLINK_NAMES = (1 << 31) - 4096
"""The kernel looks for netlink ports in the negative numbers below -4096."""
_ABSTRACT_NAMES = 1 << 20
"""Five hexadecimal digits."""
_TRIES = 4096
_DRAWN = 4
"""Bytes of the stream that a choice takes."""
_INTERNET_SIZES = {
    socket.AF_INET: SOCKADDR_IN_SIZE,
    socket.AF_INET6: SOCKADDR_IN6_SIZE_RFC2133,
}
_INTERNET = tuple(FAMILY.pack(family) for family in _INTERNET_SIZES)
_OTHERS = tuple(FAMILY.pack(family) for family in (socket.AF_UNIX, socket.AF_NETLINK))
_WITH_PORTS = frozenset((socket.IPPROTO_TCP, socket.IPPROTO_UDP))


class Sockets:
    """Answers bind where the kernel would choose, and binds before other calls would."""

    def __init__(self) -> None:
        # With SO_REUSEADDR two sockets may be bound to one port by number; a port that the kernel
        # chooses is never shared.
        self._given: set[tuple[int, int]] = set()

    def handlers(self) -> dict[int, Handler]:
        """See nsbuild.supervisor.answers."""
        return {
            NR["bind"]: self.bind,
            NR["connect"]: self.connect,
            NR["listen"]: self.listen,
            NR["sendto"]: self.sendto,
        }

    def bind(self, call: Call, process: Process) -> None:
        """bind(2): answered for an address that leaves the choice to the kernel."""
        size = signed32(call.args[2])
        address = b""
        if FAMILY.size <= size <= SOCKADDR_STORAGE_SIZE:
            address = process.memory.read(call, call.args[1], size)
        own = _duplicate(call, process) if _leaves_choice(address, size) else None
        if own is None:
            call.resume()
            return
        with own:
            wishes = self._wishes(own, process, address)
            if wishes is None:
                call.resume()
                return
            number = self._bind_first(own, wishes)
        if number:
            call.fail(number)
        elif call.answer():
            process.stream.advance(_DRAWN)

    def connect(self, call: Call, process: Process) -> None:
        """connect(2): whoever would get a port or a name there gets it first."""
        family = process.memory.read(call, call.args[1], FAMILY.size)
        self._before(call, process, family in _INTERNET or family in _OTHERS)

    def listen(self, call: Call, process: Process) -> None:
        """listen(2): likewise."""
        self._before(call, process, True)

    def sendto(self, call: Call, process: Process) -> None:
        """sendto(2) to an address: likewise. (That of sendmsg is in memory: no filter sees it.)"""
        family = process.memory.read(call, call.args[4], FAMILY.size)
        self._before(call, process, family in _INTERNET or family in _OTHERS)

    def _before(self, call: Call, process: Process, wanted: bool) -> None:
        """Bind the call's socket, if it is `wanted` and can be, and let the kernel do the call."""
        drawn = False
        own = _duplicate(call, process) if wanted else None
        if own is not None:
            with own:
                wishes = self._wishes_before(own, process)
                drawn = wishes is not None and self._bind_first(own, wishes) == 0
        if call.resume() and drawn:
            process.stream.advance(_DRAWN)

    def _wishes_before(self, own: socket.socket, process: Process) -> Iterator[bytes] | None:
        """The addresses to try in turn for one that has none yet and would get one, else None."""
        name = getsockname(own.fileno())
        if _has_port(own):
            # It may have an address already, by IP_BIND_ADDRESS_NO_PORT.
            return None if _port(name) else self._ports(own, process, name)
        if own.family == socket.AF_NETLINK:
            return None if NETLINK.unpack_from(name)[1] else _netlink_names(process, name)
        if own.family == socket.AF_UNIX and len(name) <= FAMILY.size:
            # Who is told of senders' credentials is to have a name (unix(7)).
            told = own.getsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED)
            return _abstract_names(process) if told else None
        return None

    def _wishes(
        self, own: socket.socket, process: Process, address: bytes
    ) -> Iterator[bytes] | None:
        """The addresses to try in turn, or None if the kernel is to decide after all."""
        family = FAMILY.unpack_from(address)[0]
        if family == own.family == socket.AF_UNIX:
            bound = len(getsockname(own.fileno())) > FAMILY.size
            return None if bound else _abstract_names(process)
        if family == own.family == socket.AF_NETLINK:
            bound = bool(NETLINK.unpack_from(getsockname(own.fileno()))[1])
            return None if bound else _netlink_names(process, address)
        if not _has_port(own) or family not in (own.family, socket.AF_UNSPEC):
            return None
        if _port(getsockname(own.fileno())) or _chooses_later(own):
            return None
        return self._ports(own, process, address)

    def _ports(self, own: socket.socket, process: Process, address: bytes) -> Iterator[bytes]:
        if len(self._given) > _PORTS // 2:
            self._given.clear()
        first = _draw(process, _PORTS)
        for distance in range(_TRIES):
            port = FIRST_PORT + (first + distance) % _PORTS
            if (own.proto, port) not in self._given:
                self._given.add((own.proto, port))
                yield address[: FAMILY.size] + PORT.pack(port) + address[FAMILY.size + PORT.size :]

    def _bind_first(self, own: socket.socket, wishes: Iterator[bytes]) -> int:
        """Bind to the first address that is free; returns the errno, or 0."""
        for wish in wishes:
            try:
                bind(own.fileno(), wish)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    return error.errno or errno.EINVAL
            else:
                return 0
        return errno.EADDRINUSE


def _leaves_choice(address: bytes, size: int) -> bool:
    """Whether a socket of the address's family could get its name from the kernel."""
    if not address or len(address) < size:
        return False
    family = FAMILY.unpack_from(address)[0]
    if family == socket.AF_UNIX:
        return size == FAMILY.size
    if family == socket.AF_NETLINK:
        return size >= NETLINK.size and NETLINK.unpack_from(address)[1] == 0
    if family == socket.AF_UNSPEC:
        # An old way to write AF_INET.
        return size >= SOCKADDR_IN_SIZE and _port(address) == 0
    return family in _INTERNET_SIZES and size >= _INTERNET_SIZES[family] and _port(address) == 0


def _duplicate(call: Call, process: Process) -> socket.socket | None:
    """The call's socket as ours; None where there is none, on which the kernel says why."""
    number = signed32(call.args[0])
    try:
        fd = pidfd_getfd(process.pidfd, number)
    except OSError as error:
        out_of_descriptors(error)
        return None
    try:
        # The pidfd is the process's; a thread may have unshared its descriptors.
        if call.tid == process.pid or os.path.samestat(
            os.fstat(fd), os.stat(f"/proc/{call.tid}/fd/{number}")
        ):
            return socket.socket(fileno=fd)
    except OSError:
        pass
    os.close(fd)
    return None


def _port(name: bytes) -> int:
    port: int = PORT.unpack_from(name, FAMILY.size)[0]
    return port


def _has_port(own: socket.socket) -> bool:
    return own.family in _INTERNET_SIZES and own.proto in _WITH_PORTS


def _chooses_later(own: socket.socket) -> bool:
    """Whether bind is to leave the port to connect (ip(7))."""
    with contextlib.suppress(OSError):
        return bool(own.getsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT))
    return False


def _draw(process: Process, limit: int) -> int:
    return int.from_bytes(process.stream.peek(_DRAWN), "big") % limit


def _abstract_names(process: Process) -> Iterator[bytes]:
    first = _draw(process, _ABSTRACT_NAMES)
    for distance in range(_TRIES):
        name = b"%05x" % ((first + distance) % _ABSTRACT_NAMES)
        yield FAMILY.pack(socket.AF_UNIX) + b"\0" + name


def _netlink_names(process: Process, address: bytes) -> Iterator[bytes]:
    """The process's number first, as the kernel does it."""
    _, _, groups = NETLINK.unpack_from(address)
    yield NETLINK.pack(socket.AF_NETLINK, process.vpid, groups)
    first = _draw(process, _NETLINK_NAMES)
    for distance in range(_TRIES):
        name = _NETLINK_FIRST + (first + distance) % _NETLINK_NAMES
        yield NETLINK.pack(socket.AF_NETLINK, name, groups)
