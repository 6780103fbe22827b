"""What the front of a recorded container does while that runs: its log, its clients, its terminal.

The command writes into pipes, or to its terminal; what comes out goes to the log, to the caller's
own stdout and stderr if the container runs in the foreground, and to every client that has
attached. Clients come over a socket in the container's directory and speak in messages:

    client  ATTACH or WAIT; INPUT and bytes; CLOSE; SIZE and a struct winsize; SIGNAL and a number
            ENTER or SETTLE, which are passed on to the supervisor (nsbuild.supervisor.entrants)
    we      ATTACHED and whether there is a terminal; o or e and bytes; LEFT and an exit code

Nothing here may wait for a client or for the command, since the other one may wait for us: input is
kept until it can be written, and meanwhile nobody is asked for more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import struct
import termios
import time
from collections.abc import Callable, Iterator

from nsbuild.container.log import Log
from nsbuild.container.terminal import write_all
from nsbuild.supervisor.parley import ENTER, LEFT, SETTLE, SIGNAL

ATTACH = b"A"
ATTACHED = b"a"
INPUT = b"i"
CLOSE = b"c"
WAIT = b"W"
"""All that a client wants is LEFT."""
SIZE = b"w"
SOCKET = "control"
"""The socket's name in the container's directory."""
_CHUNK = 1 << 15
_PATIENCE = struct.pack("=qq", 5, 0)
"""struct timeval: a client that takes nothing for so long is dropped."""


class Attendance:
    """Serves until it is told to stop.

    `outputs` are descriptors by stream ("o", "e"), each with the descriptor of ours that it is
    copied to, -1 for none; `sink` is where input goes, -1 for nowhere, and `tty` says whether that
    is a terminal; `signal` sends the command a signal; `pass_on` gives a client to the supervisor.
    """

    def __init__(
        self,
        log: Log,
        outputs: dict[int, tuple[bytes, int]],
        sink: int,
        tty: bool,
        signal: Callable[[int], None],
        pass_on: Callable[[socket.socket], None],
    ) -> None:
        self._log = log
        self._outputs = dict(outputs)
        self._sink = sink
        self._tty = tty
        self._signal = signal
        self._pass_on = pass_on
        self._poll = select.poll()
        self._handlers: dict[int, Callable[[], object]] = {}
        self._attached: dict[int, socket.socket] = {}
        self._waiting: list[socket.socket] = []
        self._feeders: set[int] = set()
        self._pending = bytearray()
        self._closing = False
        self._deadline: float | None = None
        self._late: Callable[[], None] = lambda: None
        self._stopped = False
        for fd in outputs:
            os.set_blocking(fd, False)
            self.watch(fd, self._output(fd))
        if sink >= 0:
            os.set_blocking(sink, False)

    def watch(self, fd: int, handle: Callable[[], object]) -> None:
        """Call `handle` whenever `fd` is readable."""
        self._handlers[fd] = handle
        self._poll.register(fd, select.POLLIN)

    def drop(self, fd: int) -> None:
        """Look at `fd` no longer."""
        if self._handlers.pop(fd, None) is not None:
            # One that feeds may be left out just now.
            with contextlib.suppress(KeyError):
                self._poll.unregister(fd)

    def accept_from(self, listening: socket.socket) -> None:
        """Take clients from a listening socket."""
        self.watch(listening.fileno(), lambda: self._accept(listening))

    def feed_from(self, fd: int) -> None:
        """Take input from `fd`, the caller's own stdin."""
        self._feeders.add(fd)
        self.watch(fd, lambda: self._feed(fd))

    def end_after(self, seconds: float, act: Callable[[], None]) -> None:
        """Call `act` when `seconds` of real time have gone."""
        self._deadline = time.monotonic() + seconds
        self._late = act

    def stop(self) -> None:
        """Serve no longer, once all output has been copied."""
        self._stopped = True

    def run(self) -> None:
        """Serve until `stop` has been called."""
        while not self._stopped:
            for fd, _ in self._poll.poll(self._patience()):
                if fd in self._handlers:
                    self._handlers[fd]()
            if self._deadline is not None and time.monotonic() >= self._deadline:
                self._deadline = None
                self._late()
        for fd in tuple(self._outputs):
            while fd in self._outputs and self._copy(fd):
                pass

    def _patience(self) -> float | None:
        if self._deadline is None:
            return None
        return max(0.0, self._deadline - time.monotonic()) * 1000 + 1

    def finish(self, code: int) -> None:
        """Tell the clients how it has ended."""
        for client in (*self._attached.values(), *self._waiting):
            with contextlib.suppress(OSError):
                client.send(LEFT + b"%d" % code)
            client.close()
        self._attached = {}

    # Output.

    def _output(self, fd: int) -> Callable[[], object]:
        return lambda: self._copy(fd)

    def _copy(self, fd: int) -> bool:
        """Copy what has come from `fd`; False if nothing has."""
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            # EIO: nobody has the terminal open any more.
            data = b""
        if not data:
            self.drop(fd)
            del self._outputs[fd]
            return False
        stream, own = self._outputs[fd]
        self._log.write(stream, data)
        if own >= 0:
            write_all(own, data)
        for number, client in tuple(self._attached.items()):
            try:
                client.send(stream + data)
            except OSError:
                self._detach(number)
        return True

    # Clients.

    def _accept(self, listening: socket.socket) -> None:
        client, _ = listening.accept()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _PATIENCE)
        self.watch(client.fileno(), lambda: self._first(client))

    def _first(self, client: socket.socket) -> None:
        """The first message says whose client it is; descriptors in it are for the supervisor."""
        fd = client.fileno()
        try:
            kind = client.recv(1, socket.MSG_PEEK)
        except OSError:
            kind = b""
        self.drop(fd)
        if kind in (ENTER, SETTLE):
            self._pass_on(client)
            client.close()
            return
        if kind == ATTACH:
            client.recv(1)
            client.send(ATTACHED + b"%d" % self._tty)
            self._attached[fd] = client
            self._feeders.add(fd)
            self.watch(fd, lambda: self._message(fd))
            return
        if kind == WAIT:
            client.recv(1)
            self._waiting.append(client)
            return
        if kind == SIGNAL:
            self._signal(int(client.recv(16)[1:]))
            client.send(SIGNAL)
        client.close()

    def _message(self, fd: int) -> None:
        try:
            message = self._attached[fd].recv(_CHUNK + 1)
        except OSError:
            message = b""
        kind, data = message[:1], message[1:]
        if kind == INPUT:
            self._take(data)
        elif kind == CLOSE:
            self._close_input()
        elif kind == SIZE and self._tty:
            fcntl.ioctl(self._sink, termios.TIOCSWINSZ, data)
        elif kind == SIGNAL:
            self._signal(int(data))
        elif not kind:
            self._detach(fd)

    def _detach(self, fd: int) -> None:
        self.drop(fd)
        self._feeders.discard(fd)
        self._attached.pop(fd).close()

    # Input.

    def _feed(self, fd: int) -> None:
        data = os.read(fd, _CHUNK)
        if data:
            self._take(data)
            return
        self._feeders.discard(fd)
        self.drop(fd)
        self._close_input()

    def _close_input(self) -> None:
        if self._tty:
            # The end of a stdin that is no terminal becomes the terminal's own: Ctrl-D.
            self._take(b"\x04")
        else:
            self._closing = True
            self._flush()

    def _take(self, data: bytes) -> None:
        if self._sink >= 0 and not self._closing:
            self._pending += data
            self._flush()

    def _flush(self) -> None:
        """Write what can be written; while there is more, nobody is asked for any."""
        try:
            while self._pending:
                del self._pending[: os.write(self._sink, self._pending)]
        except BlockingIOError:
            self._hold(True)
            return
        except OSError:
            self._pending.clear()
        self._hold(False)
        if self._closing and self._sink >= 0:
            os.close(self._sink)
            self._sink = -1

    def _hold(self, held: bool) -> None:
        """Wait until input can be written, and for no more of it; or the other way round."""
        if held == (self._sink in self._handlers):
            return
        for fd in self._feeders:
            if held:
                self._poll.unregister(fd)
            else:
                self._poll.register(fd, select.POLLIN)
        if held:
            self._handlers[self._sink] = self._flush
            self._poll.register(self._sink, select.POLLOUT)
        else:
            self.drop(self._sink)


def listen_in(directory: str) -> socket.socket:
    """The listening socket of the container whose directory that is."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    with _short(directory) as path:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        listening.bind(path)
    listening.listen(16)
    return listening


def connect_to(directory: str) -> socket.socket:
    """A client's connection to the front of the container; OSError if nobody is there."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        with _short(directory) as path:
            client.connect(path)
    except OSError:
        client.close()
        raise
    return client


@contextlib.contextmanager
def _short(directory: str) -> Iterator[str]:
    """The socket's path in the 107 bytes that an address may have (unix(7)), wherever it lies."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{SOCKET}"
    finally:
        os.close(fd)
