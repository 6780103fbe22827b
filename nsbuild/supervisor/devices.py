"""Mounts as the build knows them: a device number that follows from where a mount is.

The host's device numbers differ from host to host, and on an overlay even within one mount. A mount
is recognised by its id (statx's stx_mnt_id), which mountinfo translates into its mount point; the
shown number is a hash of that. The mount that holds the command's working directory has the same
number wherever it lies.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from nsbuild.determinism.files import file_number
from nsbuild.kernel.files import encode_dev
from nsbuild.kernel.process import read_whole

DISK_MAJOR = 8
"""The major number of all shown devices, that of SCSI disks."""
_MINORS = 1 << 20

_MADE_BY_KERNEL = frozenset(
    b"proc sysfs devpts mqueue cgroup cgroup2 fuse bpf tracefs debugfs securityfs nsfs".split()
)
"""File systems whose inodes come and go: their files have no memory, only a path."""

_OCTAL = re.compile(rb"\\([0-7]{3})")


class Mount(NamedTuple):
    """`label` names the mount, `point` is where it is inside; `device` is the shown st_dev.

    `transient` is for file systems of the kernel's own making; `overlay` for overlayfs.
    """

    label: bytes
    point: bytes
    minor: int
    device: int
    transient: bool
    overlay: bool


def make_mount(label: bytes, point: bytes, fstype: bytes) -> Mount:
    """A mount with the number that follows from its label."""
    minor = file_number(b"mount\0" + label) % _MINORS
    transient = fstype.split(b".")[0] in _MADE_BY_KERNEL
    device = encode_dev(DISK_MAJOR, minor)
    return Mount(label, point, minor, device, transient, fstype == b"overlay")


class Devices:
    """The mounts of the container by id; `workdir` is the mount point that counts as "."."""

    def __init__(self, workdir: bytes) -> None:
        self._workdir = workdir
        self._mounts: dict[int, Mount] = {}
        self.nowhere = make_mount(b"nowhere", b"", b"none")

    def mount(self, mount_id: int, tid: int) -> Mount:
        """The mount with id `mount_id`, which thread `tid` has met."""
        found = self._mounts.get(mount_id)
        if found is None:
            for process in (b"self", b"%d" % tid):
                self._load(process)
                if mount_id in self._mounts:
                    break
            # Pipes, sockets and memfds live on mounts that no table shows.
            found = self._mounts.setdefault(mount_id, self.nowhere)
        return found

    def forget(self) -> None:
        """Something is mounted or unmounted: ids may be used again."""
        self._mounts.clear()

    def _load(self, process: bytes) -> None:
        try:
            text = read_whole(process + b"/mountinfo")
        except OSError:
            return
        for line in text.splitlines():
            fields = line.split(b" ")
            point = _OCTAL.sub(lambda match: bytes([int(match[1], 8)]), fields[4])
            label = b"." if point == self._workdir else point
            fstype = fields[fields.index(b"-", 6) + 1]
            self._mounts[int(fields[0])] = make_mount(label, point, fstype)
