"""Work that needs to be root over an image's files, for a user who is not.

The files of an image belong to many users. root can make them as they are. An ordinary user can in
a user namespace with the ranges that subuid(5) gives: the work is done by a child in there, and
what comes of it is sent back through a pipe. What is unpacked so is only to be removed so.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import prctl

from nsbuild.errors import NsbuildError
from nsbuild.kernel import namespaces as ns
from nsbuild.kernel.idmaps import plan_id_maps, write_id_maps


def as_root(work: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever the work returns
    """The value of `work`, which must be JSON; raises the NsbuildError that it raises."""
    if os.geteuid() == 0:
        mask = os.umask(0o077)
        try:
            return work()
        finally:
            os.umask(mask)
    maps = plan_id_maps()
    answer, answer_inside = os.pipe()
    ready, ready_inside = os.pipe()
    go_inside, go = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        for fd in (answer, ready, go):
            os.close(fd)
        _inside(work, parent, answer_inside, ready_inside, go_inside)
    for fd in (answer_inside, ready_inside, go_inside):
        os.close(fd)
    try:
        # Nothing comes where it could make no namespace; its answer then says why.
        if os.read(ready, 1):
            write_id_maps(maps, child)
            os.write(go, b".")
        os.close(go)
        go = -1
        with open(answer, "rb") as file:
            text = file.read()
    finally:
        os.close(ready)
        if go >= 0:
            os.close(go)
        _, status = os.waitpid(child, 0)
    return _result(text, status)


def _result(text: bytes, status: int) -> Any:  # noqa: ANN401
    if not text:
        code = os.waitstatus_to_exitcode(status)
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        raise NsbuildError(f"the helper in the user namespace ended with {how}")
    said = json.loads(text)
    if "error" in said:
        raise NsbuildError(*said["error"])
    return said["value"]


def _inside(work: Callable[[], Any], parent: int, answer: int, ready: int, go: int) -> NoReturn:
    """The child's life."""
    code = 1
    try:
        said = _work_inside(work, parent, ready, go)
        with open(answer, "wb") as file:
            file.write(json.dumps(said).encode())
        code = 0
    except BaseException:  # noqa: BLE001 - a bug of ours must not run on in the caller's code
        sys.__excepthook__(*sys.exc_info())
    os._exit(code)


def _work_inside(work: Callable[[], Any], parent: int, ready: int, go: int) -> dict[str, Any]:
    try:
        try:
            ns.unshare(ns.CLONE_NEWUSER)
        except OSError as error:
            raise NsbuildError.from_os("cannot create a user namespace", error) from error
        os.write(ready, b".")
        if not os.read(go, 1):
            os._exit(1)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        # Now, because a change of ids takes it back (prctl(2)).
        prctl.set_pdeathsig(signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        os.umask(0o077)
        return {"value": work()}
    except NsbuildError as error:
        return {"error": [error.message, error.hint, error.code]}
    except KeyboardInterrupt:
        os._exit(130)
