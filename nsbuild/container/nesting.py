"""Finds out, before anything is built, whether somebody supervises us already.

The kernel allows one listener in a chain of filters (EBUSY for the next), so nsbuild cannot run
inside nsbuild. Only a process under a filter pays for the question.
"""

from __future__ import annotations

import errno
import os
import struct

import prctl

from nsbuild.errors import NsbuildError
from nsbuild.kernel.bpf import SECCOMP_RET_ALLOW
from nsbuild.kernel.process import read_small
from nsbuild.kernel.seccomp import Program

_BPF_RET_K = 0x06


def refuse_nesting() -> None:
    """NsbuildError if a listener is installed above the calling process."""
    if b"\nSeccomp:\t2\n" not in read_small("/proc/self/status"):
        return
    child = os.fork()
    if child == 0:
        os._exit(_try_listener())
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) == errno.EBUSY:
        raise NsbuildError(
            "cannot supervise: a seccomp listener is installed above us already",
            "nsbuild cannot run inside nsbuild or a container runtime that uses seccomp notify",
        )


def _try_listener() -> int:
    """errno of installing a filter that allows everything; 0 if that worked."""
    prctl.set_no_new_privs(1)
    allow = struct.pack("=HBBI", _BPF_RET_K, 0, 0, SECCOMP_RET_ALLOW)
    try:
        Program(allow).install()
    except OSError as error:
        return error.errno or errno.EINVAL
    return 0
