"""Device nodes: mknod of the standard character devices, and what opening such a node gives.

The kernel makes no device node for a process in a user namespace (EPERM). Builders of root file
systems need eight, which give no power over anything, so these are made here: real nodes, where we
have the right to and where opening them works, and else *stand-ins*, empty regular files that are
shown as the device (see nsbuild.determinism.files). Nothing is mounted, so whatever can be done
with a file can be done with either: chmod, rename, link, unlink. For all other devices the kernel
says EPERM itself.

Opening a stand-in, or any node of a random device or the console, is answered with a descriptor:
of the container's own device, of the random device that is served, of the pts beside a ptmx. The
host's console and the terminal behind a stand-in for /dev/tty are not there (ENXIO).
"""

from __future__ import annotations

import errno
import os
import stat

from nsbuild.determinism.files import File, StandIn
from nsbuild.errors import warn
from nsbuild.kernel.files import AT_FDCWD, AT_SYMLINK_NOFOLLOW, statx
from nsbuild.kernel.process import read_small, status_fields
from nsbuild.kernel.x86_64 import NR
from nsbuild.supervisor.answers import Handler, signed32
from nsbuild.supervisor.filetimes import NSEC, FileTimes, path_of, path_of_fd
from nsbuild.supervisor.listener import Call
from nsbuild.supervisor.opener import Opener
from nsbuild.supervisor.places import Places
from nsbuild.supervisor.processes import Process
from nsbuild.tuples import NamedTuple

Device = tuple[int, int]
"""Major and minor number."""

NULL: Device = (1, 3)
TTY: Device = (5, 0)
CONSOLE: Device = (5, 1)
PTMX: Device = (5, 2)
PLAIN: dict[Device, str] = {NULL: "/dev/null", (1, 5): "/dev/zero", (1, 7): "/dev/full"}
RANDOM: dict[Device, str] = {(1, 8): "/dev/random", (1, 9): "/dev/urandom"}
STANDARD = frozenset((*PLAIN, *RANDOM, TTY, CONSOLE, PTMX))
"""Numbers of the devices that can be made (admin-guide/devices.txt)."""
_NEVER_REAL = frozenset((*RANDOM, CONSOLE))
"""What a real node of these leads to is not for the container."""

NAMES = frozenset((b"zero", b"full", b"random", b"urandom", b"tty", b"console", b"ptmx"))
"""Last names under which a node is noticed that is opened for reading: looking at each file that is
opened would take too long. A stand-in for null is empty, which is all there is to read of it."""

_MKNOD_CAPABILITIES = 1 << 27 | 1 << 1 | 1 << 2
"""CAP_MKNOD, and CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: root as builds know it."""
_UNKEPT = os.O_CREAT | os.O_EXCL | os.O_TRUNC | os.O_NOFOLLOW | os.O_DIRECTORY
_LOOP_MAJOR = 7
_LOOP_CONTROL = b"/dev/loop-control"
_NO_LOOP = (
    "loop devices do not exist inside: the kernel lets no user namespace have them; make the image "
    "from a directory instead (mke2fs -d, mksquashfs), or mount it before and use --volume"
)


class Maker(NamedTuple):
    """Who makes a node: as which group, with which umask."""

    gid: int
    umask: int


