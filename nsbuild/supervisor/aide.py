"""Aides: processes of the supervisor's own, each on a priority that the supervisor cannot have.

The supervisor stands above the guest; what must happen below it, or between the two, or as an
ordinary task, is done by an aide that answers over a socket. It is forked from the supervisor and
ends with it: the socket tells.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterable, Iterator

import prctl

from nsbuild.kernel.process import keep_only

_LIMIT = 1 << 17
"""Bytes of a message at most."""


def fork_aide(
    name: str,
    serve: Callable[[socket.socket], None],
    keep: Iterable[int] = (),
    outlives: bool = False,
) -> socket.socket:
    """Fork a process that runs `serve` with its end of a SOCK_SEQPACKET pair; returns the other.

    Of our descriptors it has the standard ones and `keep`. It is killed with us, unless it
    `outlives` us to clear up.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        code = 1
        try:
            ours.close()
            if not outlives:
                prctl.set_pdeathsig(signal.SIGKILL)
            prctl.set_name(name)
            # A duplicate of what the guest has open would keep it open.
            keep_only([theirs.fileno(), *keep])
            serve(theirs)
            code = 0
        finally:
            os._exit(code)
    theirs.close()
    return ours


def messages(requests: socket.socket) -> Iterator[bytes]:
    """What the supervisor sends, until it is gone."""
    while True:
        try:
            message = requests.recv(_LIMIT)
        except ConnectionResetError:
            # It was killed before it had read an answer.
            return
        if not message:
            return
        yield message


def reply(requests: socket.socket, message: bytes) -> None:
    """Answer the supervisor, if it is still there."""
    try:
        requests.send(message)
    except (BrokenPipeError, ConnectionResetError):
        return
