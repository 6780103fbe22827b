"""The root under construction: its descriptors, and how paths inside it are found and mounted on.

Paths are resolved by the kernel with the root as their limit (openat2(2), RESOLVE_IN_ROOT), and
what is found is mounted on by descriptor, so that a symbolic link in a hostile root can neither
lead out of it nor change between two looks. Everything here raises OSError.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from nsbuild.kernel.mount import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    OPEN_TREE_CLONE,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    mount_setattr,
    move_mount,
    open_tree,
    openat2,
)

INERT = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC
"""For file systems of which nothing is ever run."""

_MAX_LINKS = 40


class Rootfs:
    """The root under construction, and what building it leaves to its caller.

    `proc_fd` is an O_PATH descriptor of the container's /proc *without* the masks (a detached
    mount, gone with the descriptor); `ns_last_pid_fd` is open for writing. Both are -1 until the
    operation that sets them has been done, and both must be out of the command's reach.
    """

    __slots__ = ("_serial", "ns_last_pid_fd", "proc_fd", "root_fd", "staging_fd")

    def __init__(self) -> None:
        self.root_fd = -1
        self.staging_fd = -1
        self.proc_fd = -1
        self.ns_last_pid_fd = -1
        self._serial = 0

    def open(self, path: str, resolve: int = 0) -> int:
        """An O_PATH descriptor of `path` inside the root; raises OSError."""
        limits = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve
        return openat2(self.root_fd, path.lstrip("/") or ".", os.O_PATH, limits)

    def attach(self, tree: int, path: str, create: str = "", resolve: int = 0) -> None:
        """Mount the detached `tree` on `path` inside the root.

        `create` is what to make where `path` is missing: "directory", "file", or "" for nothing.
        """
        try:
            target = self.open(path, resolve)
        except FileNotFoundError:
            if not create:
                raise
            target = make_inside(self.root_fd, path, create)
        try:
            move_mount(tree, target)
        finally:
            os.close(target)

    def staged_name(self, prefix: str) -> str:
        """A name of its own in the staging directory."""
        self._serial += 1
        return f"{prefix}-{self._serial}"

    def stage_file(self, path: str, text: str) -> None:
        """Write a read-only file at `path` relative to the staging directory."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open(path, flags, 0o444, dir_fd=self.staging_fd)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)

    def stage_directory(self, top: str, files: dict[str, str]) -> None:
        """Make the directory `top` in the staging directory, with read-only files by their texts.

        A name that ends in "/" is a directory of its own.
        """
        made: set[str] = set()
        for name, text in files.items():
            directory, _, last = name.rpartition("/")
            self._stage_parents(f"{top}/{directory}" if directory else top, made)
            if last:
                self.stage_file(f"{top}/{name}", text)

    def _stage_parents(self, path: str, made: set[str]) -> None:
        if path and path not in made:
            self._stage_parents(path.rpartition("/")[0], made)
            os.mkdir(path, 0o755, dir_fd=self.staging_fd)
            made.add(path)

    def attach_staged(self, name: str, path: str, ordinary: bool = False, create: str = "") -> None:
        """Mount `name` of the staging directory on `path`, read-only.

        With `ordinary` no component of `path` may be a symbolic link; `create` as for `attach`.
        """
        limits = RESOLVE_NO_SYMLINKS if ordinary else 0
        attributes = MOUNT_ATTR_RDONLY | INERT
        attach_clone(self, self.staging_fd, name, path, attributes, create=create, resolve=limits)


def attach_clone(
    root: Rootfs,
    dirfd: int,
    source: str,
    target: str,
    attributes: int = 0,
    recursive: bool = False,
    create: str = "",
    resolve: int = 0,
) -> None:
    """Bind `source`, relative to `dirfd`, on `target` inside the root, with MOUNT_ATTR_ flags.

    The flags are added, never cleared: in a user namespace the nosuid, nodev, noexec and read-only
    of a mount inherited from the host are locked, and clearing one is EPERM (user_namespaces(7)).
    """
    depth = AT_RECURSIVE if recursive else 0
    tree = open_tree(dirfd, source, OPEN_TREE_CLONE | depth | (0 if source else AT_EMPTY_PATH))
    try:
        if attributes:
            mount_setattr(tree, "", AT_EMPTY_PATH | depth, attributes)
        root.attach(tree, target, create, resolve)
    finally:
        os.close(tree)


def make_inside(root_fd: int, path: str, kind: str) -> int:
    """Make `path` below `root_fd`, parents included; an O_PATH descriptor of it.

    `kind` is "directory" or "file". Symbolic links are followed by hand, with the root as their
    limit, because openat2(2) cannot create what a dangling one points to.
    """
    rest = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    trail = [os.dup(root_fd)]
    links = 0
    try:
        while rest:
            name = rest.pop()
            if name == "..":
                if len(trail) > 1:
                    os.close(trail.pop())
                continue
            link = _enter(trail, name, kind if not rest else "directory")
            if link is None:
                continue
            links += 1
            if links > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if link.startswith("/"):
                while len(trail) > 1:
                    os.close(trail.pop())
            rest.extend(part for part in reversed(link.split("/")) if part not in ("", "."))
        return trail.pop()
    finally:
        for fd in trail:
            os.close(fd)


def _enter(trail: list[int], name: str, kind: str) -> str | None:
    """Push `name`, made as a `kind` where it is missing, on `trail`; or the text of its link."""
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, dir_fd=trail[-1])
    except FileNotFoundError:
        with unnoticed(trail[-1], name):
            if kind == "directory":
                os.mkdir(name, 0o755, dir_fd=trail[-1])
            else:
                flags_new = os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                os.close(os.open(name, flags_new, 0o644, dir_fd=trail[-1]))
        fd = os.open(name, flags, dir_fd=trail[-1])
    if stat.S_ISLNK(os.fstat(fd).st_mode):
        try:
            return os.readlink("", dir_fd=fd)
        finally:
            os.close(fd)
    trail.append(fd)
    return None


@contextlib.contextmanager
def unnoticed(parent: int, name: str) -> Iterator[None]:
    """Make `name` in the directory `parent`: neither of them shows when that was.

    A mount point that we make is no doing of the build's, whose root it may stay in.
    """
    before = os.stat(parent).st_mtime_ns
    yield
    # Not ours to change, if the directory is somebody else's.
    with contextlib.suppress(OSError):
        os.utime(name, ns=(before, before), dir_fd=parent, follow_symlinks=False)
        os.utime(".", ns=(before, before), dir_fd=parent)


def attach_on_host(tree: int, path: str, dirfd: int = AT_FDCWD) -> None:
    """Mount the detached `tree` on `path` outside the root under construction."""
    target = openat2(dirfd, path, os.O_PATH | os.O_DIRECTORY)
    try:
        move_mount(tree, target)
    finally:
        os.close(target)
