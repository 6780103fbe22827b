"""The two sockets between the supervisor and the container's init, and what goes over them.

`requests` is asked by the supervisor and answered at once, in lock step; `events` is written by
whoever sets the container up or runs in it and read by the supervisor when it likes. Both are
SOCK_SEQPACKET, so a message is a datagram and the end of the other side is seen.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable

from nsbuild.errors import NsbuildError

REQUEST = struct.Struct("=ci")
SET_LAST_PID = b"P"
GET_LAST_PID = b"p"
UTS_NAMES = b"U"
SIGNAL = b"S"
RESIZE = b"W"

EVENT_MAPS = b"M"
"""The child is in its user namespace and waits for its id maps."""
EVENT_INIT = b"I"
"""Init runs; the message carries its credentials."""
EVENT_READY = b"R"
"""The file system stands; descriptors travel with it."""
EVENT_COMMAND = b"C"
"""The command's process is about to install the filter; the message carries its credentials."""
EVENT_EXIT = b"X"
"""The command has ended; its wait status follows."""
EVENT_ERROR = b"E"
"""Setting up failed: message, hint and exit code, separated by NUL."""

LIMIT = 16384


def pair() -> tuple[socket.socket, socket.socket]:
    """A connected pair of SOCK_SEQPACKET sockets, close-on-exec."""
    kind = socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC
    return socket.socketpair(socket.AF_UNIX, kind)


def encode_error(error: NsbuildError) -> bytes:
    """An EVENT_ERROR."""
    text = f"{error.message}\0{error.hint}\0{error.code}"
    return EVENT_ERROR + text.encode(errors="surrogateescape")[: LIMIT - 1]


def decode_error(message: bytes) -> NsbuildError:
    """The error in an EVENT_ERROR."""
    text, hint, code = message[1:].decode(errors="surrogateescape").split("\0")
    return NsbuildError(text, hint, int(code))


class Event:
    """A message of `events`: its bytes, the sender's pid as seen from here, descriptors."""

    def __init__(self, data: bytes, pid: int, fds: list[int]) -> None:
        self.data = data
        self.pid = pid
        self.fds = fds


_CREDENTIALS = struct.Struct("=iii")


def receive_event(events: socket.socket) -> Event | None:
    """The next event, None at the end. SO_PASSCRED must be set on the socket."""
    data, ancillary, _, _ = events.recvmsg(LIMIT, 1024, socket.MSG_CMSG_CLOEXEC)
    if not data:
        return None
    pid, fds = 0, []
    for level, kind, payload in ancillary:
        if level != socket.SOL_SOCKET:
            continue
        if kind == socket.SCM_CREDENTIALS:
            pid = _CREDENTIALS.unpack(payload)[0]
        elif kind == socket.SCM_RIGHTS:
            fds = [int(fd) for fd in struct.unpack(f"={len(payload) // 4}i", payload)]
    return Event(data, pid, fds)


def send_event(events: socket.socket, data: bytes, fds: Iterable[int] = ()) -> None:
    """Send an event, with descriptors."""
    socket.send_fds(events, [data], list(fds))


class InitLink:
    """The supervisor's end of `requests`: things only a process inside can do."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests

    def _ask(self, what: bytes, value: int = 0) -> bytes:
        self._requests.send(REQUEST.pack(what, value))
        reply = self._requests.recv(LIMIT)
        if not reply:
            raise NsbuildError("the container's init is gone")
        return reply

    def set_last_pid(self, pid: int) -> None:
        """Make the next process number in the container `pid` + 1."""
        self._ask(SET_LAST_PID, pid)

    def last_pid(self) -> int:
        """The process number that the container's kernel handed out last."""
        return int(self._ask(GET_LAST_PID))

    def uts_names(self) -> tuple[str, str]:
        """Host and domain name in the container's UTS namespace."""
        nodename, domainname = self._ask(UTS_NAMES).decode().split("\0")
        return nodename, domainname

    def signal(self, number: int) -> None:
        """Send a signal to the command."""
        self._ask(SIGNAL, number)
