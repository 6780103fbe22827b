"""mount(2) of proc and sysfs, and umount2(2) of what that gave.

A fresh proc or sysfs shows the host's counters, processors and devices, and the kernel mounts a
sysfs only for who owns the network namespace. What is mounted here instead is the container's own
/proc or /sys once more, with all that covers parts of it. So it is for who has a user namespace
within the container's, to whom the kernel gives neither, because parts of what is there are covered
(mount_too_revealing() in fs/namespace.c). Whoever has but a PID namespace of its own gets what the
kernel gives it: the processes there are others. Taking away such a /proc is lazy (MNT_DETACH),
because what covers it would keep it busy.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from nsbuild.kernel.files import AT_FDCWD, statx
from nsbuild.kernel.mount import (
    AT_EMPTY_PATH,
    AT_RECURSIVE,
    MNT_DETACH,
    MNT_EXPIRE,
    MOUNT_ATTR_RDONLY,
    MS_BIND,
    MS_MOVE,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REMOUNT,
    MS_SHARED,
    MS_SLAVE,
    MS_UNBINDABLE,
    OPEN_TREE_CLONE,
    UMOUNT_NOFOLLOW,
    mount_setattr,
    move_mount,
    open_tree,
    umount2,
)
from nsbuild.kernel.namespaces import owner_of
from nsbuild.kernel.process import read_small, status_fields
from nsbuild.kernel.x86_64 import NR
from nsbuild.supervisor.answers import Handler
from nsbuild.supervisor.filetimes import FileTimes
from nsbuild.supervisor.listener import Call
from nsbuild.supervisor.places import Places
from nsbuild.supervisor.processes import Process

_NOT_NEW = MS_REMOUNT | MS_BIND | MS_MOVE | MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE
_OURS = {b"proc": "/proc", b"sysfs": "/sys"}
_ADMIN = 1 << 21
"""CAP_SYS_ADMIN (linux/capability.h)."""


class Mounts:
    """Answers for mounts. `users` and `pids` are the inodes of the container's namespaces."""

    def __init__(self, places: Places, times: FileTimes, users: int, pids: int) -> None:
        self._places = places
        self._times = times
        self._users = users
        self._pids = pids

    def handlers(self) -> dict[int, Handler]:
        """See nsbuild.supervisor.answers."""
        return {
            NR["mount"]: self.mount,
            NR["umount2"]: self.unmount,
            NR["move_mount"]: self.move,
        }

    def move(self, call: Call, _process: Process) -> None:
        """move_mount(2)."""
        self._change(call)
        call.resume()

    def _change(self, call: Call) -> None:
        """Mounts come and go: nothing of ours may keep one busy."""
        self._times.settle(call.tid)
        self._times.devices.forget()

    def mount(self, call: Call, process: Process) -> None:
        """mount(2)."""
        self._change(call)
        _, target, fstype, flags = call.args[:4]
        source = None
        if fstype and not flags & _NOT_NEW:
            kind = process.memory.read_path(call, fstype)
            source = None if isinstance(kind, int) else _OURS.get(kind)
        path = process.memory.read_path(call, target) if source else b""
        if source is None or isinstance(path, int) or not path or not self._is_ours(call):
            call.resume()
            return
        try:
            tree = open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | AT_RECURSIVE)
            try:
                if flags & MS_RDONLY:
                    mount_setattr(tree, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY)
                with self._places.taken(call, process, path, os.O_DIRECTORY) as there:
                    move_mount(tree, there)
            finally:
                os.close(tree)
        except OSError as error:
            call.fail(error.errno or errno.EPERM)
            return
        self._times.devices.forget()
        call.answer()

    def unmount(self, call: Call, process: Process) -> None:
        """umount2(2)."""
        self._change(call)
        address, flags = call.args[0], call.args[1] & 0xFFFFFFFF
        path = process.memory.read_path(call, address)
        if isinstance(path, int) or not path or flags & (MNT_DETACH | MNT_EXPIRE):
            call.resume()
            return
        nofollow = os.O_NOFOLLOW if flags & UMOUNT_NOFOLLOW else 0
        first = statx(AT_FDCWD, b"/proc", 0)
        ours = False
        # What is wrong with the path is the kernel's to say.
        with suppress(OSError), self._places.taken(call, process, path, nofollow) as there:
            found = statx(there, b"", AT_EMPTY_PATH)
            if not isinstance(found, int) and not isinstance(first, int):
                mount = self._times.devices.mount(found[23], call.tid)
                clone = mount.label == b"/proc" and not mount.part and found[23] != first[23]
                if clone and self._is_ours(call):
                    umount2(f"self/fd/{there}", MNT_DETACH)
                    ours = True
        if ours:
            self._times.devices.forget()
            call.answer()
        else:
            call.resume()

    def _is_ours(self, call: Call) -> bool:
        """Whether the caller may mount, and it is for us to say what a proc or sysfs is."""
        try:
            fields = status_fields(read_small(f"{call.tid}/status"))
            users, pids = (os.stat(f"{call.tid}/ns/{name}").st_ino for name in ("user", "pid"))
            if users != self._users:
                able = owner_of(f"{call.tid}/ns/mnt") == users
            else:
                able = pids == self._pids
        except OSError:
            return False
        return able and bool(int(fields[b"CapEff"], 16) & _ADMIN)
