"""Opens the served random devices for a guest that reaches them under another name.

Only a process in the container's user namespace may open a FUSE file that was mounted there, and
the supervisor may not open what it serves: it would wait for itself. So a child of ours, forked
when it is first needed, opens them; while it does we answer the file system's questions.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
import struct
from collections.abc import Callable
from functools import partial

import prctl

from nsbuild.errors import NsbuildError
from nsbuild.kernel.files import setns
from nsbuild.kernel.namespaces import CLONE_NEWUSER

from .aide import fork_aide, messages, reply

_REQUEST = struct.Struct("=i")
"""Flags of open(2); the path follows."""
_REPLY = struct.Struct("=i")
"""0, and a descriptor with it, or an errno."""


class Opener:
    """The supervisor's end. `init` is a process of the container's user namespace, inode `users`.

    `meanwhile` is called with the socket once a request has been sent, answers whatever else we are
    asked that opening depends on, and returns when the socket has the reply.
    """

    def __init__(self, init: int, users: int, meanwhile: Callable[[socket.socket], None]) -> None:
        self._init = init
        self._users = users
        self._meanwhile = meanwhile
        self._socket: socket.socket | None = None

    def open(self, path: str, flags: int) -> int:
        """A descriptor of the served device at `path` in the container; raises OSError."""
        if self._socket is None:
            self._socket = self._start()
        self._socket.send(_REQUEST.pack(flags) + path.encode())
        self._meanwhile(self._socket)
        reply, fds, _, _ = socket.recv_fds(self._socket, _REPLY.size, 1)
        if not reply:
            raise NsbuildError("the process that opens random devices has died")
        (number,) = _REPLY.unpack(reply)
        if number:
            raise OSError(number, os.strerror(number), path)
        return fds[0]

    def _start(self) -> socket.socket:
        # An ordinary user's supervisor is in the user namespace already.
        users = -1
        if os.stat("self/ns/user").st_ino != self._users:
            users = os.open(f"{self._init}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        try:
            serve = partial(_serve, users)
            return fork_aide("nsbuild-open", serve, [users] if users >= 0 else [])
        finally:
            if users >= 0:
                os.close(users)


def _serve(users: int, requests: socket.socket) -> None:
    if users >= 0:
        setns(users, CLONE_NEWUSER)
        os.close(users)
        # Other credentials may have taken it back (commit_creds in kernel/cred.c).
        prctl.set_pdeathsig(signal.SIGKILL)
    for message in messages(requests):
        (flags,) = _REQUEST.unpack_from(message)
        try:
            fd = _open(message[_REQUEST.size :].decode(), flags)
        except OSError as error:
            reply(requests, _REPLY.pack(error.errno or errno.EIO))
            continue
        socket.send_fds(requests, [_REPLY.pack(0)], [fd])
        os.close(fd)


def _open(path: str, flags: int) -> int:
    fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        # Something else lies there by now: not what is served.
        os.close(fd)
        raise OSError(errno.ENXIO, os.strerror(errno.ENXIO), path)
    os.set_blocking(fd, not flags & os.O_NONBLOCK)
    return fd
