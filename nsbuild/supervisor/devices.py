"""Mounts as the build knows them: a device number that follows from where a mount is.

The host's device numbers differ from host to host, and on an overlay even within one mount. A mount
is recognised by its id (statx's stx_mnt_id), which mountinfo translates into its mount point; the
shown number is a hash of that. The mount that holds the command's working directory has the same
number wherever it lies, and so have those that are mounted below. What is bind-mounted inside is a
part of another mount and has its number: by that programs know a file that they meet twice (cp and
mv, to keep it from being lost).

A descriptor that the caller has handed in is on a mount of the caller's, which the container has
not. Its file is shown as on the mount of the container that has the same file system, if one has:
`cat f >>f` must see that both are one file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from nsbuild.determinism.files import file_number
from nsbuild.kernel.files import encode_dev
from nsbuild.kernel.process import read_whole
from nsbuild.tuples import NamedTuple

DISK_MAJOR = 8
"""The major number of all shown devices, that of SCSI disks."""
_MINORS = 1 << 20

_MADE_BY_KERNEL = frozenset(
    b"proc sysfs devpts mqueue cgroup cgroup2 fuse bpf tracefs debugfs securityfs nsfs".split()
)
"""File systems whose inodes come and go: their files have no memory, only a path."""

_MOUNTS = b"/proc/self/mountinfo"
_OCTAL = re.compile(rb"\\([0-7]{3})")


class MountPoint(NamedTuple):
    """A mount of the caller's: it shows `root` of the file system `device` at `point`."""

    device: bytes
    root: bytes
    point: bytes
    fstype: bytes


class Mount(NamedTuple):
    """`label` names the mount, `point` is where it is inside; `device` is the shown st_dev.

    `part` is the path of a bind mount in the mount that it is a part of, b"" for most.
    `transient` is for file systems of the kernel's own making; `overlay` for overlayfs. `outer` is
    the mount of the caller's that it stands for: equal to none of the container's own, even if all
    else is.
    """

    label: bytes
    point: bytes
    minor: int
    device: int
    transient: bool
    overlay: bool
    part: bytes = b""
    outer: MountPoint | None = None


def file_systems() -> frozenset[bytes]:
    """Major and minor number of all that is mounted where we are, as mountinfo has them."""
    return frozenset(line.split(b" ", 3)[2] for line in read_whole(_MOUNTS).splitlines())


class _Source(NamedTuple):
    """From where a mount shows files: `root` of a file system, which others may show too."""

    root: bytes
    point: bytes
    label: bytes


def make_mount(label: bytes, point: bytes, fstype: bytes, part: bytes = b"") -> Mount:
    """A mount with the number that follows from its label."""
    minor = file_number(b"mount\0" + label) % _MINORS
    transient = fstype.split(b".")[0] in _MADE_BY_KERNEL
    device = encode_dev(DISK_MAJOR, minor)
    return Mount(label, point, minor, device, transient, fstype == b"overlay", part)


