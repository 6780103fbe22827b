"""Serves one file over raw /dev/fuse, so that every process that reads it can get its own bytes.

A FUSE request names its reader, which no other file can do. The file stands in for a character
device or a file of /proc and differs from it as little as FUSE lets it (see `FuseFile`).

Performance contract: a READ is one readv into a buffer made once, one unpack, the content's own
work and one write; everything else goes through a table. Measured from read(2) to its return, with
a content that costs nothing and the loop's epoll included: on the reader's CPU (FIFO 20 over FIFO
10, or nice 0 over 5) 16 bytes take 10.5-11.5 us and 64 KiB 18-21 us; from another CPU 28-52 us and
36-68 us; open and close together 21-23 us. The native device takes 0.4 us and 170 us.

Never touch the file from the process that serves it: it would wait for itself.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import Protocol

from nsbuild.kernel.fuse import (
    FATTR_SIZE,
    FOPEN_DIRECT_IO,
    FOPEN_NOFLUSH,
    FUSE_ACCESS,
    FUSE_ATOMIC_O_TRUNC,
    FUSE_ATTR_OUT,
    FUSE_BATCH_FORGET,
    FUSE_BIG_WRITES,
    FUSE_DESTROY,
    FUSE_FALLOCATE,
    FUSE_FORGET,
    FUSE_FSYNC,
    FUSE_GETATTR,
    FUSE_IN_HEADER,
    FUSE_INIT,
    FUSE_INIT_IN,
    FUSE_INIT_OUT,
    FUSE_IOCTL,
    FUSE_IOCTL_IN,
    FUSE_IOCTL_OUT,
    FUSE_KERNEL_VERSION,
    FUSE_LSEEK,
    FUSE_LSEEK_OUT,
    FUSE_MAX_PAGES,
    FUSE_NOTIFY_REPLY,
    FUSE_OPEN,
    FUSE_OPEN_IN,
    FUSE_OPEN_OUT,
    FUSE_OUT_HEADER,
    FUSE_READ,
    FUSE_RELEASE,
    FUSE_ROOT_ID,
    FUSE_SETATTR,
    FUSE_SETATTR_IN,
    FUSE_STATFS,
    FUSE_STATFS_OUT,
    FUSE_WRITE,
    FUSE_WRITE_IN,
    FUSE_WRITE_OUT,
    MAX_READ,
    READ_REQUEST,
    RNDADDENTROPY,
    RNDADDTOENTCNT,
    RNDCLEARPOOL,
    RNDGETENTCNT,
    RNDRESEEDCRNG,
    RNDZAPENTCNT,
)

MINOR_VERSION = 31
"""The protocol we speak is 7.31 (Linux 5.4): nothing later is of use to a single file."""

_PAGE = 4096
_FOREVER = 1 << 40

# A read that starts inside a page touches one page more than its size says. With that page allowed
# for, where a read is split depends on its size alone and never on the address of its buffer.
_MAX_PAGES = MAX_READ // _PAGE + 1
_MAX_WRITE = MAX_READ

# EAGAIN: somebody else read it. ENOENT: the request was taken back while it was copied out.
_NOTHING = frozenset((errno.EAGAIN, errno.ENOENT, errno.EINTR))

_HEADER = FUSE_IN_HEADER.size
_OUT_HEADER = FUSE_OUT_HEADER.size
_pack_header = FUSE_OUT_HEADER.pack
_unpack_read = READ_REQUEST.unpack_from

_ONLY_ROOT = frozenset((RNDADDTOENTCNT, RNDADDENTROPY, RNDZAPENTCNT, RNDCLEARPOOL, RNDRESEEDCRNG))
_POOL_BITS = 256

Answer = tuple[int, bytes]
"""An errno, or 0 and the body of a reply."""


class Unmounted(Exception):
    """The file system is gone and nothing will come from the descriptor any more."""


class Content(Protocol):
    """What a FuseFile serves.

    `pid` is the *thread* id of the caller in the PID namespace of the process that mounted the
    file, also when the caller lives in a namespace nested in it; 0 when it has no number there.
    """

    def read(self, pid: int, offset: int, size: int) -> tuple[bytes, Callable[[], None]]:
        """At most `size` (<= MAX_READ) bytes for a read at `offset`; b"" is the end of the file.

        The second value is called once the kernel has taken the bytes, and not at all when the
        reader has gone away, so a stream moves only there.
        """

    def write(self, pid: int, data: bytes) -> int:
        """Take `data` as a whole: 0, or the errno with which to refuse it."""

    def ioctl(self, pid: int, cmd: int, in_data: bytes) -> Answer:
        """Errno and output of ioctl `cmd`; sizes and directions are those coded in `cmd`."""


def random_ioctl(cmd: int) -> Answer:
    """What random(4) answers to `cmd` in a user namespace that is not the first, even to root."""
    if cmd == RNDGETENTCNT:
        return 0, _POOL_BITS.to_bytes(4, sys.byteorder)
    return (errno.EPERM if cmd in _ONLY_ROOT else errno.EINVAL), b""


class FuseFile:
    """The server of one mounted file, driven by whoever polls `fileno()`.

    `fd` is the non-blocking descriptor of open_fuse, to be polled once the file is mounted (an
    unmounted one polls as an error for ever); `mode` the st_mode given to mount_fuse_file; `name`
    is for messages.

    As the device: never EOF unless the content says so, a read is never cut short or failed by a
    signal, poll and select always ready without a question to us, pread at any offset, fsync and
    ftruncate EINVAL, fallocate ENODEV, a file without write permission is closed to root as well.
    Unlike it: stat says regular file; lseek moves the offset and returns it (the device's stays 0;
    ESPIPE would be further off, and shells would read byte by byte); an epoll takes it; a private
    mmap succeeds and faults; splice and sendfile see an end of file (busybox's cat uses sendfile),
    because the kernel (>= 6.5) serves them by the file's size unless it was opened with O_DIRECT.
    """

    def __init__(self, fd: int, content: Content, mode: int, name: str) -> None:
        self.name = name
        self._fd = fd
        self._content = content
        self._read = content.read
        self._mode = mode
        self._buffer = bytearray(_HEADER + FUSE_WRITE_IN.size + _MAX_WRITE + _PAGE)
        self._vector = [self._buffer]
        self._attributes = FUSE_ATTR_OUT.pack(
            *(_FOREVER, 0),  # valid for ever
            *(FUSE_ROOT_ID, 0, 0),  # ino, size, blocks
            *(0, 0, 0, 0, 0, 0),  # atime, mtime, ctime and their nanoseconds
            *(mode, 1, 0, 0),  # mode, nlink, uid, gid
            *(0, _PAGE, 0),  # rdev, blksize, flags
        )

    def fileno(self) -> int:
        """The descriptor to poll for input."""
        return self._fd

    def handle(self) -> None:
        """Answer one request, if there is one; never blocks. Raises Unmounted."""
        try:
            length = os.readv(self._fd, self._vector)
        except OSError as error:
            if error.errno in _NOTHING:
                return
            if error.errno == errno.ENODEV:
                raise Unmounted(self.name) from None
            raise
        opcode, unique, pid, offset, size = _unpack_read(self._buffer)
        if opcode == FUSE_READ:
            data, commit = self._read(pid, offset, size)
            if self._reply(unique, 0, data):
                commit()
        elif opcode in _HANDLERS:
            number, body = _HANDLERS[opcode](self, pid, bytes(self._buffer[_HEADER:length]))
            self._reply(unique, number, body)
        elif opcode not in _WITHOUT_REPLY:
            # The kernel takes ENOSYS as "never ask again" and does its own default: FLUSH and
            # *XATTR are no more sent, POLL says always ready, INTERRUPT leaves readers alone.
            self._reply(unique, errno.ENOSYS, b"")

    def _reply(self, unique: int, number: int, body: bytes) -> bool:
        """Answer a request; False if it is there no more."""
        try:
            os.write(self._fd, _pack_header(_OUT_HEADER + len(body), -number, unique) + body)
        except OSError as error:
            # Of a killed reader too the kernel takes the reply: this is an aborted connection.
            if error.errno == errno.ENOENT:
                return False
            raise
        return True

    def _init(self, _pid: int, body: bytes) -> Answer:
        major, minor, _, flags = FUSE_INIT_IN.unpack_from(body)
        if major != FUSE_KERNEL_VERSION or minor < MINOR_VERSION:
            return errno.EPROTO, b""
        # O_TRUNC comes with the OPEN then, so a SETATTR of the size is always a truncate(2).
        flags &= FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES | FUSE_MAX_PAGES
        return 0, FUSE_INIT_OUT.pack(
            *(major, MINOR_VERSION, 0, flags),  # no readahead
            *(0, 0, _MAX_WRITE, 1),  # the kernel's own limits of background requests
            *(_MAX_PAGES, 0),
        )

    def _open(self, _pid: int, body: bytes) -> Answer:
        flags, _ = FUSE_OPEN_IN.unpack_from(body)
        if flags & (os.O_WRONLY | os.O_RDWR) and not self._mode & 0o222:
            return errno.EACCES, b""
        # The supervisor closes duplicates of guests' descriptors, and would wait for itself.
        return 0, FUSE_OPEN_OUT.pack(0, FOPEN_DIRECT_IO | FOPEN_NOFLUSH)

    def _getattr(self, _pid: int, _body: bytes) -> Answer:
        return 0, self._attributes

    def _setattr(self, _pid: int, body: bytes) -> Answer:
        """Modes, owners and times are accepted and forgotten."""
        (valid,) = FUSE_SETATTR_IN.unpack_from(body)
        return (errno.EINVAL, b"") if valid & FATTR_SIZE else (0, self._attributes)

    def _write(self, pid: int, body: bytes) -> Answer:
        _, _, size = FUSE_WRITE_IN.unpack_from(body)
        start = FUSE_WRITE_IN.size
        number = self._content.write(pid, body[start : start + size])
        return number, b"" if number else FUSE_WRITE_OUT.pack(size)

    def _ioctl(self, pid: int, body: bytes) -> Answer:
        _, _, cmd, _, in_size, out_size = FUSE_IOCTL_IN.unpack_from(body)
        start = FUSE_IOCTL_IN.size
        number, out = self._content.ioctl(pid, cmd, body[start : start + in_size])
        return number, b"" if number else FUSE_IOCTL_OUT.pack(0, 0, 0, 0) + out[:out_size]

    def _statfs(self, _pid: int, _body: bytes) -> Answer:
        return 0, FUSE_STATFS_OUT.pack(0, 0, 0, 1, 0, _PAGE, 255, _PAGE)

    def _lseek(self, _pid: int, _body: bytes) -> Answer:
        """Only SEEK_DATA and SEEK_HOLE come here."""
        return 0, FUSE_LSEEK_OUT.pack(0)

    def _done(self, _pid: int, _body: bytes) -> Answer:
        return 0, b""

    def _invalid(self, _pid: int, _body: bytes) -> Answer:
        return errno.EINVAL, b""

    def _no_device(self, _pid: int, _body: bytes) -> Answer:
        return errno.ENODEV, b""


_HANDLERS: dict[int, Callable[[FuseFile, int, bytes], Answer]] = {
    FUSE_INIT: FuseFile._init,
    FUSE_OPEN: FuseFile._open,
    FUSE_RELEASE: FuseFile._done,
    FUSE_GETATTR: FuseFile._getattr,
    FUSE_SETATTR: FuseFile._setattr,
    FUSE_ACCESS: FuseFile._done,
    FUSE_WRITE: FuseFile._write,
    FUSE_IOCTL: FuseFile._ioctl,
    FUSE_LSEEK: FuseFile._lseek,
    FUSE_FSYNC: FuseFile._invalid,
    FUSE_FALLOCATE: FuseFile._no_device,
    FUSE_STATFS: FuseFile._statfs,
    FUSE_DESTROY: FuseFile._done,
}

_WITHOUT_REPLY = frozenset((FUSE_FORGET, FUSE_BATCH_FORGET, FUSE_NOTIFY_REPLY))
