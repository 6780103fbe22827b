"""The host's own root as TARGET: everything on it is seen, and every write is thrown away.

One overlay over / cannot do it. In a user namespace all mounts inherited from the host are locked
onto their places, and overlayfs refuses a lower directory with a locked mount below it (EINVAL;
has_locked_children() in fs/namespace.c), because it would show what that mount hides. So / is a
tmpfs, a directory with mounts below it is made anew there, and each directory without any gets an
overlay of its own. What remains different: a rename between two of them is EXDEV, as between two
file systems.

All upper directories lie on the staging tmpfs. Before Linux 6.6 tmpfs has no user.* attributes, and
making a directory anew whose namesake on the host was removed fails there with EIO.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from nsbuild.container.hostview import Host, MountInfo
from nsbuild.container.inside import Rootfs, attach_clone
from nsbuild.container.operations import MakeDirectory, Operation
from nsbuild.kernel.mount import (
    AT_FDCWD,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    new_mount,
)

FRESH = ("/proc", "/sys", "/dev", "/tmp", "/run")
"""Directories that the container gets its own of."""

SHARED = "/var/tmp"
"""Where everybody may write although the host's root owns it. An ordinary user's container has no
number for that owner, and overlayfs copies no directory up whose owner it cannot write down
(EOVERFLOW); as the top of an overlay it need not be copied."""

TIME_BASED_UUIDS = "/var/lib/libuuid"
"""Where libuuid notes when anybody on the host last made a UUID with a time in it. Part of that
note gets into the next one.
"""

PSEUDO = frozenset(
    (
        "autofs",
        "binder",
        "binfmt_misc",
        "bpf",
        "cgroup",
        "cgroup2",
        "configfs",
        "debugfs",
        "devpts",
        "devtmpfs",
        "efivarfs",
        "fusectl",
        "hugetlbfs",
        "mqueue",
        "nsfs",
        "proc",
        "pstore",
        "resctrl",
        "rpc_pipefs",
        "securityfs",
        "selinuxfs",
        "smackfs",
        "sysfs",
        "tracefs",
    )
)
"""File systems that show the kernel rather than files; they are left out."""

_ATTRIBUTES = {
    "nosuid": MOUNT_ATTR_NOSUID,
    "nodev": MOUNT_ATTR_NODEV,
    "noexec": MOUNT_ATTR_NOEXEC,
}
_COPY_LIMIT = 1 << 20


class Overlay(Operation):
    """Show the host's directory `path` at the same path, with writes going to the staging tmpfs."""

    __slots__ = ("attributes", "path")

    def __init__(self, root: Rootfs, path: str, attributes: int) -> None:
        super().__init__(root)
        self.path = path
        self.attributes = attributes

    def describe(self) -> str:
        return f"mount an overlay over the host's {self.path} (read-only where overlayfs refuses)"

    def act(self) -> None:
        try:
            tree = self._overlay()
        except OSError as error:
            if error.errno == errno.EACCES:
                # Not ours to search: an empty directory remains.
                return
            # overlayfs cannot have every file system as a lower layer (case-folding ones, some
            # FUSE and network ones), and gives one of several errors for those.
            read_only = self.attributes | MOUNT_ATTR_RDONLY
            attach_clone(self.root, AT_FDCWD, self.path, self.path, read_only)
            return
        try:
            self.root.attach(tree, self.path)
        finally:
            os.close(tree)

    def _overlay(self) -> int:
        """A detached overlay mount.

        The layers are named by descriptor, so no path needs overlayfs's escapes, whose
        handling differs between kernels, and none shows in the container's mount table.
        """
        staging = self.root.staging_fd
        upper, work = self.root.staged_name("upper"), self.root.staged_name("work")
        layers = []
        flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            layers.append(os.open(self.path, flags))
            for name in (upper, work):
                os.mkdir(name, 0o755, dir_fd=staging)
                layers.append(os.open(name, flags, dir_fd=staging))
            copy_attributes(os.fstat(layers[0]), upper, staging)
            lower_fd, upper_fd, work_fd = (f"/proc/self/fd/{fd}" for fd in layers)
            options: dict[str, str | None] = {
                "lowerdir": lower_fd,
                "upperdir": upper_fd,
                "workdir": work_fd,
                # trusted.* attributes are for the host's root alone.
                "userxattr": None,
            }
            return new_mount("overlay", options, self.attributes)
        finally:
            for fd in layers:
                os.close(fd)