class Devices:
    """The mounts of the container by id; `workdir` is the mount point that counts as ".".

    `mounts` are those that are known; `nowhere` is where pipes, sockets and memfds are. `busy` is
    called when they are about to change, and lets go of what would keep one busy. `elsewhere` tells
    the mountinfo of the namespace of a thread, b"" for that of the container. `lasting` are the
    file systems that are there without the container (see `file_systems`); mounts of any other are
    `passing`, whatever it is that the container has mounted for itself. `caller` is a process that
    has the caller's mounts, 0 for none.
    """

    def __init__(
        self, workdir: bytes, lasting: frozenset[bytes] = frozenset(), caller: int = 0
    ) -> None:
        self._caller = caller
        self._outer: dict[int, MountPoint] | None = None
        self._workdir = workdir
        self._lasting = lasting
        self.passing: set[Mount] = set()
        self.mounts: dict[int, Mount] = {}
        self.busy: Callable[[], None] = lambda: None
        self.elsewhere: Callable[[int], bytes] = lambda tid: read_mountinfo(b"%d" % tid)
        self._first: dict[bytes, list[_Source]] = {}
        self._sources: dict[bytes, list[_Source]] = {}
        self.nowhere = make_mount(b"nowhere", b"", b"none")

    def mount(self, mount_id: int, tid: int) -> Mount:
        """The mount with id `mount_id`, which thread `tid` has met."""
        found = self.mounts.get(mount_id)
        if found is None:
            self._load(read_mountinfo(b"self"))
            if mount_id not in self.mounts:
                self._load(self.elsewhere(tid))
            found = self.mounts.get(mount_id)
        if found is None:
            outer = self._find_outer(mount_id)
            sources = self._first.get(outer.device, ()) if outer else ()
            if len({source.label for source in sources}) > 1:
                # Which it is depends on the file: `handed_in` says.
                return self.nowhere
            # Pipes, sockets and memfds live on mounts that no table shows.
            made = _show(outer, sources[0]) if outer and sources else self.nowhere
            found = self.mounts[mount_id] = made
        return found

    def handed_in(self, mount_id: int, path: bytes) -> Mount:
        """The mount of the file at the caller's `path`, of which `mount` has not known one."""
        outer = self._find_outer(mount_id)
        source = self._holder(outer, path) if outer else None
        return _show(outer, source) if outer and source else self.nowhere

    def is_outside(self, mount: Mount) -> bool:
        """Whether it is none of the container's own."""
        return mount is self.nowhere or mount.outer is not None

    def name(self, mount: Mount, path: bytes) -> bytes:
        """What a file at `path` of `mount` is called, the same on every host."""
        outer = mount.outer
        if outer is None:
            relative = path[len(mount.point) :] if mount.point != b"/" else path
            return mount.label + b"\0" + mount.part + relative
        source = self._holder(outer, path)
        if source is None:
            return mount.label + b"\0outside\0" + path
        relative = _within(outer, path)[len(source.root.rstrip(b"/")) :]
        return source.label + b"\0" + relative

    def _find_outer(self, mount_id: int) -> MountPoint | None:
        if self._outer is None:
            self._outer = {}
            if self._caller:
                for number, outer in mounts_in(read_mountinfo(b"%d" % self._caller)):
                    self._outer[number] = outer
        return self._outer.get(mount_id)

    def _holder(self, outer: MountPoint, path: bytes) -> _Source | None:
        full = _within(outer, path)
        sources = self._first.get(outer.device, ())
        holders = [source for source in sources if _holds(source.root, full)]
        return max(holders, key=lambda source: len(source.root), default=None)

    def forget(self) -> None:
        """Something is about to be mounted or unmounted: ids may be used again."""
        self.busy()
        if not self._first:
            self._load(read_mountinfo(b"self"))
        self.mounts.clear()
        self._sources = {device: list(sources) for device, sources in self._first.items()}

    def _load(self, table: bytes) -> None:
        for number, (device, root, point, fstype) in mounts_in(table):
            label, part = self._source(device, root, point)
            mount = self.mounts[number] = make_mount(label, point, fstype, part)
            # The last of several on one point is what is seen there.
            (self.passing.discard if device in self._lasting else self.passing.add)(mount)
        if not self._first:
            self._first = {device: list(found) for device, found in self._sources.items()}

    def _source(self, device: bytes, root: bytes, point: bytes) -> tuple[bytes, bytes]:
        """The label of the mount that one of `device` at `point` is a part of, and which part.

        The container's first mounts are their own, even where the host has one file system behind
        several of them: the next host may have not.
        """
        sources = self._sources.setdefault(device, [])
        holders = [source for source in sources if _holds(source.root, root)]
        if self._first and holders:
            found = max(holders, key=lambda source: (len(source.root), source.point == point))
            return found.label, root[len(found.root.rstrip(b"/")) :].rstrip(b"/")
        workdir = self._workdir
        below = len(workdir) > 1 and point.startswith(workdir + b"/")
        label = b"." + point[len(workdir) :] if below or point == workdir else point
        sources.append(_Source(root, point, label))
        return label, b""


def read_mountinfo(process: bytes) -> bytes:
    """The mounts that a process sees (proc_pid_mountinfo(5)); none if it may not be read."""
    try:
        return read_whole(process + b"/mountinfo")
    except OSError:
        return b""


def mounts_in(text: bytes) -> Iterator[tuple[int, MountPoint]]:
    """The mounts of a mountinfo by id."""
    for line in text.splitlines():
        fields = line.split(b" ")
        root, point = (
            _OCTAL.sub(lambda match: bytes([int(match[1], 8)]), field) for field in fields[3:5]
        )
        fstype = fields[fields.index(b"-", 6) + 1]
        yield int(fields[0]), MountPoint(fields[2], root, point, fstype)


def _show(outer: MountPoint, source: _Source) -> Mount:
    """The caller's mount, shown as that of the container which has the file system of `source`."""
    return make_mount(source.label, outer.point, outer.fstype)._replace(outer=outer)


def _within(outer: MountPoint, path: bytes) -> bytes:
    """Where in its file system the file at `path` of the mount is."""
    return outer.root.rstrip(b"/") + b"/" + path[len(outer.point) :].lstrip(b"/")


def _holds(outer: bytes, inner: bytes) -> bool:
    """Whether the directory `inner` is `outer` or below it."""
    return inner == outer or inner.startswith(outer.rstrip(b"/") + b"/")
