"""A guest's memory, read and written through /proc/PID/mem while it waits in a notified call.

The descriptor pins the address space that was opened, so after one check that the call is still
alive nothing written can reach a stranger, even if the process number is used again. An exec makes
a new address space: the exec hook calls `forget`, and an old descriptor whose space is gone answers
reads with no bytes, on which it is opened afresh. A child that still shares its parent's space
(vfork, CLONE_VM) is never cached, because its exec leaves the old space alive.
"""

from __future__ import annotations

import errno
import os

from nsbuild.errors import NsbuildError
from nsbuild.kernel.files import PATH_MAX
from nsbuild.kernel.remotemem import SIZE, read_memory, write_memory

from .listener import Call

STACK_FLOOR = 0x7FFF_F800_0000
"""The main thread's stack lies above: no mapping does, since mmap keeps 128 MiB free for it."""

_SHORT_PATH = 256
"""Bytes that hold most paths: reading more costs more."""


def out_of_descriptors(error: OSError) -> None:
    """Raise what the user should know if `error` says that we may open no more files."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        raise NsbuildError(
            "out of file descriptors: up to four are used for each process of the container",
            "raise the hard limit (ulimit -Hn)",
        ) from error


_DIRECT_READS = 8
"""After how many reads of an address space /proc/PID/mem is opened for it (12 us), which makes each
further read cheaper by 1 us. Most processes of a build do not live that long."""


class MemoryClosedError(Exception):
    """The kernel keeps the memory of a live guest process from us, so it cannot be answered.

    It is for a program that an unprivileged supervisor's user may not read (mode 0711).
    """


class Memory:
    """The memory of one process. `cached` tells whether the descriptor may be kept."""

    __slots__ = ("_direct", "_fd", "cached")

    def __init__(self, cached: bool = True) -> None:
        self._fd = -1
        self._direct = _DIRECT_READS
        self.cached = cached

    @property
    def descriptor(self) -> int:
        """The open /proc/PID/mem, until `forget`; -1 if there is none."""
        return self._fd

    def forget(self) -> None:
        """Close the descriptor: the process has another address space now, or is gone."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._direct = _DIRECT_READS

    def adopt(self, fd: int) -> None:
        """Take over an open /proc/PID/mem of the address space that is there now."""
        self.forget()
        self._fd = fd

    def _open(self, call: Call) -> int:
        # While init is asked, the extension for hot calls may still use the descriptor at hand.
        fd = _open_memory(call)
        self.adopt(fd)
        return fd

    def read(self, call: Call, address: int, size: int) -> bytes:
        """Up to `size` bytes at `address`; fewer where the mapping ends, none if unreadable."""
        if self._fd >= 0:
            data = _pread(self._fd, size, address)
            if data:
                return data
        if self._direct > 0 and size <= SIZE and address < _LIMIT:
            self._direct -= self.cached
            data = read_memory(call.tid, address, size)
            if data:
                return data
        try:
            return _pread(self._open(call), size, address)
        finally:
            self._drop_uncached()

    def read_path(self, call: Call, address: int) -> bytes | int:
        """The path at `address` without its NUL, or the errno with which the kernel refuses it."""
        data = self.read(call, address, _SHORT_PATH)
        path, end, _ = data.partition(b"\0")
        if end:
            return path
        if len(data) == _SHORT_PATH:
            data += self.read(call, address + _SHORT_PATH, PATH_MAX - _SHORT_PATH)
            path, end, _ = data.partition(b"\0")
            if end:
                return path
        return errno.ENAMETOOLONG if len(data) == PATH_MAX else errno.EFAULT

    def write(self, call: Call, address: int, data: bytes) -> int:
        """Write `data`; returns the bytes written, short or 0 where the guest could not write.

        The stack is always writable, and there /proc/PID/mem, which asks for no protection, is
        faster.
        """
        stack = address >= STACK_FLOOR
        if stack and self._fd >= 0:
            written = _pwrite(self._fd, data, address)
            if written:
                return written
        if len(data) > SIZE:
            return self._write_in_parts(call, address, data)
        written = write_memory(call.tid, address, data) if call.valid() else 0
        if written == len(data):
            return written
        if stack or not self.read(call, address, 1):
            # A page of the stack that was never used, or memory that only init may open.
            return self.force(call, address, data)
        return written

    def _write_in_parts(self, call: Call, address: int, data: bytes) -> int:
        done = 0
        while done < len(data):
            part = data[done : done + SIZE]
            written = self.write(call, address + done, part)
            done += written
            if written < len(part):
                break
        return done

    def force(self, call: Call, address: int, data: bytes) -> int:
        """Write `data` whatever the protection says; to private copies of read-only pages."""
        if self._fd >= 0:
            written = _pwrite(self._fd, data, address)
            if written:
                return written
        try:
            return _pwrite(self._open(call), data, address)
        finally:
            self._drop_uncached()

    def _drop_uncached(self) -> None:
        if not self.cached:
            self.forget()


# The offset of a pread is signed: the upper half of the address space, which belongs to the kernel,
# cannot even be asked for, and is as unreadable for the guest.
_LIMIT = 1 << 63


def _pread(fd: int, size: int, address: int) -> bytes:
    if fd < 0 or address >= _LIMIT:
        return b""
    try:
        return os.pread(fd, size, address)
    except OSError:
        return b""


def _pwrite(fd: int, data: bytes, address: int) -> int:
    if fd < 0 or address >= _LIMIT:
        return 0
    try:
        return os.pwrite(fd, data, address)
    except OSError:
        return 0


def _open_memory(call: Call) -> int:
    """The caller's /proc/PID/mem, or -1 if the caller has gone."""
    try:
        fd = os.open(f"{call.tid}/mem", os.O_RDWR | os.O_CLOEXEC)
    except PermissionError:
        # An unprivileged supervisor owns the user namespace, but the file belongs to whoever the
        # process is inside; init, as root there, may open it.
        fd = call.listener.open_inside(call.vpid, "mem")
        if fd < 0:
            if call.valid():
                raise MemoryClosedError from None
            return -1
    except OSError as error:
        out_of_descriptors(error)
        return -1
    # The number might have changed hands between RECV and open; it has not if the call lives.
    if not call.valid():
        os.close(fd)
        return -1
    return fd
