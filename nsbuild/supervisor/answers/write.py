"""Writers: calls after which a file or a directory is not what it was.

None of them is done here. Before the kernel goes on with one, the files that it concerns are looked
at, and afterwards they remember it as an event at one reading of the caller's clock, as
nsbuild.determinism.files describes. A file that is about to be made is looked for later. An event
of a call that then fails does no harm to the content's time: the kernel has not changed it.
"""

from __future__ import annotations

import errno
import os
import stat
import struct

from nsbuild.determinism.clock import NSEC_PER_SEC
from nsbuild.determinism.files import AS_MTIME
from nsbuild.kernel.files import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_SYMLINK_FOLLOW,
    AT_SYMLINK_NOFOLLOW,
    O_TMPFILE,
    UTIME_NOW,
    UTIME_OMIT,
    statx,
)
from nsbuild.kernel.x86_64 import NR
from nsbuild.supervisor.answers import Handler, signed32
from nsbuild.supervisor.answers.event import NOTHING, Event, Look
from nsbuild.supervisor.answers.nodes import NAMES, Nodes
from nsbuild.supervisor.filetimes import FileTimes, Move, link_text, path_of, path_of_fd
from nsbuild.supervisor.listener import Call
from nsbuild.supervisor.places import Places
from nsbuild.supervisor.processes import Process

_MAX_LINKS = 40
"""MAXSYMLINKS of linux/namei.h."""
_RENAME_EXCHANGE = 2
_TIMES = struct.Struct("=4q")
_UTIMBUF = struct.Struct("=2q")
_OPEN_HOW = struct.Struct("=QQQ")


