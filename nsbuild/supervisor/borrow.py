"""Descriptors of the guest's, borrowed: our own duplicates of its open file descriptions."""

from __future__ import annotations

import contextlib
import errno
import os

from nsbuild.kernel.process import PIDFD_THREAD, pidfd_getfd

from .processes import Process


def borrow(tid: int, process: Process, number: int) -> int:
    """Our own descriptor of the caller's open file description; raises OSError."""
    if number < 0:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    if tid != process.pid:
        # A thread may have descriptors of its own (CLONE_FILES unshared); Linux >= 6.9 tells.
        with contextlib.suppress(OSError):
            thread = os.pidfd_open(tid, PIDFD_THREAD)
            try:
                return pidfd_getfd(thread, number)
            finally:
                os.close(thread)
    return pidfd_getfd(process.pidfd, number)
