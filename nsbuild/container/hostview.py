"""What a plan may look at on the host before anything is done: files, mounts, the processor.

All looks of the planner go through `Host`, so that a test can show it another host. The mount table
is read as the kernel keeps it (proc_pid_mountinfo(5)): a tree in which later mounts hide earlier
ones.
"""

from __future__ import annotations

import os
import stat
import sys

from nsbuild.kernel.statfs import statfs
from nsbuild.tuples import NamedTuple


class MountInfo(NamedTuple):
    """One line of /proc/self/mountinfo; `options` are the mount's own, not the file system's."""

    identity: int
    parent: int
    point: str
    options: tuple[str, ...]
    fstype: str


def _unescape(text: str) -> str:
    """Undo the \\ooo of a mountinfo field: the kernel escapes space, tab, newline and backslash."""
    if "\\" not in text:
        return text
    first, *rest = text.split("\\")
    return first + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)


def parse_mountinfo(text: str) -> list[MountInfo]:
    """The lines of a mountinfo file."""
    mounts = []
    for line in text.splitlines():
        fields = line.split(" ")
        # The optional fields between the sixth and the "-" vary in number.
        fstype = fields[fields.index("-", 6) + 1]
        options = tuple(fields[5].split(","))
        point = _unescape(fields[4])
        mounts.append(MountInfo(int(fields[0]), int(fields[1]), point, options, fstype))
    return mounts


def visible_mounts(mounts: list[MountInfo]) -> dict[str, MountInfo]:
    """The mounts that a path walk can reach, by mount point."""
    known = {mount.identity for mount in mounts}
    children: dict[int, list[MountInfo]] = {}
    tops = []
    for mount in mounts:
        if mount.parent in known and mount.parent != mount.identity:
            children.setdefault(mount.parent, []).append(mount)
        else:
            tops.append(mount)
    seen: dict[str, MountInfo] = {}
    while tops:
        top = tops.pop()
        below = children.get(top.identity, [])
        over = [mount for mount in below if mount.point == top.point]
        if over:
            # Stacked on its root: nothing else below this one can be reached.
            tops.extend(over)
            continue
        seen[top.point] = top
        tops.extend(below)
    return seen


class Host:
    """The host that we run on."""

    def kind(self, path: str) -> str:
        """What `path` itself is: "directory", "file", "link", "other", or "" for nothing there."""
        try:
            mode = os.lstat(path).st_mode
        except OSError:
            return ""
        if stat.S_ISDIR(mode):
            return "directory"
        if stat.S_ISREG(mode):
            return "file"
        return "link" if stat.S_ISLNK(mode) else "other"

    def exists(self, path: str) -> bool:
        """Whether `path`, links followed, is there."""
        return os.path.exists(path)

    def link(self, path: str) -> str:
        """The text of the symbolic link `path`."""
        return os.readlink(path)

    def real(self, path: str) -> str:
        """`path` without symbolic links."""
        return os.path.realpath(path)

    def check_directory(self, path: str) -> None:
        """Raise OSError unless `path` is a directory that we may enter."""
        os.close(os.open(os.path.join(path, "."), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))

    def file_system(self, path: str) -> int:
        """The number of the file system that `path` is on (statfs(2)), 0 where there is none."""
        try:
            return statfs(os.fsencode(path))[0]
        except OSError:
            return 0

    def is_read_only(self, path: str) -> bool:
        """Whether `path` lies on a read-only mount."""
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)

    def directories(self, path: str) -> list[str]:
        """The sorted names of the directories in `path`; none where we may not read it."""
        try:
            with os.scandir(path) as entries:
                names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except PermissionError:
            return []
        return sorted(names)

    def mounts(self) -> dict[str, MountInfo]:
        """The reachable mounts by mount point."""
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            return visible_mounts(parse_mountinfo(file.read()))

    def cpuinfo(self) -> str:
        """/proc/cpuinfo, at least its first processor."""
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            # One read of a page or two: on a large host the whole file takes milliseconds.
            return file.read(8192)

    def own_places(self) -> list[str]:
        """Where our own code lies: it may still be imported while the root is being built."""
        here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        return [here, *(os.path.abspath(path) for path in sys.path)]