class Nodes:
    """Answers for device nodes. `users` is the inode of the container's user namespace."""

    def __init__(self, places: Places, times: FileTimes, users: int, opener: Opener) -> None:
        self._places = places
        self._times = times
        self._users = users
        self._opener = opener
        self._warned = False

    def handlers(self, otherwise: Handler) -> dict[int, Handler]:
        """See nsbuild.supervisor.answers; `otherwise` is for what the kernel makes."""

        def make(call: Call, process: Process) -> None:
            if not self._make(call, process):
                otherwise(call, process)

        return {NR["mknod"]: make, NR["mknodat"]: make}

    # Making.

    def _make(self, call: Call, process: Process) -> bool:
        """mknod(2), mknodat(2); False if the kernel is to do it."""
        dirfd, address, mode, number = AT_FDCWD, *call.args[:3]
        if call.nr == NR["mknodat"]:
            dirfd, (address, mode, number) = signed32(call.args[0]), call.args[1:4]
        device = _decode(number)
        if stat.S_ISBLK(mode) and device[0] == _LOOP_MAJOR:
            self._no_loop()
        if not stat.S_ISCHR(mode) or device not in STANDARD:
            return False
        path = process.memory.read_path(call, address)
        maker = self._maker(call)
        if isinstance(path, int) or maker is None:
            return False
        directory, _, name = path.rpartition(b"/")
        if name in (b"", b".", b".."):
            # Always an error, and which one depends on what is there.
            return False
        if path[:1] == b"/":
            directory += b"/"
        if self._times.pending:
            self._times.settle(call.tid)
        made: list[tuple[int, File | None]] = []

        def act(ours: bytes, how: int) -> int:
            error = self._times.look(process, call.tid, ours, how)
            if error:
                return error
            parent = self._times.file
            try:
                fd = os.open(ours, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as problem:
                return problem.errno or errno.ENOTDIR
            made.append((fd, parent))
            return 0

        error = self._places.at(call, process, dirfd, directory or b".", 0, act)
        if error:
            call.fail(error)
            return True
        fd, parent = made[0]
        try:
            standin = _create(fd, name, stat.S_IMODE(mode), device, maker)
            self._born(call, process, fd, name, parent, device if standin else None)
        except OSError as problem:
            call.fail(problem.errno or errno.EPERM)
        finally:
            os.close(fd)
        return True

    def _maker(self, call: Call) -> Maker | None:
        """The caller as a maker of devices; None if it has no right to."""
        try:
            fields = status_fields(read_small(f"{call.tid}/status"))
            users = os.stat(f"{call.tid}/ns/user").st_ino
        except OSError:
            return None
        able = int(fields[b"CapEff"], 16) & _MKNOD_CAPABILITIES == _MKNOD_CAPABILITIES
        if not able or users != self._users or int(fields[b"Uid"].split()[3]):
            return None
        return Maker(int(fields[b"Gid"].split()[3]), int(fields[b"Umask"], 8))

    def _born(
        self,
        call: Call,
        process: Process,
        fd: int,
        name: bytes,
        parent: File | None,
        device: Device | None,
    ) -> None:
        """`name` in the directory `fd` has just been made; `device` is what it stands in for."""
        times = self._times
        found = statx(fd, name, AT_SYMLINK_NOFOLLOW)
        if isinstance(found, int):
            raise OSError(found, os.strerror(found), name)
        now = process.clock.next_wall()
        if call.answer():
            process.clock.wall = call.said = now
        directory = path_of_fd(fd)
        key = (found[7], found[21], found[22])
        born = found[13] * NSEC + found[14]
        file = times.table.bear(key, born, times.birth_name(process), now, device)
        times.dirty[file] = directory.rstrip(b"/") + b"/" + name
        if parent is not None:
            times.wrote(parent, now, directory)

    def absent(self, path: bytes) -> None:
        """Somebody has looked for `path`, which does not exist."""
        if path == _LOOP_CONTROL:
            self._no_loop()

    def _no_loop(self) -> None:
        if not self._warned:
            self._warned = True
            warn(_NO_LOOP)

    # Opening.

    def open(self, call: Call, process: Process, dirfd: int, path: bytes, flags: int) -> bool:
        """open(2) of what may be a node of ours; False if the kernel is to do it."""
        if flags & (os.O_PATH | os.O_DIRECTORY) or (flags & os.O_EXCL and flags & os.O_CREAT):
            return False
        times = self._times
        found: list[tuple[Device, tuple[int, ...], bytes]] = []

        def act(ours: bytes, how: int) -> int:
            error = times.look(process, call.tid, ours, how)
            if error or times.file is None or not stat.S_ISCHR(times.values[6]):
                return error
            device = times.values[19], times.values[20]
            if isinstance(times.file, StandIn) or device in _NEVER_REAL:
                found.append((device, times.values, path_of(ours, how)))
            return 0

        nofollow = AT_SYMLINK_NOFOLLOW if flags & os.O_NOFOLLOW else 0
        if self._places.at(call, process, dirfd, path, nofollow, act) or not found:
            return False
        device, values, where = found[0]
        try:
            if not _may_open(call, values, flags):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            fd = self._opened(device, where, flags & ~_UNKEPT)
            try:
                call.answer_with(fd, flags & os.O_CLOEXEC)
            finally:
                os.close(fd)
        except OSError as error:
            call.fail(error.errno or errno.ENXIO)
        return True

    def _opened(self, device: Device, where: bytes, flags: int) -> int:
        """What opening `device` gives, whose node is at `where` inside; raises OSError."""
        flags |= os.O_CLOEXEC | os.O_NOCTTY
        if device in RANDOM:
            return self._opener.open(RANDOM[device], flags)
        if device in PLAIN:
            return _open_device(os.fsencode(PLAIN[device]), device, flags)
        if device == PTMX:
            # As the kernel itself looks for it (devpts_mntget in fs/devpts/inode.c).
            return _open_device(os.path.dirname(where) + b"/pts/ptmx", device, flags)
        raise OSError(errno.ENXIO, os.strerror(errno.ENXIO), where)


def _decode(number: int) -> Device:
    """A device number as mknod(2) takes it (new_decode_dev of linux/kdev_t.h)."""
    return (number & 0xFFF00) >> 8, (number & 0xFF) | (number >> 12 & 0xFFF00)


def _create(fd: int, name: bytes, mode: int, device: Device, maker: Maker) -> bool:
    """Make the node `name` in the directory `fd`; whether it is a stand-in. Raises OSError."""
    before = os.umask(maker.umask)
    try:
        standin = not _create_real(fd, name, mode, device)
        if standin:
            os.mknod(name, stat.S_IFREG | mode, dir_fd=fd)
    finally:
        os.umask(before)
    if maker.gid and not os.fstat(fd).st_mode & stat.S_ISGID:
        os.chown(name, -1, maker.gid, dir_fd=fd, follow_symlinks=False)
    return standin


def _create_real(fd: int, name: bytes, mode: int, device: Device) -> bool:
    """Make a real node where we may and where it will work; whether that was done."""
    try:
        os.mknod(name, stat.S_IFCHR | mode, os.makedev(*NULL), dir_fd=fd)
    except PermissionError as error:
        # The last thing that the kernel looks at: all else would have been in order.
        if error.errno != errno.EPERM:
            raise
        return False
    # Whether a mount or its file system has no devices is only seen by opening one; null is the one
    # that does nothing.
    try:
        os.close(os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=fd))
    except OSError:
        os.unlink(name, dir_fd=fd)
        return False
    if device != NULL:
        os.unlink(name, dir_fd=fd)
        os.mknod(name, stat.S_IFCHR | mode, os.makedev(*device), dir_fd=fd)
    return True


def _may_open(call: Call, values: tuple[int, ...], flags: int) -> bool:
    """Whether the mode of a file with these values of STATX lets the caller open it."""
    fields = status_fields(read_small(f"{call.tid}/status"))
    if int(fields[b"CapEff"], 16) & 1 << 1:
        return True
    wanted = {os.O_RDONLY: 4, os.O_WRONLY: 2}.get(flags & os.O_ACCMODE, 6)
    mode, owner, group = values[6], values[4], values[5]
    groups = (fields[b"Gid"].split()[3], *fields[b"Groups"].split())
    if int(fields[b"Uid"].split()[3]) == owner:
        mode >>= 6
    elif group in map(int, groups):
        mode >>= 3
    return mode & wanted == wanted


def _open_device(path: bytes, device: Device, flags: int) -> int:
    """Open what must be `device` at `path` in the container; raises OSError."""
    node = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        status = os.fstat(node)
        if not stat.S_ISCHR(status.st_mode) or status.st_rdev != os.makedev(*device):
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO), path)
        return os.open(f"self/fd/{node}", flags)
    finally:
        os.close(node)
