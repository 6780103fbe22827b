"""mount(2) of proc and sysfs, and umount2(2) of what that gave.

A fresh proc or sysfs shows the host's counters, processors and devices, and the kernel mounts a
sysfs only for who owns the network namespace. What is mounted here instead is the container's own
/proc or /sys once more, with all that covers parts of it. So it is for who has a user namespace
within the container's, to whom the kernel gives neither, because parts of what is there are covered
(mount_too_revealing() in fs/namespace.c). Whoever has but a PID namespace of its own gets what the
kernel gives it: the processes there are others. A bind mount of a /proc takes along what covers
it, asked to (MS_REC) or not. Taking away such a /proc is lazy (MNT_DETACH), because what covers it
would keep it busy.

What a mount is going to hide, and what nobody will find any more in a mount that goes, gets its
times first: at the end of the container there is no way to it.
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
    MOVE_MOUNT_F_EMPTY_PATH,
    MS_BIND,
    MS_MOVE,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
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
from nsbuild.kernel.statfs import PROC_ROOT_INO
from nsbuild.kernel.x86_64 import NR
from nsbuild.supervisor.answers import Handler, signed32
from nsbuild.supervisor.borrow import borrow
from nsbuild.supervisor.devices import mounts_in, read_mountinfo
from nsbuild.supervisor.filetimes import FileTimes, path_of_fd
from nsbuild.supervisor.listener import Call
from nsbuild.supervisor.places import Places
from nsbuild.supervisor.processes import Process

_PROPAGATION = MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE
_NOT_NEW = MS_REMOUNT | MS_BIND | MS_MOVE | _PROPAGATION
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
        self._makers: set[Process] = set()

    def handlers(self) -> dict[int, Handler]:
        """See nsbuild.supervisor.answers."""
        return {
            NR["mount"]: self.mount,
            NR["umount2"]: self.unmount,
            NR["move_mount"]: self.move,
        }

    def new_namespace(self, process: Process) -> None:
        """A mount namespace is about to be made, by `process` or for it."""
        self._times.devices.forget()
        self._makers.add(process)

    def before_end(self, end: Handler) -> Handler:
        """The answer to exit_group, `end`, for somebody whose mounts may go with it."""

        def handler(call: Call, process: Process) -> None:
            if process in self._makers:
                self._makers.discard(process)
                self._times.settle(call.tid)
                for point in self._only_there(call):
                    self._stamp(call, point)
            end(call, process)

        return handler

    def _only_there(self, call: Call) -> list[bytes]:
        """The mount points that the caller has in a namespace of its own, and we have not."""
        theirs = self._places.mount_table(call.tid)
        if not theirs:
            return []
        ours = {mount for _, mount in mounts_in(read_mountinfo(b"self"))}
        return sorted({mount.point for _, mount in mounts_in(theirs) if mount not in ours})

    def move(self, call: Call, process: Process) -> None:
        """move_mount(2)."""
        self._times.settle(call.tid)
        self._times.devices.forget()
        tree, _, to, target, flags = call.args[:5]
        path: bytes | int = errno.EFAULT
        if flags & MOVE_MOUNT_F_EMPTY_PATH and signed32(to) == AT_FDCWD:
            path = process.memory.read_path(call, target)
        if isinstance(path, int) or not path or not self._is_copy(call, process, signed32(tree)):
            call.resume()
            return
        self._attach("/proc", call, process, path)

    def _is_copy(self, call: Call, process: Process, fd: int) -> bool:
        """Whether `fd` is a detached copy of our /proc (open_tree(2)), perhaps of that alone."""
        try:
            own = borrow(call.tid, process, fd)
        except OSError:
            return False
        try:
            found, first = statx(own, b"", AT_EMPTY_PATH), statx(AT_FDCWD, b"/proc", 0)
        finally:
            os.close(own)
        if isinstance(found, int) or isinstance(first, int):
            return False
        if found[7] != PROC_ROOT_INO or found[21:23] != first[21:23]:
            return False
        devices = self._times.devices
        detached = devices.mount(found[23], call.tid) is devices.nowhere
        return detached and self._is_ours(call, True)

    def _attach(
        self, source: str, call: Call, process: Process, path: bytes, read_only: bool = False
    ) -> None:
        """Answer the call with a copy of `source`, which is ours, at the caller's `path`."""
        try:
            tree = open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | AT_RECURSIVE)
            try:
                if read_only:
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

    def _stamp(self, call: Call, below: bytes) -> None:
        with suppress(OSError), self._places.mounts_of(call.tid):
            self._times.stamp(below)

    def _change(self, call: Call, process: Process, paths: tuple[bytes, ...], flags: int) -> None:
        """Mounts are about to come or go at `paths`: nothing of ours may keep one busy."""
        times = self._times
        times.settle(call.tid)
        for path in paths if times.dirty else ():
            with suppress(OSError):
                with self._places.taken(call, process, path, flags) as there:
                    held = os.dup(there)
                try:
                    # From our own root again, as the files are known.
                    below = path_of_fd(held)
                finally:
                    os.close(held)
                self._stamp(call, below)
        times.devices.forget()

    def mount(self, call: Call, process: Process) -> None:
        """mount(2)."""
        source, target, fstype, flags = call.args[:4]
        where = process.memory.read_path(call, target) if target else b""
        what = process.memory.read_path(call, source) if source else b""
        if isinstance(where, int) or not where or flags & _PROPAGATION:
            self._change(call, process, (), 0)
            call.resume()
            return
        moved = (what,) if flags & MS_MOVE and isinstance(what, bytes) and what else ()
        self._change(call, process, (where, *moved), 0)
        kind = process.memory.read_path(call, fstype) if fstype and not flags & _NOT_NEW else b""
        ours = _OURS.get(kind) if isinstance(kind, bytes) else None
        bound = flags & (MS_BIND | MS_REC | MS_REMOUNT) == MS_BIND
        if ours is not None and self._is_ours(call, False):
            self._attach(ours, call, process, where, bool(flags & MS_RDONLY))
        elif bound and isinstance(what, bytes) and self._binds_proc(call, process, what):
            self._attach("/proc", call, process, where)
        else:
            call.resume()

    def _binds_proc(self, call: Call, process: Process, path: bytes) -> bool:
        if not path or not self._is_ours(call, True):
            return False
        return self._is_proc(call, process, path, 0) != 0

    def _is_proc(self, call: Call, process: Process, path: bytes, flags: int) -> int:
        """The id of the mount that `path` leads to, if its root is that of a copy of our /proc.

        0 if it is none. What is wrong with the path is the kernel's to say.
        """
        try:
            with self._places.taken(call, process, path, flags) as there:
                found = statx(there, b"", AT_EMPTY_PATH)
        except OSError:
            return 0
        if isinstance(found, int) or found[7] != PROC_ROOT_INO:
            return 0
        # From our own root: that is where mount points are known from.
        mount = self._times.devices.mount(found[23], call.tid)
        return found[23] if mount.label == b"/proc" and not mount.part else 0

    def unmount(self, call: Call, process: Process) -> None:
        """umount2(2)."""
        address, flags = call.args[0], call.args[1] & 0xFFFFFFFF
        path = process.memory.read_path(call, address)
        nofollow = os.O_NOFOLLOW if flags & UMOUNT_NOFOLLOW else 0
        known = (path,) if isinstance(path, bytes) and path else ()
        self._change(call, process, known, nofollow)
        if isinstance(path, int) or not path or flags & (MNT_DETACH | MNT_EXPIRE):
            call.resume()
            return
        own = statx(AT_FDCWD, b"/proc", 0)
        found = self._is_proc(call, process, path, nofollow)
        ours = False
        if found and not isinstance(own, int) and found != own[23] and self._is_ours(call, True):
            with suppress(OSError), self._places.taken(call, process, path, nofollow) as there:
                umount2(f"self/fd/{there}", MNT_DETACH)
                ours = True
        if ours:
            self._times.devices.forget()
            call.answer()
        else:
            call.resume()

    def _is_ours(self, call: Call, bind: bool) -> bool:
        """Whether the caller may mount, and it is for us to say what a proc or sysfs is.

        With `bind` it is one that is there already.
        """
        try:
            fields = status_fields(read_small(f"{call.tid}/status"))
            users, pids = (os.stat(f"{call.tid}/ns/{name}").st_ino for name in ("user", "pid"))
            if users != self._users:
                able = owner_of(f"{call.tid}/ns/mnt") == users
            else:
                able = bind or pids == self._pids
        except OSError:
            return False
        return able and bool(int(fields[b"CapEff"], 16) & _ADMIN)
