"""Work on files as the root of those whom they belong to, for a user who is not root.

The files of an image or a container belong to many users. An ordinary user can read, make and
remove them in a user namespace with the ranges that subuid(5) gives: a child enters such a one, or
that of a container that runs, does the work there, and sends back what comes of it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import prctl

from nsbuild.errors import NsbuildError

from . import namespaces as ns
from .files import setns
from .idmaps import IdMaps, plan_id_maps, write_id_maps

_READY = b"m"
"""The child is in its namespace, and waits for the maps."""
_BLOCK = 1 << 16

Work = Callable[[], Any]
"""What is done: its value must be JSON."""


def as_root(work: Work, mounts: bool = False) -> Any:  # noqa: ANN401 - whatever the work returns
    """The value of `work`, done by root; raises the NsbuildError that it raises.

    Root itself does it without more ado, unless `mounts` asks for a mount namespace to do it in.
    """
    if os.geteuid() == 0 and not mounts:
        mask = os.umask(0o077)
        try:
            return work()
        finally:
            os.umask(mask)

    def enter(link: socket.socket) -> None:
        try:
            ns.unshare(ns.CLONE_NEWUSER)
        except OSError as error:
            raise NsbuildError.from_os("cannot create a user namespace", error) from error
        link.send(_READY)
        if not link.recv(1):
            os._exit(1)
        _become_root()
        if mounts:
            ns.unshare(ns.CLONE_NEWNS)
        else:
            os.umask(0o077)

    return _in_child(enter, work, plan_id_maps())


def in_container(pid: int, work: Work) -> Any:  # noqa: ANN401
    """The same in the user and mount namespace of process `pid`, and with its root directory."""

    def enter(_: socket.socket) -> None:
        pidfd = os.pidfd_open(pid)
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if os.geteuid():
            setns(pidfd, ns.CLONE_NEWUSER)
            _become_root()
        setns(pidfd, ns.CLONE_NEWNS)
        os.fchdir(root)
        os.chroot(".")

    return _in_child(enter, work, None)


def _become_root() -> None:
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def _in_child(enter: Callable[[socket.socket], None], work: Work, maps: IdMaps | None) -> Any:  # noqa: ANN401
    link, inner = socket.socketpair()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        link.close()
        _be_child(inner, enter, work, parent)
    inner.close()
    try:
        text = link.recv(_BLOCK)
        if text == _READY and maps is not None:
            write_id_maps(maps, child)
            link.send(b".")
            text = b""
        while block := link.recv(_BLOCK):
            text += block
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        link.close()
        _, status = os.waitpid(child, 0)
    if not text:
        code = os.waitstatus_to_exitcode(status)
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        raise NsbuildError(f"the helper that works on files has ended with {how}")
    said = json.loads(text)
    if "error" in said:
        raise NsbuildError(*said["error"])
    return said["value"]


def _be_child(
    link: socket.socket, enter: Callable[[socket.socket], None], work: Work, parent: int
) -> NoReturn:
    code = 1
    try:
        link.sendall(json.dumps(_said(link, enter, work, parent)).encode())
        code = 0
    except KeyboardInterrupt:
        code = 130
    except BaseException:  # noqa: BLE001 - a bug of ours must not run on in the caller's code
        sys.__excepthook__(*sys.exc_info())
    finally:
        os._exit(code)


def _said(
    link: socket.socket, enter: Callable[[socket.socket], None], work: Work, parent: int
) -> dict[str, Any]:
    try:
        enter(link)
        # Now, because a change of ids takes it back (prctl(2)).
        prctl.set_pdeathsig(signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        return {"value": work()}
    except NsbuildError as error:
        return {"error": [error.message, error.hint, error.code]}
    except OSError as error:
        ours = NsbuildError.from_os(f"cannot work on {error.filename or 'files'}", error)
        return {"error": [ours.message, ours.hint, ours.code]}