class Skeleton(Operation):
    """Make the host's directory `path` anew, with its files and links but not its directories.

    Small files are copied, so that they can be replaced as on the host (a mount point cannot:
    EBUSY); large ones, and those we may not read, are bound read-only.
    """

    __slots__ = ("path",)

    def __init__(self, root: Rootfs, path: str) -> None:
        super().__init__(root)
        self.path = path

    def describe(self) -> str:
        return f"make the host's directory {self.path} anew, with the files in it"

    def act(self) -> None:
        there = self.root.open(self.path)
        try:
            self._fill(there)
            copy_attributes(os.stat(self.path), ".", there)
        finally:
            os.close(there)

    def _fill(self, there: int) -> None:
        try:
            entries = os.scandir(self.path)
        except PermissionError:
            return
        with entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISLNK(status.st_mode):
                    os.symlink(os.readlink(entry.path), entry.name, dir_fd=there)
                    copy_owner_and_time(status, entry.name, there)
                elif stat.S_ISDIR(status.st_mode):
                    os.mkdir(entry.name, 0o755, dir_fd=there)
                    copy_attributes(status, entry.name, there)
                elif stat.S_ISREG(status.st_mode):
                    self._file(entry.name, status, there)

    def _file(self, name: str, status: os.stat_result, there: int) -> None:
        """Copy or bind the file `name`."""
        path = os.path.join(self.path, name)
        data = None
        if status.st_size <= _COPY_LIMIT:
            try:
                with open(path, "rb") as file:
                    data = file.read()
            except PermissionError:
                pass
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(os.open(name, flags, 0o600, dir_fd=there), "wb") as file:
            file.write(data or b"")
        copy_attributes(status, name, there)
        if data is None:
            attach_clone(self.root, AT_FDCWD, path, path, MOUNT_ATTR_RDONLY)


def copy_attributes(status: os.stat_result, name: str, dirfd: int) -> None:
    """Give `name` below `dirfd`, which is no link, the owner, mode and time in `status`."""
    copy_owner_and_time(status, name, dirfd)
    # After the owner, because chown(2) takes the set-user-ID bit away.
    os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=dirfd)


def copy_owner_and_time(status: os.stat_result, name: str, dirfd: int) -> None:
    """Give `name` below `dirfd` the owner and the modification time in `status`.

    An owner that the user namespace has no number for stays ours.
    """
    # EINVAL without a mapping, EPERM for the overflow id.
    with contextlib.suppress(OSError):
        os.chown(name, status.st_uid, status.st_gid, dir_fd=dirfd, follow_symlinks=False)
    times = (status.st_mtime_ns, status.st_mtime_ns)
    os.utime(name, ns=times, dir_fd=dirfd, follow_symlinks=False)


def plan_host_root(root: Rootfs, host: Host) -> list[Operation]:
    """The operations that show the host's root inside the tmpfs that is `root` by then."""
    operations: list[Operation] = []
    mounts = host.mounts()
    ancestors = {"/"}
    for point in mounts:
        while point != "/":
            point = os.path.dirname(point)
            ancestors.add(point)
    pending = ["/"]
    while pending:
        path = pending.pop()
        if path in FRESH:
            continue
        if path in mounts and mounts[path].fstype in PSEUDO:
            continue
        if path not in ancestors:
            operations.append(Overlay(root, path, _attributes(path, mounts)))
            continue
        operations.append(Skeleton(root, path))
        names = host.directories(path)
        pending.extend(os.path.join(path, name) for name in reversed(names))
    planned = {operation.path for operation in operations if isinstance(operation, Overlay)}
    if SHARED not in planned | ancestors and host.kind(SHARED) == "directory":
        operations.append(Overlay(root, SHARED, _attributes(SHARED, mounts)))
    made = host.directories("/")
    operations.extend(MakeDirectory(root, path) for path in FRESH if path.lstrip("/") not in made)
    return operations


def _attributes(path: str, mounts: dict[str, MountInfo]) -> int:
    """The MOUNT_ATTR_ flags that the host has for `path`."""
    while path not in mounts and path != "/":
        path = os.path.dirname(path)
    options = mounts[path].options if path in mounts else ()
    attributes = 0
    for option in options:
        attributes |= _ATTRIBUTES.get(option, 0)
    return attributes
