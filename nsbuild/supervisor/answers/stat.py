"""The stat family: stat, lstat, fstat, newfstatat, statx, and statfs, fstatfs.

Performance contract: stat is the hottest call of a build (132,000 times in that of GNU hello, four
of ten for files that are not there). Beyond RECV and SEND it costs one read of the path, one statx
and one write. Times and numbers are those of nsbuild.supervisor.filetimes; everything else is the
kernel's, errors included.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from nsbuild.determinism.clock import NSEC_PER_SEC
from nsbuild.kernel.files import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_NO_AUTOMOUNT,
    AT_STATX_SYNC_TYPE,
    AT_SYMLINK_NOFOLLOW,
    STAT,
    STATFS,
    STATX,
    STATX_BASIC_STATS,
    STATX_BTIME,
    STATX_MNT_ID,
    STATX_RESERVED,
    encode_dev,
)
from nsbuild.kernel.statfs import statfs
from nsbuild.kernel.x86_64 import NR
from nsbuild.supervisor.answers import Handler, signed32
from nsbuild.supervisor.blocks import BLOCK_SIZE
from nsbuild.supervisor.devices import DISK_MAJOR
from nsbuild.supervisor.filetimes import FileTimes, Seen
from nsbuild.supervisor.hotcalls import remember
from nsbuild.supervisor.innerroot import Ids
from nsbuild.supervisor.listener import Call
from nsbuild.supervisor.places import Places
from nsbuild.supervisor.processes import Process
from nsbuild.tuples import NamedTuple

_STATX_FLAGS = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE

EXT4_SUPER_MAGIC = 0xEF53
_DISKS = frozenset((0xEF53, 0x01021994, 0x794C7630, 0x9123683E, 0x58465342, 0xF2F52010, 0x2FC12FC1))
"""ext4, tmpfs, overlayfs, btrfs, xfs, f2fs, zfs (linux/magic.h): a disk, whichever it is."""
_DISK_BLOCKS, _DISK_FILES = 1 << 26, 1 << 24
"""256 GiB in blocks of 4096, of which half are free."""


_SERVED = (EXT4_SUPER_MAGIC, *(0,) * 10, 0x102E)
"""As STATFS has it, with ST_VALID, NOSUID, NODEV, NOEXEC and RELATIME (linux/statfs.h)."""


class Memo(NamedTuple):
    """What was answered for a file, as long as the kernel's `values` stay the same.

    `ahead` is the time that a reader's clock moves up to, `hot` keeps the answer with the extension
    for hot calls.
    """

    values: tuple[int, ...]
    packed: bytes
    ahead: int
    mtime: int
    hot: object


class Stat:
    """Answers for the stat family."""

    def __init__(
        self,
        places: Places,
        times: FileTimes,
        catch_up: Callable[[Call, Process, int, bytes], bool],
        absent: Callable[[bytes], None],
    ) -> None:
        self._places = places
        self._times = times
        self._catch_up = catch_up
        self._absent = absent

    def handlers(self) -> dict[int, Handler]:
        """See nsbuild.supervisor.answers."""
        return {
            NR["stat"]: self.stat,
            NR["lstat"]: self.lstat,
            NR["fstat"]: self.fstat,
            NR["newfstatat"]: self.newfstatat,
            NR["statx"]: self.statx,
            NR["statfs"]: self.statfs,
            NR["fstatfs"]: self.fstatfs,
        }

    def stat(self, call: Call, process: Process) -> None:
        """stat(2)."""
        self._stat(call, process, AT_FDCWD, call.args[0], call.args[1], 0)

    def lstat(self, call: Call, process: Process) -> None:
        """lstat(2)."""
        self._stat(call, process, AT_FDCWD, call.args[0], call.args[1], AT_SYMLINK_NOFOLLOW)

    def fstat(self, call: Call, process: Process) -> None:
        """fstat(2)."""
        self._answer(call, process, call.args[1], self._look_fd(call, process, call.args[0]))

    def newfstatat(self, call: Call, process: Process) -> None:
        """newfstatat(2), which is fstatat(3)."""
        args = call.args
        self._stat(call, process, signed32(args[0]), args[1], args[2], args[3] & 0xFFFFFFFF)

    def _stat(
        self, call: Call, process: Process, dirfd: int, path: int, buffer: int, flags: int
    ) -> None:
        if flags & ~_STATX_FLAGS:
            call.fail(errno.EINVAL)
            return
        self._answer(call, process, buffer, self._look(call, process, dirfd, path, flags))

    def _look(self, call: Call, process: Process, dirfd: int, address: int, flags: int) -> int:
        """Look where the arguments say; 0 or an errno."""
        times = self._times
        if times.pending:
            times.settle(call.tid)
        if not address and flags & AT_EMPTY_PATH:
            path: bytes | int = b""
        else:
            path = process.memory.read_path(call, address)
        if isinstance(path, int):
            return path
        if not path:
            if not flags & AT_EMPTY_PATH:
                return errno.ENOENT
            if dirfd != AT_FDCWD:
                return self._look_fd(call, process, dirfd)
            path = b"."
        tid = call.tid
        kept = flags & AT_SYMLINK_NOFOLLOW
        error = self._places.at(
            call,
            process,
            dirfd,
            path,
            kept,
            lambda where, how: times.look(process, tid, where, how),
        )
        if error == errno.ENOENT:
            self._absent(path)
        return error

    def _look_fd(self, call: Call, process: Process, fd: int) -> int:
        times, tid, fd = self._times, call.tid, signed32(fd)
        if times.pending:
            times.settle(tid)

        def act(where: bytes, how: int) -> int:
            error = times.look(process, tid, where, how)
            if error or times.file is not None or not self._catch_up(call, process, fd, times.name):
                return error
            return times.look(process, tid, where, how)

        return self._places.of_fd(call, fd, act)

    def _answer(self, call: Call, process: Process, buffer: int, error: int) -> None:
        if error:
            call.fail(error)
            return
        times = self._times
        file, values = times.file, times.values
        memo = None if file is None else file.memo
        ids = self._places.ids(call, process)
        if ids is not None:
            seen = _as_seen(times.shown(process), ids)
            memo = Memo(values, _pack_stat(seen), seen.ahead, seen.mtime, None)
        elif isinstance(memo, Memo) and memo.values == values:
            clock = process.clock
            clock.wall = max(clock.wall, memo.ahead)
        else:
            seen = times.shown(process)
            shown = _pack_stat(seen)
            hot = None if file is None else remember(values, shown, seen.ahead)
            memo = Memo(values, shown, seen.ahead, seen.mtime, hot)
            if file is not None:
                file.memo = memo
        if process.memory.write(call, buffer, memo.packed) < STAT.size:
            call.fail(errno.EFAULT)
            return
        call.said = memo.mtime
        call.answer()

    def statx(self, call: Call, process: Process) -> None:
        """statx(2)."""
        dirfd, path, flags, mask, buffer = call.args[:5]
        flags &= 0xFFFFFFFF
        if (
            mask & STATX_RESERVED
            or flags & AT_STATX_SYNC_TYPE == AT_STATX_SYNC_TYPE
            or flags & ~_STATX_FLAGS
        ):
            call.fail(errno.EINVAL)
            return
        error = self._look(call, process, signed32(dirfd), path, flags)
        if error:
            call.fail(error)
            return
        seen = self._times.shown(process)
        ids = self._places.ids(call, process)
        if ids is not None:
            seen = _as_seen(seen, ids)
        if process.memory.write(call, buffer, _pack_statx(seen)) < STATX.size:
            call.fail(errno.EFAULT)
            return
        call.said = seen.mtime
        call.answer()

    def statfs(self, call: Call, process: Process) -> None:
        """statfs(2)."""
        path = process.memory.read_path(call, call.args[0])
        if isinstance(path, int) or not path:
            call.fail(path if isinstance(path, int) else errno.ENOENT)
            return
        held: list[tuple[int, ...]] = []
        error = self._places.at(
            call, process, AT_FDCWD, path, 0, lambda where, _: self._statfs(call, where, held)
        )
        self._answer_statfs(call, process, error, held)

    def fstatfs(self, call: Call, process: Process) -> None:
        """fstatfs(2)."""
        held: list[tuple[int, ...]] = []
        error = self._places.of_fd(
            call, signed32(call.args[0]), lambda where, _: self._statfs(call, where, held)
        )
        self._answer_statfs(call, process, error, held)

    def _statfs(self, call: Call, where: bytes, held: list[tuple[int, ...]]) -> int:
        try:
            # A file system that we serve would wait for us to say how large it is.
            served = self._times.served_name(where, 0, call.tid)
            held.append(_SERVED if served else statfs(where))
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def _answer_statfs(
        self, call: Call, process: Process, error: int, held: list[tuple[int, ...]]
    ) -> None:
        if error:
            call.fail(error)
            return
        data = _pack_statfs(held[0])
        if process.memory.write(call, call.args[1], data) < len(data):
            call.fail(errno.EFAULT)
            return
        call.answer()


def _as_seen(seen: Seen, ids: Ids) -> Seen:
    return seen._replace(uid=ids.uid(seen.uid), gid=ids.gid(seen.gid))


def _pack_stat(seen: Seen) -> bytes:
    atime, mtime, ctime = seen.atime, seen.mtime, seen.ctime
    return STAT.pack(
        seen.mount.device,
        seen.number,
        seen.nlink,
        seen.mode,
        seen.uid,
        seen.gid,
        encode_dev(*seen.rdev),
        seen.size,
        BLOCK_SIZE,
        seen.blocks,
        atime // NSEC_PER_SEC,
        atime % NSEC_PER_SEC,
        mtime // NSEC_PER_SEC,
        mtime % NSEC_PER_SEC,
        ctime // NSEC_PER_SEC,
        ctime % NSEC_PER_SEC,
    )


def _pack_statx(seen: Seen) -> bytes:
    """Always all fields, as a kernel does whose file system has them; no attributes."""
    times = (seen.atime, seen.btime, seen.ctime, seen.mtime)
    return STATX.pack(
        STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID,
        BLOCK_SIZE,
        0,
        seen.nlink,
        seen.uid,
        seen.gid,
        seen.mode,
        seen.number,
        seen.size,
        seen.blocks,
        0,
        *(part for time in times for part in divmod(time, NSEC_PER_SEC)),
        *seen.rdev,
        DISK_MAJOR,
        seen.mount.minor,
        seen.mount.minor,
        0,
        0,
    )


def _pack_statfs(values: tuple[int, ...]) -> bytes:
    """A disk half full, whatever it is and however large; of other file systems only the type."""
    kind, flags = values[0], values[11]
    disk = kind in _DISKS
    blocks, files = (_DISK_BLOCKS, _DISK_FILES) if disk else (0, 0)
    return STATFS.pack(
        EXT4_SUPER_MAGIC if disk else kind,
        BLOCK_SIZE,
        blocks,
        blocks // 2,
        blocks // 2,
        files,
        files // 2,
        0,
        0,
        255,
        BLOCK_SIZE,
        flags,
    )
