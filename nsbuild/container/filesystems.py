"""The operations that mount a new file system inside the container's root.

Each knows what its file system asks for and when the kernel refuses it in a user namespace.
"""

from __future__ import annotations

import errno
import os

from nsbuild.container.inside import INERT, Rootfs, attach_on_host
from nsbuild.container.operations import Operation
from nsbuild.kernel.mount import (
    AT_EMPTY_PATH,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    OPEN_TREE_CLONE,
    RESOLVE_NO_SYMLINKS,
    new_mount,
    open_tree,
)

_TTY_GROUP = 5
"""The group of terminals in every distribution, and the one that grantpt(3) expects."""


class Mount(Operation):
    """Mount a new file system inside the root; an option with the value None is a flag."""

    __slots__ = ("attributes", "create", "fstype", "options", "ordinary", "path")

    def __init__(
        self,
        root: Rootfs,
        fstype: str,
        path: str,
        options: dict[str, str | None],
        attributes: int,
        ordinary: bool = False,
        create: bool = False,
    ) -> None:
        super().__init__(root)
        self.fstype = fstype
        self.path = path
        self.options = options
        self.attributes = attributes
        self.ordinary = ordinary
        self.create = create

    def describe(self) -> str:
        words = [key if value is None else f"{key}={value}" for key, value in self.options.items()]
        return f"mount {self.fstype} on {self.path}" + (f" ({','.join(words)})" if words else "")

    def act(self) -> None:
        tree = new_mount(self.fstype, self.options, self.attributes)
        try:
            # With `ordinary` no component of the path may be a symbolic link: a root whose /proc
            # or /dev points elsewhere would move the masks along with it.
            limits = RESOLVE_NO_SYMLINKS if self.ordinary else 0
            self.root.attach(tree, self.path, "directory" if self.create else "", limits)
        finally:
            os.close(tree)

    def hint(self, error: OSError) -> str:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            return f"{self.path} of the target must be an ordinary directory"
        if error.errno == errno.EINVAL and error.filename:
            return f"the file system does not know the option {error.filename}"
        return ""


class MountProc(Mount):
    """A fresh /proc of the PID namespace that we are the init of."""

    __slots__ = ()

    def __init__(self, root: Rootfs) -> None:
        super().__init__(root, "proc", "/proc", {}, INERT, ordinary=True)

    def act(self) -> None:
        super().act()
        self._keep(self.root.open("/proc"))

    def _keep(self, fd: int) -> None:
        # The kernel takes only a mount that is attached as the source of a clone, and the clone
        # must be taken before the masks come on top.
        try:
            self.root.proc_fd = open_tree(fd, "", OPEN_TREE_CLONE | AT_EMPTY_PATH)
        finally:
            os.close(fd)

    def hint(self, error: OSError) -> str:
        if error.errno == errno.EPERM:
            # mount_too_revealing() in fs/namespace.c: where the surrounding /proc has parts hidden,
            # a user namespace gets no fresh one.
            return (
                "the /proc around us is partly hidden, as in a container; start that one with "
                "--security-opt unmask=ALL or --privileged"
            )
        return super().hint(error)


class MountProcAside(MountProc):
    """The same for us alone, where the root is to have no /proc: it goes with the old root."""

    __slots__ = ()

    def describe(self) -> str:
        return "mount proc where the command does not see it"

    def act(self) -> None:
        staging = self.root.staging_fd
        os.mkdir("proc", 0o755, dir_fd=staging)
        tree = new_mount(self.fstype, self.options, self.attributes)
        try:
            attach_on_host(tree, "proc", staging)
        finally:
            os.close(tree)
        self._keep(os.open("proc", os.O_PATH | os.O_CLOEXEC, dir_fd=staging))


class MountDevpts(Mount):
    """Pseudo-terminals of our own (devpts is a new instance at every mount since Linux 4.7)."""

    __slots__ = ()

    def __init__(self, root: Rootfs) -> None:
        options: dict[str, str | None] = {"ptmxmode": "0666", "mode": "0620"}
        attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC
        super().__init__(root, "devpts", "/dev/pts", options, attributes)

    def act(self) -> None:
        # Known only now, because the maps are written after the plan is made. Without gid 5 the
        # terminals get their opener's group, and grantpt(3) is content with that for root only.
        if has_group(_TTY_GROUP):
            self.options["gid"] = str(_TTY_GROUP)
        super().act()


def has_group(gid: int) -> bool:
    """Whether our user namespace has a group of this number."""
    with open("/proc/self/gid_map", "rb") as file:
        ranges = [line.split() for line in file]
    return any(int(first) <= gid < int(first) + int(count) for first, _, count in ranges)


class KeepLastPid(Operation):
    """Open ns_last_pid(5) for writing, before it becomes read-only for everyone else."""

    __slots__ = ()

    def describe(self) -> str:
        return "open /proc/sys/kernel/ns_last_pid"

    def act(self) -> None:
        flags = os.O_RDWR | os.O_CLOEXEC
        name = "sys/kernel/ns_last_pid"
        self.root.ns_last_pid_fd = os.open(name, flags, dir_fd=self.root.proc_fd)

    def hint(self, error: OSError) -> str:
        return "the kernel needs CONFIG_CHECKPOINT_RESTORE" if error.errno == errno.ENOENT else ""
