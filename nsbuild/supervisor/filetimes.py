"""Files as the build sees them: the kernel's answer, with times and numbers of our own.

`FileTimes` joins three things: statx(2) at a place (see places), what is known of the inode (see
nsbuild.determinism.files), and the births that are still to be found out. A call that makes a file
is let go on before the file exists, so what it makes is remembered as `Pending` and looked for
before anything else is answered about files.

Performance contract: a look at a file that was seen before is one statx and one dictionary look-up.
A path is asked for only when an input is seen for the first time.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable

from nsbuild.determinism.continuation import Earlier
from nsbuild.determinism.files import File, FileTable, Key, StandIn, file_number
from nsbuild.kernel.files import AT_FDCWD, AT_SYMLINK_NOFOLLOW
from nsbuild.kernel.process import read_small
from nsbuild.tuples import NamedTuple

from .blocks import SECTORS, has_holes, whole, with_holes
from .devices import Devices, Mount, make_mount
from .extension import statx
from .processes import Process

NSEC = 1_000_000_000
DIRECTORY_SIZE = 4096
_MAX_PENDING = 64
_DELETED = b" (deleted)"
STAND_IN = re.compile(rb"/memfd:(/(?s:.*)[0-9]+/[0-9a-z_/]+) \(deleted\)")
"""A memfd that stands for a file of a proc, see nsbuild.supervisor.answers.procself."""


class Seen(NamedTuple):
    """One file as it is shown. Times in nanoseconds; `rdev` is major and minor number.

    `ahead` is the latest of the times that come from a virtual clock, 0 if none does.
    """

    number: int
    mount: Mount
    mode: int
    nlink: int
    uid: int
    gid: int
    rdev: tuple[int, int]
    size: int
    blocks: int
    atime: int
    btime: int
    ctime: int
    mtime: int
    ahead: int


class Found(NamedTuple):
    """A file that a container leaves, on the mount with the id `mount`."""

    key: Key
    mount: int
    path: bytes
    file: File


class Pending:
    """A file about to be made as `name` in the directory `parent`, an O_PATH descriptor."""

    __slots__ = ("birth", "name", "parent", "process", "tid", "time")

    def __init__(
        self, tid: int, process: Process, parent: int, name: bytes, birth: bytes, time: int
    ) -> None:
        self.tid = tid
        self.process = process
        self.parent = parent
        self.name = name
        self.birth = birth
        self.time = time


class Move:
    """`file` is about to be renamed from `old` to `new`, absolute paths inside.

    `victim` is what it trades places with, if it does; `deep` says that one of them is a directory.
    """

    __slots__ = ("deep", "file", "new", "old", "process", "tid", "victim")

    def __init__(
        self,
        tid: int,
        process: Process,
        file: File,
        old: bytes,
        new: bytes,
        victim: File | None,
        deep: bool,
    ) -> None:
        self.tid = tid
        self.process = process
        self.file = file
        self.old = old
        self.new = new
        self.victim = victim
        self.deep = deep


class FileTimes:
    """Looks at files. `start` is the real time from which the kernel's times are the container's.

    `served` has mode, major and minor number of the files that the supervisor serves, by path;
    `dirty` holds where those files are that may have been written: also after a look, since whoever
    had one open may still write to it. `names` are those of files that have had more than one.
    `nameless` are mounts of the kernel's own, which last: none of their files has a path.
    `earlier` is what earlier calls of the same build left, None where that does not count.
    """

    def __init__(
        self,
        devices: Devices,
        served: dict[bytes, tuple[int, int, int]],
        start: int,
        epoch: int,
        earlier: Earlier | None = None,
    ) -> None:
        self.table = FileTable(() if earlier is None else earlier.numbers())
        self.earlier = earlier
        self.devices = devices
        self.served = served
        self.pending: list[Pending | Move] = []
        self.dirty: dict[File, bytes] = {}
        self.names: dict[File, list[bytes]] = {}
        self.nameless: set[int] = set()
        self.start = start
        self.epoch = epoch
        self.file: File | None = None
        self.values: tuple[int, ...] = ()
        self.name = b""
        self.number = 0
        self._data = 0
        self.mount = devices.nowhere
        self.entry: Callable[[Process, bytes], tuple[int, int] | None] = lambda _by, _path: None
        """The number and d_type of what is at a path itself, if that can be told quickly."""

    def look(self, process: Process, tid: int, path: bytes, flags: int) -> int:
        """Look at `path`; 0 with `file`, `values` and `mount` set, or an errno.

        `file` is None for one of the kernel's own making, whose inode has no memory; `name` is then
        its path, and `number`, a hash of that, its number.
        """
        values = statx(AT_FDCWD, path, flags)
        if isinstance(values, int):
            if values != errno.EACCES:
                return values
            return self._look_at_served(self.served_name(path, flags, tid))
        self.values = values
        devices = self.devices
        mount = devices.mounts.get(values[23]) or devices.mount(values[23], tid)
        if mount is devices.nowhere and values[23] not in devices.mounts:
            mount = devices.handed_in(values[23], path_of(path, flags))
        self.mount = mount
        if mount.transient:
            if mount.label in self.served:
                return self._look_at_served(mount.label)
            name = self.name = path_of(path, flags)
            self.file = None
            self.number = self.number_at(name)
            return 0
        key = (values[7], values[21], values[22])
        born = values[13] * NSEC + values[14]
        file = self.table.find(key, born, mount.overlay)
        if file is None:
            if devices.is_outside(mount) and values[23] not in self.nameless:
                found = STAND_IN.fullmatch(path_of(path, flags))
                # Without it, a copy of the file would not be of what was looked at before. But
                # anybody may name a memfd so, and have us look at what is none of his business.
                if found and self.look(process, tid, found[1], 0) == 0 and self.file is None:
                    return 0
                self.values, self.mount = values, mount
            file = self._first_sight(process, key, born, path, flags)
        self.file = file
        mtime = values[17] * NSEC + values[18]
        if mtime != file.seen:
            self._take_notice(file, mtime, path, flags)
        if has_holes(values[8], values[9]) and stat.S_ISREG(values[6]):
            self._data = with_holes(path, flags, values[9])
        if type(file) is StandIn:
            self.values = _as_device(self.values, file.device)
        return 0

    def number_at(self, path: bytes) -> int:
        """That of the kernel's own file at the absolute `path` on `mount`."""
        return file_number(self.devices.name(self.mount, path) if path[:1] == b"/" else path)

    def served_name(self, path: bytes, flags: int, tid: int) -> bytes:
        """Which of the `served` is at `path`, wherever that is mounted; b"" if none is."""
        nofollow = os.O_NOFOLLOW if flags & AT_SYMLINK_NOFOLLOW else 0
        try:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC | nofollow)
        except OSError:
            return b""
        try:
            # Without a question to the file system, which may be served by us.
            about = read_small(f"self/fdinfo/{fd}").split()
        finally:
            os.close(fd)
        label = self.devices.mount(int(about[about.index(b"mnt_id:") + 1]), tid).label
        return label if label in self.served else b""

    def _look_at_served(self, name: bytes) -> int:
        """One of the files that the supervisor serves itself; EACCES if `name` is another.

        Only who lives in the container's user namespace may ask a FUSE file system that was mounted
        there, and we could only wait for ourselves.
        """
        shape = self.served.get(name)
        if shape is None:
            return errno.EACCES
        mode, *rdev = shape
        # As STATX has them: only what is shown is filled in.
        self.values = (0, 0, 0, 1, 0, 0, mode, 0, 0, 0, 0, *(0,) * 8, *rdev, 0, 0, 0, 0, 0)
        self.file = None
        self.name = name
        self.number = file_number(name)
        self.mount = make_mount(name, name, b"fuse")
        return 0

    def _take_notice(self, file: File, mtime: int, path: bytes, flags: int) -> None:
        stamp = file.look(mtime, self.start, self.epoch)
        if stamp is None:
            return
        shown = stamp if file.atime is None else file.atime
        follow = not flags & AT_SYMLINK_NOFOLLOW
        try:
            os.utime(path, ns=(shown, stamp), follow_symlinks=follow)
            again = statx(AT_FDCWD, path, flags)
        except OSError:
            # Not ours to change: known by the kernel's time, as far as that goes.
            again = self.values
        if not isinstance(again, int):
            # What the next look will find; else it would have to be worked out once more.
            self.values = again
            mtime = again[17] * NSEC + again[18]
        file.stamped(mtime)

    def _first_sight(self, process: Process, key: Key, born: int, path: bytes, flags: int) -> File:
        """A file that was there before, or that was made by a call which is not notified."""
        mount = self.mount
        mount_id = self.values[23]
        name = b"" if mount_id in self.nameless else path_of(path, flags)
        if name[:1] != b"/":
            # A pipe, a socket: of no known age.
            if b":[" in name:
                self.nameless.add(mount_id)
            return self.meet_nameless(key, born, process)
        if name.endswith(_DELETED):
            return self.table.bear(key, born, self.birth_name(process), process.clock.wall)
        return self.meet(key, born, mount, name)

    def meet(self, key: Key, born: int, mount: Mount, name: bytes) -> File:
        """An input on `mount`, seen for the first time; `name` is its path."""
        earlier = None if mount in self.devices.passing else self.earlier
        if earlier is not None:
            left = earlier.meet(self.table, key, born)
            if left is not None:
                self.dirty[left] = name
                return left
        file = self.table.add(key, born, self.devices.name(mount, name))
        if earlier is not None:
            file.earlier = earlier
            # The next call has to be told of it, should it show as edited meanwhile.
            self.dirty[file] = name
        return file

    def meet_nameless(self, key: Key, born: int, process: Process) -> File:
        """A pipe or a socket, which `process` is the first to look at."""
        return self.table.add(key, born, self.birth_name(process))

    def birth_name(self, process: Process) -> bytes:
        """The name of the next file that `process` makes."""
        process.made += 1
        return b"birth\0%b\0%d" % (process.name.encode(), process.made)

    def shown(self, process: Process) -> Seen:
        """What `look` has found, as it is shown; the clock of `process` moves up to it."""
        values, file = self.values, self.file
        mode = values[6]
        kind = stat.S_IFMT(mode)
        size, blocks, nlink = values[8], values[9], values[3]
        if kind == stat.S_IFDIR:
            size, blocks, nlink = DIRECTORY_SIZE, SECTORS, min(nlink, 1)
        elif kind == stat.S_IFREG:
            blocks = self._data if has_holes(size, blocks) else whole(size)
        elif kind == stat.S_IFLNK:
            blocks = 0
        if file is None:
            number = self.number
            mtime = atime = ctime = btime = self.epoch
            ahead = 0
        else:
            number, mtime, ctime, btime = file.number, file.mtime, file.ctime, file.birth
            kept = file.own or file.btime is not None or file.explicit is not None
            if kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK) and not kept:
                # The kernel made it, at start-up or just now.
                mtime = ctime = btime = self.epoch
            atime = mtime if file.atime is None else file.atime
            ahead = max(mtime if file.own else 0, file.changed)
            process.clock.wall = max(process.clock.wall, ahead)
        return Seen(
            number,
            self.mount,
            mode,
            nlink,
            values[4],
            values[5],
            (values[19], values[20]),
            size,
            blocks,
            atime,
            btime,
            ctime,
            mtime,
            ahead,
        )

    def expect(self, process: Process, tid: int, parent: int, name: bytes, time: int) -> None:
        """Thread `tid` of `process` is about to make `name` in `parent`, an O_PATH descriptor."""
        birth = self.birth_name(process)
        self.pending.append(Pending(tid, process, parent, name, birth, time))

    def settle(self, tid: int) -> bool:
        """Find what was about to be made or moved; `tid` makes a call, so its own are done.

        Returns whether there is something left that was not found yet.
        """
        left = []
        for pending in self.pending:
            if self._is_done(pending) or pending.tid == tid or pending.process.gone:
                _drop(pending)
            else:
                left.append(pending)
        while len(left) > _MAX_PENDING:
            _drop(left.pop(0))
        self.pending = left
        return bool(left)

    def _is_done(self, pending: Pending | Move) -> bool:
        return self._moved(pending) if isinstance(pending, Move) else self._found(pending)

    def _found(self, pending: Pending) -> bool:
        values = statx(pending.parent, pending.name, AT_SYMLINK_NOFOLLOW)
        if isinstance(values, int):
            return False
        key = (values[7], values[21], values[22])
        born = values[13] * NSEC + values[14]
        file = self.table.bear(key, born, pending.birth, pending.time)
        self.dirty[file] = path_of_fd(pending.parent) + b"/" + pending.name
        return True

    def _moved(self, move: Move) -> bool:
        if self._at(move.new) is not move.file:
            return False
        for file in (move.file, move.victim):
            if file in self.dirty:
                self.dirty[file] = move.new if file is move.file else move.old
        if move.deep:
            ways = [(move.old + b"/", move.new + b"/")]
            if move.victim is not None:
                ways.append(ways[0][::-1])
            for file, path in self.dirty.items():
                for old, new in ways:
                    if path.startswith(old):
                        self.dirty[file] = new + path[len(old) :]
                        break
        return True

    def _at(self, path: bytes) -> File | None:
        """The file at `path` itself, if it is known; `values` are the kernel's then."""
        values = statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW)
        if isinstance(values, int):
            return None
        self.values = values
        born = values[13] * NSEC + values[14]
        # What was changed on an overlay has been copied up, and so was born once more.
        mount = self.devices.mounts.get(values[23])
        overlay = mount is not None and mount.overlay
        return self.table.find((values[7], values[21], values[22]), born, overlay)

    def wrote(self, file: File, time: int, where: bytes) -> None:
        """An event at `time` that may write `file`, which is at `where` (an absolute path)."""
        file.write(time)
        self.dirty.setdefault(file, where)

    def changed(self, file: File, time: int, where: bytes) -> None:
        """An event at `time` that changes the inode of `file`, which is at `where`."""
        file.change(time)
        if self.earlier is not None:
            self.dirty.setdefault(file, where)

    def finish(self) -> list[Found]:
        """The container has ended: put the times into whatever nobody has looked at since.

        Returns what there is of all files that may have been written.
        """
        for pending in self.pending:
            self._is_done(pending)
            _drop(pending)
        self.pending = []
        return self.stamp()

    def _whereabouts(self, inside: bytes) -> list[tuple[File, list[bytes]]]:
        """Where each file may be that may have been written; of those whose path begins so.

        `inside` ends in a slash, which the path itself need not have.
        """
        found: dict[File, list[bytes]] = {}
        for file, path in self.dirty.items():
            if path.startswith(inside) or path + b"/" == inside:
                found[file] = [path]
        for file, paths in self.names.items():
            there = [path for path in paths if path.startswith(inside)]
            if there:
                found.setdefault(file, []).extend(there)
        return list(found.items())

    def stamp(self, below: bytes = b"") -> list[Found]:
        """Put the times into whatever nobody has looked at since, as far as it is settled.

        Only of what is at or below the absolute path `below`, if there is one.
        """
        left = []
        # Files before the directories they are in, though setting a time does not change those.
        for file, paths in self._whereabouts(below.rstrip(b"/") + b"/" if below else b""):
            for path in paths:
                if self._at(path) is file:
                    mtime = self.values[17] * NSEC + self.values[18]
                    values = self.values
                    self._take_notice(file, mtime, path, AT_SYMLINK_NOFOLLOW)
                    left.append(Found((values[7], values[21], values[22]), values[23], path, file))
                    break
        return left


