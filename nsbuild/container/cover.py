"""The operations that put constant files in the place of the kernel's in /proc and /sys.

In /sys nothing is needed of the kernel's own, so a directory of constant files is mounted instead
of a sysfs. In /proc the processes are, so each other entry is covered by a mount of its own: with
its constant text, or with an empty file or directory where it has none, so that what a newer kernel
or another driver adds is hidden as well. A mount costs 40 us and a file 8 us of each start.
"""

from __future__ import annotations

import os

from nsbuild.container.inside import INERT, Rootfs
from nsbuild.container.operations import Operation
from nsbuild.kernel.mount import (
    AT_EMPTY_PATH,
    AT_RECURSIVE,
    MOUNT_ATTR_RDONLY,
    OPEN_TREE_CLONE,
    mount_setattr,
    open_tree,
)


class CoverProc(Operation):
    """Cover every entry at the top of /proc but processes, links and `kept`.

    `files` and `directories` are the constant ones by name; `live` names paths below /proc that
    stay the kernel's although the directory around them does not.
    """

    __slots__ = ("directories", "files", "kept", "live")

    def __init__(
        self,
        root: Rootfs,
        files: dict[str, str],
        directories: dict[str, dict[str, str]],
        kept: frozenset[str],
        live: tuple[str, ...],
    ) -> None:
        super().__init__(root)
        self.files = files
        self.directories = directories
        self.kept = kept
        self.live = live

    def describe(self) -> str:
        names = ", ".join(sorted([*self.files, *(f"{name}/" for name in self.directories)]))
        kept = ", ".join(sorted([*self.kept, *self.live]))
        return (
            f"put constant files over those of /proc ({names}) and cover its others by empty "
            f"ones, except {kept}"
        )

    def act(self) -> None:
        proc = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.root.proc_fd)
        live: list[int] = []
        try:
            # Before they are covered: a clone shows what it was made of, not what lies on that.
            live.extend(self._clone(path) for path in self.live)
            self.root.stage_file("nothing", "")
            with os.scandir(proc) as entries:
                # In the order of their names, because the mount table shows it.
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if not (entry.name.isdigit() or entry.name in self.kept or entry.is_symlink()):
                        self._cover(entry.name, entry.is_dir(follow_symlinks=False))
            for path, tree in zip(self.live, live, strict=True):
                self.root.attach(tree, f"/proc/{path}")
        finally:
            for fd in (proc, *live):
                os.close(fd)

    def _clone(self, path: str) -> int:
        # Of the mount that is attached: before Linux 6.15 a detached one is no source (EINVAL).
        source = self.root.open(f"/proc/{path}")
        try:
            flags = OPEN_TREE_CLONE | AT_RECURSIVE | AT_EMPTY_PATH
            tree = open_tree(source, "", flags)
        finally:
            os.close(source)
        mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, MOUNT_ATTR_RDONLY | INERT)
        return tree

    def _cover(self, name: str, directory: bool) -> None:
        if directory and name in self.directories:
            staged = self.root.staged_name(name)
            self.root.stage_directory(staged, self.directories[name])
        elif directory:
            staged = "empty"
        elif name in self.files:
            staged = self.root.staged_name(name)
            self.root.stage_file(staged, self.files[name])
        else:
            staged = "nothing"
        self.root.attach_staged(staged, f"/proc/{name}")


class ConstantSys(Operation):
    """Mount a directory of constant `files` and symbolic `links` on /sys.

    That it is no sysfs shows in statfs(2) and in the mount table only.
    """

    __slots__ = ("files", "links")

    def __init__(self, root: Rootfs, files: dict[str, str], links: dict[str, str]) -> None:
        super().__init__(root)
        self.files = files
        self.links = links

    def describe(self) -> str:
        return f"put {len(self.files)} constant files on /sys"

    def act(self) -> None:
        self.root.stage_directory("sys", self.files)
        for name, to in self.links.items():
            os.symlink(to, f"sys/{name}", dir_fd=self.root.staging_fd)
        self.root.attach_staged("sys", "/sys", ordinary=True)

    def hint(self, error: OSError) -> str:
        return "/sys of the target must be an ordinary directory"
