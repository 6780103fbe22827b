"""Directories: getdents and getdents64, sorted by the bytes of the names.

A position in a directory (d_off, lseek) is the number of an entry in the sorted list: "." is 0 and
".." is 1. It is kept where the kernel keeps it, in the open file description, so that dup, fork,
telldir and rewinddir work by themselves; the list itself is remembered for each descriptor of a
process and made anew at position 0. What has been removed since is left out; what has been added
shows after the next rewind, as POSIX allows.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Callable

from nsbuild.determinism.files import File
from nsbuild.determinism.proctext import NAMES as PROC_NAMES
from nsbuild.kernel.files import AT_SYMLINK_NOFOLLOW
from nsbuild.kernel.statfs import PROC_ROOT_INO, PROC_SUPER_MAGIC, statfs
from nsbuild.kernel.x86_64 import NR
from nsbuild.supervisor.answers import Handler, signed32
from nsbuild.supervisor.borrow import borrow
from nsbuild.supervisor.filetimes import FileTimes, path_of_fd
from nsbuild.supervisor.listener import Call
from nsbuild.supervisor.processes import Process
from nsbuild.tuples import NamedTuple

_DIRENT64 = struct.Struct("=QqHB")
"""struct linux_dirent64: ino, off, reclen, type; the name follows."""
_DIRENT = struct.Struct("=QQH")
"""struct linux_dirent: ino, off, reclen; the name follows, the type is the last byte."""
_DT_DIR, _DT_REG, _DT_LNK, _DT_UNKNOWN = 4, 8, 10, 0
_BIGGEST = 1 << 20
"""More than this is never written at once, however large the buffer (bytes)."""

Pack = Callable[[int, int, int, bytes], bytes]
"""(number, next position, type, name) -> one entry as it is written."""


class Listing:
    """The sorted names of one directory, as they were when reading began."""

    __slots__ = ("key", "names", "types")

    def __init__(self, key: tuple[int, int], names: list[bytes], types: dict[bytes, int]) -> None:
        self.key = key
        self.names = names
        self.types = types


class Whole(NamedTuple):
    """A directory that was read in one go: valid while its file's `version` and `changed` stay.

    The first counts each time that it was found written (see nsbuild.determinism.files), the
    second moves when the directory itself is moved, and with it "..".
    """

    version: int
    changed: int
    pack: Pack
    listing: Listing
    data: bytes


class Directories:
    """Answers for reading directories."""

    def __init__(self, times: FileTimes) -> None:
        self._times = times
        self._whole: dict[File, Whole] = {}

    def handlers(self) -> dict[int, Handler]:
        """See nsbuild.supervisor.answers."""
        return {NR["getdents64"]: self.getdents64, NR["getdents"]: self.getdents}

    def getdents64(self, call: Call, process: Process) -> None:
        """getdents64(2)."""
        self._read(call, process, _pack64)

    def getdents(self, call: Call, process: Process) -> None:
        """getdents(2), the older layout."""
        self._read(call, process, _pack)

    def _read(self, call: Call, process: Process, pack: Pack) -> None:
        if self._times.pending:
            self._times.settle(call.tid)
        try:
            fd = borrow(call.tid, process, signed32(call.args[0]))
        except OSError as error:
            call.fail(errno.EBADF if error.errno == errno.ESRCH else error.errno or errno.EBADF)
            return
        try:
            error_number = self._read_from(fd, call, process, pack)
        except OSError as error:
            error_number = error.errno or errno.EIO
        finally:
            os.close(fd)
        if error_number:
            call.fail(error_number)

    def _read_from(self, fd: int, call: Call, process: Process, pack: Pack) -> int:
        """Answer the call with entries of `fd`; 0 if that was done, else an errno."""
        found = os.fstat(fd)
        if not stat.S_ISDIR(found.st_mode):
            opened = fcntl.fcntl(fd, fcntl.F_GETFL)
            return errno.EBADF if opened & os.O_PATH else errno.ENOTDIR
        # EBADF for one that was opened with O_PATH.
        position = os.lseek(fd, 0, os.SEEK_CUR)
        if not found.st_nlink:
            return errno.ENOENT
        number = signed32(call.args[0])
        key = (found.st_dev, found.st_ino)
        listing = process.listings.get(number)
        size = min(call.args[2] & 0xFFFFFFFF, _BIGGEST)
        whole = None if position else self._known(fd, call.tid, process, size, pack)
        if whole is not None:
            listing = process.listings[number] = whole.listing
            data, end = whole.data, len(listing.names)
        else:
            if not position or listing is None or listing.key != key:
                listing = process.listings[number] = self._list(fd, key, call.tid, process)
            data, end = self._entries(fd, call.tid, process, listing, position, size, pack)
        if end < 0:
            return errno.EINVAL
        if data:
            written = process.memory.write(call, call.args[1], data)
            if written < len(data):
                data, end = _whole_entries(data, written)
                if not data:
                    return errno.EFAULT
        else:
            del process.listings[number]
        os.lseek(fd, end, os.SEEK_SET)
        if not call.answer(len(data)):
            os.lseek(fd, position, os.SEEK_SET)
        return 0

    def _known(self, fd: int, tid: int, process: Process, size: int, pack: Pack) -> Whole | None:
        """What the directory held when it was last read, if it holds the same now."""
        times = self._times
        times.look(process, tid, b"self/fd/%d" % fd, 0)
        file = times.file
        whole = None if file is None else self._whole.get(file)
        if whole is None or file is None:
            return None
        same = whole.version == file.version and whole.changed == file.changed
        return whole if same and whole.pack is pack and len(whole.data) <= size else None

    def _list(self, fd: int, key: tuple[int, int], tid: int, process: Process) -> Listing:
        # A description of our own, since reading moves its position.
        names: list[bytes] = []
        types: dict[bytes, int] = {}
        # Never a look at the entries here: those of /proc may belong to processes that are dying.
        own = os.open(f"self/fd/{fd}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with os.scandir(own) as entries:
                for entry in entries:
                    name = os.fsencode(entry.name)
                    names.append(name)
                    types[name] = _type_of(entry)
        finally:
            os.close(own)
        self._times.look(process, tid, b"self/fd/%d" % fd, 0)
        if not self._times.mount.transient:
            names.sort()
            types.clear()
        elif key[1] == PROC_ROOT_INO and statfs(b"self/fd/%d" % fd)[0] == PROC_SUPER_MAGIC:
            # Not sorted: /proc lists processes by number, as programs expect.
            names = [name for name in names if name.isdigit() or name in PROC_NAMES]
        return Listing(key, [b".", b"..", *names], types)

    def _entries(
        self,
        fd: int,
        tid: int,
        process: Process,
        listing: Listing,
        position: int,
        size: int,
        pack: Pack,
    ) -> tuple[bytes, int]:
        """Entries from `position` on that fit in `size` bytes, and where the next begins.

        The position is -1 if not even one fits.
        """
        if position >= len(listing.names):
            return b"", position
        times = self._times
        times.look(process, tid, b"self/fd/%d" % fd, 0)
        itself = times.file
        own = times.number if itself is None else itself.number
        mount = times.mount
        directory = path_of_fd(fd) if mount.transient else b""
        parts: list[bytes] = []
        room = size
        for index in range(position, len(listing.names)):
            name = listing.names[index]
            path = b"self/fd/%d/%b" % (fd, name)
            quick = None if mount.transient or index < 2 else times.entry(process, path)
            if quick is not None:
                number, kind = quick
            elif mount.transient:
                number = own if index < 2 else times.number_at(directory + b"/" + name)
                kind = _DT_DIR if index < 2 else listing.types[name]
            elif times.look(process, tid, path, AT_SYMLINK_NOFOLLOW):
                continue
            else:
                inside = times.mount is mount or index > 1
                file = times.file
                number = times.number if file is None else file.number if inside else own
                kind = times.values[6] >> 12
            part = pack(number, index + 1, kind, name)
            if len(part) > room:
                return b"".join(parts), index if parts else -1
            parts.append(part)
            room -= len(part)
        data = b"".join(parts)
        if not position and itself is not None and len(parts) == len(listing.names):
            self._whole[itself] = Whole(itself.version, itself.changed, pack, listing, data)
        return data, len(listing.names)


def _whole_entries(data: bytes, size: int) -> tuple[bytes, int]:
    """The entries that end within `size` bytes, and the position after the last of them."""
    done = position = 0
    while done < size:
        _, following, length = _DIRENT.unpack_from(data, done)
        if done + length > size:
            break
        done, position = done + length, following
    return data[:done], position


def _type_of(entry: os.DirEntry[str]) -> int:
    """The d_type of an entry, without a look at it."""
    if entry.is_symlink():
        return _DT_LNK
    if entry.is_dir(follow_symlinks=False):
        return _DT_DIR
    return _DT_REG


def _pack64(number: int, position: int, kind: int, name: bytes) -> bytes:
    size = (19 + len(name) + 1 + 7) & ~7
    return (_DIRENT64.pack(number, position, size, kind) + name).ljust(size, b"\0")


def _pack(number: int, position: int, kind: int, name: bytes) -> bytes:
    size = (18 + len(name) + 2 + 7) & ~7
    return (_DIRENT.pack(number, position, size) + name).ljust(size - 1, b"\0") + bytes([kind])
