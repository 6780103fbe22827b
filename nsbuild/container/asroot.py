"""Work on a container's files as its root: where their owners have numbers, from outside.

An ordinary user cannot remove or read what belongs to the ids that were lent to the container, but
the root of a user namespace with the same maps can. So a child enters such a one, or that of a
container that runs, and does the work there.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable

from nsbuild.errors import NsbuildError
from nsbuild.kernel import namespaces as ns
from nsbuild.kernel.files import setns
from nsbuild.kernel.idmaps import plan_id_maps, write_id_maps
from nsbuild.supervisor.initlink import decode_error, encode_error

_LIMIT = 1 << 16
_DONE = b"."


def as_root(act: Callable[[], None], mounts: bool = False) -> None:
    """Do `act` in a child as root of a user namespace with a container's id maps.

    With `mounts` it has a mount namespace of its own as well. Raises the NsbuildError that `act`
    raises; its OSError becomes one.
    """

    def enter(link: socket.socket) -> None:
        if os.geteuid() or mounts:
            ns.unshare(ns.CLONE_NEWUSER)
            link.send(b"m")
            link.recv(1)
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
        if mounts:
            ns.unshare(ns.CLONE_NEWNS)

    _in_child(enter, act)


def in_container(pid: int, act: Callable[[], None]) -> None:
    """Do `act` in a child in the user and mount namespace of process `pid`, its root being ours."""

    def enter(_: socket.socket) -> None:
        pidfd = os.pidfd_open(pid)
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if os.geteuid():
            setns(pidfd, ns.CLONE_NEWUSER)
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
        setns(pidfd, ns.CLONE_NEWNS)
        os.fchdir(root)
        os.chroot(".")

    _in_child(enter, act)


def _in_child(enter: Callable[[socket.socket], None], act: Callable[[], None]) -> None:
    link, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        link.close()
        _be_child(inner, enter, act)
    inner.close()
    try:
        message = link.recv(_LIMIT)
        if message == b"m":
            write_id_maps(plan_id_maps(), pid)
            link.send(b".")
            message = link.recv(_LIMIT)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        link.close()
        os.waitpid(pid, 0)
    if message == _DONE:
        return
    if not message:
        raise NsbuildError("the helper that works on the container's files has died")
    raise decode_error(message)


def _be_child(
    link: socket.socket, enter: Callable[[socket.socket], None], act: Callable[[], None]
) -> None:
    try:
        enter(link)
        act()
        link.send(_DONE)
    except NsbuildError as error:
        link.send(encode_error(error))
    except OSError as error:
        what = f"cannot work on {error.filename or 'the files of the container'}"
        link.send(encode_error(NsbuildError.from_os(what, error)))
    except BaseException:  # noqa: BLE001 - a bug of ours must not run on in the caller's code
        sys.__excepthook__(*sys.exc_info())
    finally:
        os._exit(0)