def _as_device(values: tuple[int, ...], device: tuple[int, int]) -> tuple[int, ...]:
    """The values of STATX of a regular file, as those of a character device."""
    mode = stat.S_IFCHR | stat.S_IMODE(values[6])
    return (*values[:6], mode, values[7], 0, 0, *values[10:19], *device, *values[21:])


def _drop(pending: Pending | Move) -> None:
    if isinstance(pending, Pending):
        os.close(pending.parent)


def path_of_fd(fd: int) -> bytes:
    """Where our descriptor `fd` is, as the container's root sees it; as `path_of` if too deep."""
    try:
        return os.readlink(b"self/fd/%d" % fd)
    except OSError as error:
        # The kernel tells no path of more than a page.
        return b"?" + errno.errorcode.get(error.errno or 0, "?").encode()


def path_of(path: bytes, flags: int) -> bytes:
    """The absolute path inside of what `path` names; something without a leading "/" if none."""
    nofollow = os.O_NOFOLLOW if flags & AT_SYMLINK_NOFOLLOW else 0
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC | nofollow)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "?").encode()
    try:
        return path_of_fd(fd)
    finally:
        os.close(fd)


def link_text(path: bytes, flags: int) -> bytes:
    """The text of the symbolic link that `path` names with `flags`; raises OSError.

    Without AT_SYMLINK_NOFOLLOW `path` is a link of ours to the one that is meant, which is open.
    """
    if flags & AT_SYMLINK_NOFOLLOW:
        return os.readlink(path)
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        return os.readlink(b"", dir_fd=fd)
    finally:
        os.close(fd)
