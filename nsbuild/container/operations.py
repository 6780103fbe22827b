"""The acts that build a container's root, each a small object with a *describe* and a *do*.

A plan is a list of them, and all share one `Rootfs`, the root under construction. Nothing is
created outside the private mount namespace, except missing mount points in a target directory.
"""

from __future__ import annotations

import errno
import os
import stat

from nsbuild.container.inside import Rootfs, attach_clone, attach_on_host, unnoticed
from nsbuild.errors import NsbuildError, warn
from nsbuild.kernel.mount import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    MNT_DETACH,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MS_PRIVATE,
    MS_REC,
    OPEN_TREE_CLONE,
    mount,
    mount_setattr,
    new_mount,
    open_tree,
    pivot_root,
    umount2,
)


class Operation:
    """One act. `do` raises NsbuildError with what failed on what and why."""

    __slots__ = ("root",)

    def __init__(self, root: Rootfs) -> None:
        self.root = root

    def describe(self) -> str:
        """One line in the imperative."""
        raise NotImplementedError

    def do(self) -> None:
        """Carry it out."""
        try:
            self.act()
        except OSError as error:
            raise NsbuildError.from_os(
                f"cannot {self.describe()}", error, self.hint(error)
            ) from error

    def act(self) -> None:
        """Carry it out; raises OSError."""
        raise NotImplementedError

    def hint(self, error: OSError) -> str:
        """What to do about `error`."""
        return ""


class MakePrivate(Operation):
    """Cut the mount namespace's propagation from and to the host's."""

    __slots__ = ()

    def describe(self) -> str:
        return "make all mounts private"

    def act(self) -> None:
        mount("none", "/", None, MS_REC | MS_PRIVATE)


class Stage(Operation):
    """Mount the staging tmpfs over `at`, a host directory that nothing else of the plan needs.

    From here on the process has umask 022: the modes given below are meant as they stand.
    """

    __slots__ = ("at",)

    def __init__(self, root: Rootfs, at: str) -> None:
        super().__init__(root)
        self.at = at

    def describe(self) -> str:
        return f"mount the staging tmpfs over {self.at} (in the private mount namespace)"

    def act(self) -> None:
        os.umask(0o022)
        tree = new_mount("tmpfs", {"mode": "0755"}, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)
        attach_on_host(tree, self.at)
        self.root.staging_fd = tree
        for name in ("root", "empty"):
            os.mkdir(name, 0o755, dir_fd=tree)


class CloneRoot(Operation):
    """Take the host's directory `source`, with the mounts below it, as it is before any of ours.

    `source` may be relative to the caller's working directory.
    """

    __slots__ = ("source",)

    def __init__(self, root: Rootfs, source: str) -> None:
        super().__init__(root)
        self.source = source

    def describe(self) -> str:
        return f"take {self.source} as the root"

    def act(self) -> None:
        self.root.root_fd = open_tree(AT_FDCWD, self.source, OPEN_TREE_CLONE | AT_RECURSIVE)


class AttachRoot(Operation):
    """Mount the root that was taken in the staging directory, so that it can be entered."""

    __slots__ = ()

    def describe(self) -> str:
        return "mount the root in the staging directory"

    def act(self) -> None:
        attach_on_host(self.root.root_fd, "root", self.root.staging_fd)


class BindRoot(Operation):
    """Make the host's directory `source` the root, with the mounts below it."""

    __slots__ = ("read_only", "source")

    def __init__(self, root: Rootfs, source: str, read_only: bool) -> None:
        super().__init__(root)
        self.source = source
        self.read_only = read_only

    def describe(self) -> str:
        return f"bind {self.source} as the root{' (read-only)' if self.read_only else ''}"

    def act(self) -> None:
        tree = open_tree(AT_FDCWD, self.source, OPEN_TREE_CLONE | AT_RECURSIVE)
        if self.read_only:
            mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, MOUNT_ATTR_RDONLY)
        attach_on_host(tree, "root", self.root.staging_fd)
        self.root.root_fd = tree


class TmpfsRoot(Operation):
    """Make an empty tmpfs the root."""

    __slots__ = ()

    def describe(self) -> str:
        return "mount a tmpfs as the root"

    def act(self) -> None:
        tree = new_mount("tmpfs", {"mode": "0755"}, MOUNT_ATTR_NODEV)
        attach_on_host(tree, "root", self.root.staging_fd)
        self.root.root_fd = tree


class FreezeRoot(Operation):
    """Make the tmpfs root and the overlays in it read-only, once all mount points are made."""

    __slots__ = ("paths",)

    def __init__(self, root: Rootfs, paths: tuple[str, ...]) -> None:
        super().__init__(root)
        self.paths = paths

    def describe(self) -> str:
        return "make the root read-only"

    def act(self) -> None:
        for path in self.paths:
            fd = self.root.open(path)
            try:
                mount_setattr(fd, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY)
            finally:
                os.close(fd)


