"""The two sockets between the supervisor and the container's init, and what goes over them.

`requests` is asked by the supervisor and answered at once, in lock step; `events` is written by
whoever sets the container up or runs in it and read by the supervisor when it likes. Both are
SOCK_SEQPACKET, so a message is a datagram and the end of the other side is seen.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterable

from nsbuild.errors import NsbuildError
from nsbuild.kernel.namespaces import thread_from

from .initpriority import InitPriority

REQUEST = struct.Struct("=ci")
RESERVE = b"P"
BORN = b"B"
EXISTS = b"E"
UTS_NAMES = b"U"
SIGNAL = b"S"
OPEN_MEM = b"M"
OPEN_AUXV = b"A"
ENTER = b"N"
"""Fork one more command; descriptors follow in a message of their own (see `InitLink.enter`)."""
SIGNAL_TO = b"T"
"""Signal a process that has entered: its number, times 128, and the signal's."""
YES, NO = b"y", b"n"

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
EVENT_LEFT = b"L"
"""A process that has entered has ended; its number and its wait status follow."""
EVENT_ERROR = b"E"
"""Setting up failed: message, hint and exit code, separated by NUL."""

LIMIT = 16384
_SHORT = 256
"""Bytes that hold an answer without descriptors; the longest are the two names of UTS_NAMES."""


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


class InitGone(Exception):
    """Init does not answer any more: the command has ended, or somebody has killed init."""


class InitLink:
    """The supervisor's end of `requests`: things only a process inside can do.

    Also things that a process outside had better not do: looking a number up in /proc can loop on
    a dying process's entries (see nsbuild.supervisor.initpriority); kill(2) cannot.

    `pids` is the container's PID namespace, open. `meanwhile`, where it is set, is called with the
    socket once a request has been sent and returns when the answer is there.
    """

    def __init__(self, requests: socket.socket, priority: InitPriority, pids: int) -> None:
        self._requests = requests
        self._priority = priority
        self._pids = pids
        self.meanwhile: Callable[[socket.socket], None] | None = None

    def open_file(self, pid: int, name: str) -> int:
        """Open /proc/PID/mem or auxv as the container's root; the descriptor, or -1.

        `pid` must be waiting in a call: looking it up is safe then.
        """
        fds: list[int] = []
        self._ask(OPEN_MEM if name == "mem" else OPEN_AUXV, pid, fds)
        return fds[0] if fds else -1

    def _ask(
        self,
        what: bytes,
        value: int = 0,
        fds: list[int] | None = None,
        given: Iterable[int] = (),
    ) -> bytes:
        try:
            self._priority.raise_init()
            self._requests.send(REQUEST.pack(what, value))
            if given:
                socket.send_fds(self._requests, [b"."], list(given))
            if self.meanwhile is not None:
                self.meanwhile(self._requests)
            if fds is None:
                reply = self._requests.recv(_SHORT)
            else:
                reply, received, _, _ = socket.recv_fds(self._requests, LIMIT, 1)
                fds.extend(received)
        except (BrokenPipeError, ConnectionResetError, ProcessLookupError):
            reply = b""
        if not reply:
            raise InitGone
        return reply

    def reserve(self, wish: int) -> int:
        """Make the next process number in the container `wish`, or the next free one; 0 if none."""
        return int(self._ask(RESERVE, wish))

    def born(self, pid: int) -> bool:
        """Whether the reserved number `pid` has been handed out since."""
        # Mostly it is there, and that can be told without two switches of context.
        return self._is_used(pid) is True or self._ask(BORN, pid) == YES

    def exists(self, pid: int) -> bool:
        """Whether a number is in use in the container: a process, a thread or a zombie."""
        used = self._is_used(pid)
        return self._ask(EXISTS, pid) == YES if used is None else used

    def _is_used(self, pid: int) -> bool | None:
        """What kill(2) inside would find, by a look into the table of numbers; None if unknown.

        Nothing in /proc is looked up.
        """
        try:
            thread_from(self._pids, pid)
        except ProcessLookupError:
            return False
        except OSError:
            # Linux before 6.11.
            return None
        return True

    def uts_names(self) -> tuple[bytes, bytes]:
        """Host and domain name in the container's UTS namespace, which may be any bytes."""
        nodename, domainname = self._ask(UTS_NAMES).split(b"\0")
        return nodename, domainname

    def enter(self, wish: int, given: Iterable[int]) -> tuple[int, int]:
        """Fork one more command with the process number `wish` or the next free one.

        `given` are a memfd that holds the command (nsbuild.container.entry), one for its Handover
        and its standard files. Returns its number and, if it wanted a terminal, that one's master,
        else -1; the number 0 if init cannot do it just now. Raises NsbuildError if there can be no
        such command.
        """
        fds: list[int] = []
        reply = self._ask(ENTER, wish, fds, given)
        if reply[:1] == EVENT_ERROR:
            raise decode_error(reply)
        return (0, -1) if reply == NO else (int(reply), fds[0] if fds else -1)

    def signal_to(self, pid: int, number: int) -> None:
        """Send a signal to a process that has entered."""
        self._ask(SIGNAL_TO, pid << 7 | number)

    def signal(self, number: int) -> None:
        """Send a signal to the command."""
        self._ask(SIGNAL, number)