class Write:
    """Takes notice of the calls that write."""

    def __init__(self, places: Places, times: FileTimes, nodes: Nodes) -> None:
        self._places = places
        self._times = times
        self._nodes = nodes

    def handlers(self) -> dict[int, Handler]:
        """See nsbuild.supervisor.answers."""
        return {
            **{NR[name]: self.open for name in ("open", "openat", "openat2", "creat")},
            **{NR[name]: self.truncate for name in ("truncate", "ftruncate")},
            **{NR[name]: self.make for name in ("mkdir", "mkdirat", "symlink", "symlinkat")},
            **self._nodes.handlers(self.make),
            **{NR[name]: self.link for name in ("link", "linkat")},
            **{NR[name]: self.unlink for name in ("unlink", "unlinkat", "rmdir")},
            **{NR[name]: self.rename for name in ("rename", "renameat", "renameat2")},
            **{NR[name]: self.change_fd for name in _CHANGE_FD},
            **{NR[name]: self.change for name in _CHANGE},
            **{NR[name]: self.utime for name in ("utime", "utimes", "futimesat", "utimensat")},
        }

    # What every handler is made of.

    def _read(self, call: Call, process: Process, address: int) -> bytes:
        """The path at `address`; empty for one that the kernel will refuse."""
        path = process.memory.read_path(call, address)
        return b"" if isinstance(path, int) else path

    def _look(self, call: Call, process: Process, dirfd: int, path: bytes, flags: int) -> Look:
        if not path:
            return NOTHING
        times = self._times
        where = b""

        def act(ours: bytes, how: int) -> int:
            nonlocal where
            error = times.look(process, call.tid, ours, how)
            if not error and times.file is not None and times.file not in times.dirty:
                where = path_of(ours, how)
            return error

        return self._looked(self._places.at(call, process, dirfd, path, flags, act), where)

    def _look_fd(self, call: Call, process: Process, fd: int) -> Look:
        times = self._times
        where = b""

        def act(ours: bytes, how: int) -> int:
            nonlocal where
            error = times.look(process, call.tid, ours, how)
            if not error and times.file not in times.dirty:
                where = path_of(ours, 0)
            return error

        return self._looked(self._places.of_fd(call, fd, act), where)

    def _looked(self, error: int, where: bytes) -> Look:
        if error:
            return Look(error, None, 0, 0, b"")
        times = self._times
        return Look(0, times.file, times.values[6], times.values[3], where)

    def _where(self, look: Look) -> bytes:
        """Where what was looked at is; empty if that is not known."""
        if look.file is None:
            return b""
        return look.where or self._times.dirty.get(look.file, b"")

    def _name(self, parent: Look, path: bytes) -> bytes:
        """Where the last name of `path` is, which is in `parent`; empty if that is not known."""
        directory = self._where(parent)
        return directory.rstrip(b"/") + b"/" + _split(path)[1] if directory else b""

    def _parent(self, call: Call, process: Process, dirfd: int, path: bytes) -> Look:
        """The directory that holds the last name of `path`."""
        return self._look(call, process, dirfd, _split(path)[0], 0)

    def _birth(self, call: Call, process: Process, event: Event, dirfd: int, path: bytes) -> None:
        """`path`, which does not exist, is about to be made."""
        directory, name = _split(path)
        if name in (b"", b".", b".."):
            return
        opened: list[int] = []
        times = self._times
        parent = NOTHING

        def act(ours: bytes, how: int) -> int:
            nonlocal parent
            error = times.look(process, call.tid, ours, how)
            if error or not stat.S_ISDIR(times.values[6]) or times.file is None:
                return error or errno.ENOTDIR
            parent = self._looked(0, b"")
            opened.append(os.open(ours, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
            return 0

        if not self._places.at(call, process, dirfd, directory, 0, act):
            if parent.file not in times.dirty:
                parent = parent._replace(where=path_of_fd(opened[0]))
            event.enter(parent)
            event.births.append((opened[0], name))

    def _go(self, call: Call, process: Process, event: Event) -> None:
        """Let the kernel do the call; if it will, what was gathered happens at one reading."""
        if event.empty:
            call.resume()
            return
        clock = process.clock
        for file, _ in (*event.written, *event.changed):
            # Whoever writes to a file could have seen what was there before. That does not hold for
            # directories: siblings that make files in one would pass their clocks on by chance.
            clock.wall = max(clock.wall, file.changed, file.mtime if file.own else 0)
        now = clock.next_wall()
        if not call.resume():
            for parent, _ in event.births:
                os.close(parent)
            return
        clock.wall = call.said = now
        times = self._times
        for file, where in (*event.written, *event.entered):
            times.wrote(file, now, where)
        for file in event.rewritten:
            file.rewrite()
        for file, where in event.changed:
            times.changed(file, now, where)
        for file, mtime, atime in event.set_times:
            file.set_times(mtime, now if atime == UTIME_NOW else atime)
        if event.unnamed is not None:
            # It has other names; whoever writes to it next says by which.
            times.dirty.pop(event.unnamed, None)
        if event.named is not None:
            times.names.setdefault(event.named[0], []).extend(event.named[1:])
        if event.moved is not None:
            times.pending.append(Move(call.tid, process, *event.moved))
        for parent, name in event.births:
            times.expect(process, call.tid, parent, name, now)

    def _begin(self, call: Call) -> Event:
        if self._times.pending:
            self._times.settle(call.tid)
        return Event()

    # The calls.

    def open(self, call: Call, process: Process) -> None:
        """open(2), openat(2), openat2(2), creat(2), as far as they may write."""
        args = call.args
        dirfd, path, flags = AT_FDCWD, args[0], args[1]
        if call.nr == NR["creat"]:
            flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
        elif call.nr == NR["openat"]:
            dirfd, path, flags = signed32(args[0]), args[1], args[2]
        elif call.nr == NR["openat2"]:
            dirfd, path = signed32(args[0]), args[1]
            how = process.memory.read(call, args[2], _OPEN_HOW.size)
            flags = _OPEN_HOW.unpack(how)[0] if len(how) == _OPEN_HOW.size else 0
        event = self._begin(call)
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_TRUNC)
        if flags & (os.O_PATH | O_TMPFILE) or not (writes or flags & os.O_CREAT):
            # The other opens for reading are for ProcSelf.
            name = self._read(call, process, path) if call.nr == NR["openat2"] else b""
            if not (_is_node(name) and self._nodes.open(call, process, dirfd, name, flags)):
                call.resume()
            return
        name = self._read(call, process, path)
        exclusive = flags & os.O_CREAT and flags & os.O_EXCL
        nofollow = exclusive or flags & os.O_NOFOLLOW
        # What is about to be made is seldom named by a link, so one look says mostly all.
        kept = nofollow or flags & os.O_CREAT
        look = self._look(call, process, dirfd, name, AT_SYMLINK_NOFOLLOW if kept else 0)
        target = name
        if kept and not nofollow and stat.S_ISLNK(look.mode):
            look = self._look(call, process, dirfd, name, 0)
            if look.error == errno.ENOENT:
                target = self._through_links(call, process, dirfd, name)
        if stat.S_ISCHR(look.mode):
            if self._nodes.open(call, process, dirfd, name, flags):
                return
        elif writes and not exclusive and stat.S_ISREG(look.mode):
            event.write(look)
        if look.error == errno.ENOENT and flags & os.O_CREAT:
            self._birth(call, process, event, dirfd, target)
        self._go(call, process, event)

    def _through_links(self, call: Call, process: Process, dirfd: int, path: bytes) -> bytes:
        """`path`, which leads to nothing, or what a dangling link there says will be made."""
        for _ in range(_MAX_LINKS):
            links: list[bytes] = []

            def act(ours: bytes, how: int, links: list[bytes] = links) -> int:
                try:
                    links.append(link_text(ours, how))
                except OSError as error:
                    return error.errno or errno.EINVAL
                return 0

            flags = AT_SYMLINK_NOFOLLOW
            if not path or self._places.at(call, process, dirfd, path, flags, act):
                return path
            path = os.path.join(_split(path)[0], links[0])
        return b""

    def truncate(self, call: Call, process: Process) -> None:
        """truncate(2), ftruncate(2)."""
        event = self._begin(call)
        by_fd = call.nr == NR["ftruncate"]
        if by_fd:
            look = self._look_fd(call, process, signed32(call.args[0]))
        else:
            path = self._read(call, process, call.args[0])
            look = self._look(call, process, AT_FDCWD, path, 0)
        if stat.S_ISREG(look.mode):
            event.write(look)
            same_size = self._times.values[8] == call.args[1]
            if look.file is not None and same_size and not (by_fd and _is_read_only(call)):
                # POSIX says that this is a write; ext4 sets the mtime then, tmpfs does not.
                event.rewritten.append(look.file)
        self._go(call, process, event)

    def make(self, call: Call, process: Process) -> None:
        """mkdir(2), mknod(2), symlink(2) and their relatives."""
        event = self._begin(call)
        dirfd, path = _MADE[call.nr]
        directory = AT_FDCWD if dirfd < 0 else signed32(call.args[dirfd])
        name = self._read(call, process, call.args[path]).rstrip(b"/")
        if self._look(call, process, directory, name, AT_SYMLINK_NOFOLLOW).error == errno.ENOENT:
            self._birth(call, process, event, directory, name)
        self._go(call, process, event)

    def link(self, call: Call, process: Process) -> None:
        """link(2), linkat(2): the new name is one more of an old file."""
        event = self._begin(call)
        args = call.args
        if call.nr == NR["link"]:
            source, old, target, new, flags = AT_FDCWD, args[0], AT_FDCWD, args[1], 0
        else:
            source, old, target, new, flags = (
                *(signed32(args[0]), args[1]),
                *(signed32(args[2]), args[3], args[4]),
            )
        path = self._read(call, process, old)
        if not path and flags & AT_EMPTY_PATH:
            look = self._look_fd(call, process, source)
        else:
            follow = 0 if flags & AT_SYMLINK_FOLLOW else AT_SYMLINK_NOFOLLOW
            look = self._look(call, process, source, path, follow)
        name = self._read(call, process, new)
        if not look.error and name:
            there = self._look(call, process, target, name, AT_SYMLINK_NOFOLLOW)
            if there.error == errno.ENOENT:
                event.change(look)
                parent = self._parent(call, process, target, name)
                event.enter(parent)
                here, made = self._where(look), self._name(parent, name)
                if look.file is not None and here and made:
                    event.named = look.file, here, made
        self._go(call, process, event)

    def unlink(self, call: Call, process: Process) -> None:
        """unlink(2), unlinkat(2), rmdir(2)."""
        event = self._begin(call)
        at = call.nr == NR["unlinkat"]
        dirfd = signed32(call.args[0]) if at else AT_FDCWD
        path = self._read(call, process, call.args[1 if at else 0])
        look = self._look(call, process, dirfd, path.rstrip(b"/"), AT_SYMLINK_NOFOLLOW)
        if not look.error:
            if look.nlink > 1 and not stat.S_ISDIR(look.mode):
                event.change(look)
                event.unnamed = look.file
            event.enter(self._parent(call, process, dirfd, path))
        self._go(call, process, event)

    def rename(self, call: Call, process: Process) -> None:
        """rename(2), renameat(2), renameat2(2)."""
        event = self._begin(call)
        args = call.args
        if call.nr == NR["rename"]:
            source, old, target, new = AT_FDCWD, args[0], AT_FDCWD, args[1]
        else:
            source, old, target, new = signed32(args[0]), args[1], signed32(args[2]), args[3]
        flags = args[4] if call.nr == NR["renameat2"] else 0
        first, second = self._read(call, process, old), self._read(call, process, new)
        look = self._look(call, process, source, first.rstrip(b"/"), AT_SYMLINK_NOFOLLOW)
        if not look.error and second:
            victim = self._look(call, process, target, second.rstrip(b"/"), AT_SYMLINK_NOFOLLOW)
            event.change(look)
            if not victim.error and (flags & _RENAME_EXCHANGE or victim.nlink > 1):
                event.change(victim)
                event.unnamed = None if flags & _RENAME_EXCHANGE else victim.file
            above = self._parent(call, process, source, first)
            event.enter(above)
            parent = self._parent(call, process, target, second)
            event.enter(parent)
            # By the directories, which have one name each.
            here, there = self._name(above, first), self._name(parent, second)
            if look.file is not None and here and there:
                traded = victim.file if flags & _RENAME_EXCHANGE else None
                deep = stat.S_ISDIR(look.mode) or stat.S_ISDIR(victim.mode)
                event.moved = look.file, here, there, traded, deep
        self._go(call, process, event)

    def change_fd(self, call: Call, process: Process) -> None:
        """fchmod(2), fchown(2), fsetxattr(2), fremovexattr(2)."""
        event = self._begin(call)
        event.change(self._look_fd(call, process, signed32(call.args[0])))
        self._go(call, process, event)

    def change(self, call: Call, process: Process) -> None:
        """chmod(2), chown(2), setxattr(2), removexattr(2) and their relatives."""
        event = self._begin(call)
        at, flags_index, flags = _CHANGE_BY_NUMBER[call.nr]
        dirfd = signed32(call.args[0]) if at else AT_FDCWD
        path = self._read(call, process, call.args[1 if at else 0])
        if flags_index:
            flags = call.args[flags_index]
        if not path and flags & AT_EMPTY_PATH:
            event.change(self._look_fd(call, process, dirfd))
        else:
            event.change(self._look(call, process, dirfd, path, flags & AT_SYMLINK_NOFOLLOW))
        self._go(call, process, event)

    def utime(self, call: Call, process: Process) -> None:
        """utime(2), utimes(2), futimesat(2), utimensat(2)."""
        event = self._begin(call)
        args = call.args
        dirfd, path, buffer, flags = AT_FDCWD, args[0], args[1], 0
        if call.nr in (NR["futimesat"], NR["utimensat"]):
            dirfd, path, buffer = signed32(args[0]), args[1], args[2]
        if call.nr == NR["utimensat"]:
            flags = args[3]
        name = self._read(call, process, path) if path else b""
        if not path or (not name and flags & AT_EMPTY_PATH):
            look = self._look_fd(call, process, dirfd)
        else:
            look = self._look(call, process, dirfd, name, flags & AT_SYMLINK_NOFOLLOW)
        times = _asked_times(call, process, buffer)
        if look.file is not None and times is not None and times != (UTIME_OMIT, UTIME_OMIT):
            atime, mtime = times
            event.change(look)
            if mtime == UTIME_NOW:
                event.write(look)
                atime = AS_MTIME if atime == UTIME_NOW else atime
            event.set_times.append(
                (
                    look.file,
                    None if mtime in (UTIME_NOW, UTIME_OMIT) else mtime,
                    None if atime == UTIME_OMIT else atime,
                )
            )
        self._go(call, process, event)


_CHANGE_FD = ("fchmod", "fchown", "fsetxattr", "fremovexattr")

_CHANGE = {
    "chmod": (False, 0, 0),
    "fchmodat": (True, 0, 0),
    "chown": (False, 0, 0),
    "lchown": (False, 0, AT_SYMLINK_NOFOLLOW),
    "fchownat": (True, 4, 0),
    "setxattr": (False, 0, 0),
    "lsetxattr": (False, 0, AT_SYMLINK_NOFOLLOW),
    "removexattr": (False, 0, 0),
    "lremovexattr": (False, 0, AT_SYMLINK_NOFOLLOW),
}
"""Call -> whether it has a dirfd; which argument its flags are, or 0 and what they always are."""
_CHANGE_BY_NUMBER = {NR[name]: shape for name, shape in _CHANGE.items()}

_MADE = {
    NR["mkdir"]: (-1, 0),
    NR["mkdirat"]: (0, 1),
    NR["mknod"]: (-1, 0),
    NR["mknodat"]: (0, 1),
    NR["symlink"]: (-1, 1),
    NR["symlinkat"]: (1, 2),
}
"""Which arguments are the dirfd (-1: none) and the path of what is made."""


def _split(path: bytes) -> tuple[bytes, bytes]:
    """Directory and last name; trailing slashes do not count."""
    stripped = path.rstrip(b"/")
    directory, slash, name = stripped.rpartition(b"/")
    return (directory + slash if slash else b"."), name


def _is_node(path: bytes) -> bool:
    """Whether `path` may be that of a device node which is not the kernel's to open."""
    return path.rpartition(b"/")[2] in NAMES


def _is_read_only(call: Call) -> bool:
    """Whether the first argument is open for reading only (proc_pid_fd(5))."""
    found = statx(AT_FDCWD, b"%d/fd/%d" % (call.tid, signed32(call.args[0])), AT_SYMLINK_NOFOLLOW)
    return isinstance(found, int) or not found[6] & stat.S_IWUSR


def _asked_times(call: Call, process: Process, buffer: int) -> tuple[int, int] | None:
    """(atime, mtime) in nanoseconds, UTIME_NOW or UTIME_OMIT; None if the kernel will refuse."""
    if not buffer:
        return UTIME_NOW, UTIME_NOW
    layout = _UTIMBUF if call.nr == NR["utime"] else _TIMES
    data = process.memory.read(call, buffer, layout.size)
    if len(data) < layout.size:
        return None
    values = layout.unpack(data)
    if call.nr == NR["utime"]:
        return values[0] * NSEC_PER_SEC, values[1] * NSEC_PER_SEC
    if call.nr != NR["utimensat"]:
        atime, mtime = (values[i] * NSEC_PER_SEC + values[i + 1] * 1000 for i in (0, 2))
        return atime, mtime
    return _asked(values[0], values[1]), _asked(values[2], values[3])


def _asked(seconds: int, nanoseconds: int) -> int:
    if nanoseconds in (UTIME_NOW, UTIME_OMIT):
        return nanoseconds
    return seconds * NSEC_PER_SEC + nanoseconds