class MakeDirectory(Operation):
    """Make a directory inside the root; one that is there already is left as it is."""

    __slots__ = ("mode", "path")

    def __init__(self, root: Rootfs, path: str, mode: int = 0o755) -> None:
        super().__init__(root)
        self.path = path
        self.mode = mode

    def describe(self) -> str:
        return f"make the directory {self.path} (mode {self.mode:o})"

    def act(self) -> None:
        parent = self.root.open(os.path.dirname(self.path))
        name = os.path.basename(self.path)
        try:
            with unnoticed(parent, name):
                os.mkdir(name, dir_fd=parent)
                # Again, because mkdir(2) takes the umask off.
                os.chmod(name, self.mode, dir_fd=parent)
        except FileExistsError:
            return
        finally:
            os.close(parent)

    def hint(self, error: OSError) -> str:
        return f"make {self.path} in the target, or make the target writable"


class MakeFile(Operation):
    """Make an empty file inside the root, to be a mount point."""

    __slots__ = ("mode", "path")

    def __init__(self, root: Rootfs, path: str, mode: int = 0o444) -> None:
        super().__init__(root)
        self.path = path
        self.mode = mode

    def describe(self) -> str:
        return f"make the file {self.path} as a mount point"

    def act(self) -> None:
        parent = self.root.open(os.path.dirname(self.path))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            os.close(os.open(os.path.basename(self.path), flags, self.mode, dir_fd=parent))
        finally:
            os.close(parent)


class Symlink(Operation):
    """Make a symbolic link inside the root."""

    __slots__ = ("path", "to")

    def __init__(self, root: Rootfs, path: str, to: str) -> None:
        super().__init__(root)
        self.path = path
        self.to = to

    def describe(self) -> str:
        return f"link {self.path} to {self.to}"

    def act(self) -> None:
        parent = self.root.open(os.path.dirname(self.path))
        try:
            os.symlink(self.to, os.path.basename(self.path), dir_fd=parent)
        finally:
            os.close(parent)


class WriteConstant(Operation):
    """Put a constant read-only file over a file inside the root.

    With `optional` a file that the root does not have is left missing.
    """

    __slots__ = ("optional", "path", "text")

    def __init__(self, root: Rootfs, path: str, text: str, optional: bool = False) -> None:
        super().__init__(root)
        self.path = path
        self.text = text
        self.optional = optional

    def describe(self) -> str:
        return f"put a constant file over {self.path}" + (" where there is one" * self.optional)

    def act(self) -> None:
        name = self.root.staged_name("file")
        self.root.stage_file(name, self.text)
        try:
            self.root.attach_staged(name, self.path)
        except (FileNotFoundError, NotADirectoryError):
            if not self.optional:
                raise


class ProvideConstant(Operation):
    """Put a constant read-only file at a path of a root that is thrown away, made where missing.

    Where the root cannot be changed there (a directory of the host's root seen by an ordinary user,
    or one that overlayfs refuses) it stays as it is, with a warning.
    """

    __slots__ = ("path", "text")

    def __init__(self, root: Rootfs, path: str, text: str) -> None:
        super().__init__(root)
        self.path = path
        self.text = text

    def describe(self) -> str:
        return f"put a constant file at {self.path}"

    def act(self) -> None:
        name = self.root.staged_name("file")
        self.root.stage_file(name, self.text)
        try:
            self.root.attach_staged(name, self.path, create="file")
        except OSError as error:
            warn(f"cannot {self.describe()}: {os.strerror(error.errno or 0)}")


class Bind(Operation):
    """Bind the host's `source`, with the mounts below it, on `target` inside the root.

    A missing target is made: a directory or a file, as the source is. `attributes` are more
    MOUNT_ATTR_ flags for the mount.
    """

    __slots__ = ("attributes", "read_only", "source", "target")

    def __init__(
        self, root: Rootfs, source: str, target: str, read_only: bool = False, attributes: int = 0
    ) -> None:
        super().__init__(root)
        self.source = source
        self.target = target
        self.read_only = read_only
        self.attributes = attributes

    def describe(self) -> str:
        mode = " (read-only)" if self.read_only else ""
        return f"bind {self.source} on {self.target}{mode}"

    def act(self) -> None:
        kind = "directory" if stat.S_ISDIR(os.stat(self.source).st_mode) else "file"
        attributes = self.attributes | (MOUNT_ATTR_RDONLY if self.read_only else 0)
        attach_clone(
            self.root, AT_FDCWD, self.source, self.target, attributes, recursive=True, create=kind
        )

    def hint(self, error: OSError) -> str:
        if error.errno in (errno.EROFS, errno.EACCES):
            return f"make {self.target} in the target, or make the target writable"
        if error.errno == errno.ENOTDIR:
            return "source and target must both be directories, or neither"
        return ""


class PivotRoot(Operation):
    """Enter the new root and let go of the old one, which takes the staging tmpfs along."""

    __slots__ = ()

    def describe(self) -> str:
        return "enter the new root and detach the old one"

    def act(self) -> None:
        os.fchdir(self.root.root_fd)
        # pivot_root(2), "pivot_root(".", ".")": the old root ends up on top of the new one, where
        # it needs no directory of its own.
        pivot_root(".", ".")
        umount2(".", MNT_DETACH)
        os.chdir("/")
        for fd in (self.root.root_fd, self.root.staging_fd):
            os.close(fd)
        self.root.root_fd = self.root.staging_fd = -1

    def hint(self, error: OSError) -> str:
        # The initial ramfs has no parent mount to be moved away from.
        return "the host must not run from its initial ramfs" if error.errno == errno.EINVAL else ""
