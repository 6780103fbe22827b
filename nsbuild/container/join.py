"""The supervisor joins the container's file system, once that stands.

From then on a path means to the supervisor what it means to the guest (see supervisor.places): it
lives in the container's mount namespace, with the host's /proc as its working directory, because
only there are the guest's processes under the numbers that notifications carry. The supervisor of
an ordinary user, or of a root without CAP_SYS_ADMIN, must enter the user namespace first, where
alone it may do that (setns(2)).
"""

from __future__ import annotations

import os
import signal

import prctl

from nsbuild.errors import NsbuildError
from nsbuild.kernel.files import setns
from nsbuild.kernel.namespaces import CLONE_NEWNS, CLONE_NEWUSER

JOINED = ("user", "mnt")
"""The namespaces that init hands over for it, in this order; names as in /proc/PID/ns."""


def join(users: int, mounts: int) -> int:
    """Enter the container's namespaces, closing their descriptors; raises NsbuildError.

    Returns the inode of the user namespace.
    """
    inode = os.fstat(users).st_ino
    try:
        proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if not prctl.cap_effective.sys_admin:
            setns(users, CLONE_NEWUSER)
            # New capabilities have made us undumpable, so that our own /proc files are root's, and
            # have cancelled the signal at our parent's death (prctl(2)).
            prctl.set_dumpable(1)
            prctl.set_pdeathsig(signal.SIGKILL)
        setns(mounts, CLONE_NEWNS)
        os.fchdir(proc)
    except OSError as error:
        raise NsbuildError.from_os("cannot join the container's file system", error) from error
    for fd in (users, mounts, proc):
        os.close(fd)
    return inode
