"""A place to change an image's files in: a process that has them as its root directory.

The layers are mounted as an overlay, detached from every mount table, and the process, a child of
ours, makes that its root: links in the image then lead where they lead in the image, and nothing
is left when the process ends, however it does. An ordinary user's is in a user namespace with the
same ids as a container has.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import prctl

from nsbuild.container.userns import plan_id_maps, write_id_maps
from nsbuild.errors import NsbuildError
from nsbuild.kernel import namespaces as ns

Result = dict[str, Any]
"""What comes out, as far as JSON has it."""
Work = Callable[[], Result]


def work_apart(work: Work) -> Result:
    """Run `work` in a child; returns its result, raises its NsbuildError.

    As an ordinary user the child is root of a new user namespace.
    """
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        _child(work, theirs)
    theirs.close()
    try:
        with ours:
            if os.geteuid() and ours.recv(1):
                write_id_maps(plan_id_maps(), child)
                ours.send(b"m")
            answer = b"".join(_received(ours))
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        os.waitpid(child, 0)
    if not answer:
        raise NsbuildError("the process that works on an image's files has died")
    kind, result = json.loads(answer)
    if kind == "error":
        raise NsbuildError(*result)
    return dict(result)


def _child(work: Work, theirs: socket.socket) -> NoReturn:
    answer: tuple[str, Any] | None = None
    try:
        prctl.set_pdeathsig(signal.SIGKILL)
        if os.geteuid():
            _become_root(theirs)
        answer = ("result", work())
    except NsbuildError as error:
        answer = ("error", (error.message, error.hint, error.code))
    except OSError as error:
        ours = NsbuildError.from_os(f"cannot change {error.filename or 'the image'}", error)
        answer = ("error", (ours.message, ours.hint, ours.code))
    except BaseException:  # noqa: BLE001 - a bug of ours must not run on in the parent's code
        sys.__excepthook__(*sys.exc_info())
    finally:
        if answer is not None:
            with contextlib.suppress(OSError):
                theirs.sendall(json.dumps(answer).encode())
        os._exit(0)


def _become_root(theirs: socket.socket) -> None:
    try:
        ns.unshare(ns.CLONE_NEWUSER | ns.CLONE_NEWNS)
    except OSError as error:
        raise NsbuildError.from_os("cannot create a user namespace", error) from error
    prctl.set_pdeathsig(signal.SIGKILL)
    theirs.send(b"n")
    if not theirs.recv(1):
        os._exit(1)
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def _received(ours: socket.socket) -> Iterator[bytes]:
    while block := ours.recv(1 << 16):
        yield block
