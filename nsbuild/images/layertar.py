"""From a directory to the archive of a layer: the same files give the same bytes everywhere.

Entries come in the order of their paths, and say owner, mode, time, attributes and contents,
nothing else. An overlayfs upper directory becomes what OCI calls a changeset: a character device
0:0 becomes an empty `.wh.NAME`, and an opaque directory has `.wh..wh..opq` in it.

Archives are not compressed. What a compressor makes depends on its version, and an image's digest
on every byte.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from typing import BinaryIO

from nsbuild.errors import NsbuildError
from nsbuild.images import tarheader
from nsbuild.images.streams import CHUNK
from nsbuild.images.unpack import OPAQUE, OVERLAY_ATTRIBUTES, WHITEOUT
from nsbuild.tuples import NamedTuple

_KINDS = {
    stat.S_IFREG: tarheader.FILE,
    stat.S_IFDIR: tarheader.DIRECTORY,
    stat.S_IFLNK: tarheader.SYMLINK,
    stat.S_IFCHR: tarheader.CHARACTER,
    stat.S_IFBLK: tarheader.BLOCK_DEVICE,
    stat.S_IFIFO: tarheader.FIFO,
}
"""Sockets are not in it: whoever listens on one is not there when it is unpacked."""
_OPAQUE_ATTRIBUTES = tuple(f"{start}opaque" for start in OVERLAY_ATTRIBUTES)
_ELSEWHERE = tuple(
    f"{start}{name}" for start in OVERLAY_ATTRIBUTES for name in ("redirect", "metacopy")
)


class Written(NamedTuple):
    """The archive's size in bytes and its SHA-256 in hexadecimal."""

    size: int
    digest: str


def write_layer(
    tree: str, out: BinaryIO, upper: bool, advance: Callable[[int], None] | None = None
) -> Written:
    """Write the directory `tree` to `out`; as an overlayfs upper directory with `upper`.

    `advance` is told how many bytes more have been written. The caller can read everything in it.
    Raises NsbuildError.
    """
    writing = _Writing(out, upper, advance)
    try:
        top = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            writing.directory(top, b"", os.fstat(top))
        finally:
            os.close(top)
    except OSError as error:
        raise NsbuildError.from_os(f"cannot make a layer of {tree}", error) from error
    return writing.finish()


class _Writing:
    """A layer in the making."""

    def __init__(self, out: BinaryIO, upper: bool, advance: Callable[[int], None] | None) -> None:
        self._out = out
        self._advance = advance
        self._upper = upper
        self._hash = hashlib.sha256()
        self._size = 0
        self._links: dict[tuple[int, int], bytes] = {}

    def _put(self, data: bytes) -> None:
        self._out.write(data)
        self._hash.update(data)
        self._size += len(data)
        if self._advance is not None:
            self._advance(len(data))

    def finish(self) -> Written:
        """The end of the archive."""
        self._put(tarheader.END)
        return Written(self._size, self._hash.hexdigest())

    def directory(self, fd: int, path: bytes, status: os.stat_result) -> None:
        """The directory `fd`, whose path ends with a slash unless it is the top, and all in it."""
        found = _attributes(fd)
        entry = _entry(path or b"./", tarheader.DIRECTORY, status, self._kept(found))
        self._put(tarheader.header(entry))
        if self._upper and any(found.get(name.encode()) == b"y" for name in _OPAQUE_ATTRIBUTES):
            self._whiteout(path + OPAQUE.encode())
        for name in sorted(map(os.fsencode, os.listdir(fd))):
            self._member(fd, name, path)

    def _member(self, there: int, name: bytes, directory: bytes) -> None:
        status = os.lstat(name, dir_fd=there)
        path = directory + name
        kind = stat.S_IFMT(status.st_mode)
        if self._upper and kind == stat.S_IFCHR and status.st_rdev == 0:
            return self._whiteout(directory + WHITEOUT.encode() + name)
        if name.startswith(WHITEOUT.encode()):
            raise NsbuildError(
                f"cannot make a layer: {os.fsdecode(path)!r} has a name that means something there",
                "names in an image cannot begin with .wh.",
            )
        if kind == stat.S_IFDIR:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(name, flags, dir_fd=there)
            try:
                return self.directory(fd, path + b"/", status)
            finally:
                os.close(fd)
        if kind not in _KINDS or self._linked(path, status):
            return None
        if kind == stat.S_IFREG:
            return self._file(there, name, path)
        target = os.readlink(name, dir_fd=there) if kind == stat.S_IFLNK else b""
        return self._put(
            tarheader.header(_entry(path, _KINDS[kind], status)._replace(target=target))
        )

    def _linked(self, path: bytes, status: os.stat_result) -> bool:
        """Whether it is another name of what has been written; the entry that says so."""
        if status.st_nlink < 2:
            return False
        first = self._links.setdefault((status.st_dev, status.st_ino), path)
        if first == path:
            return False
        entry = _entry(path, tarheader.LINK, status)
        self._put(tarheader.header(entry._replace(target=first)))
        return True

    def _file(self, there: int, name: bytes, path: bytes) -> None:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with open(os.open(name, flags, dir_fd=there), "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            entry = _entry(path, tarheader.FILE, status, self._kept(_attributes(file.fileno())))
            self._put(tarheader.header(entry._replace(size=status.st_size)))
            left = status.st_size
            while left:
                data = file.read(min(left, CHUNK))
                if not data:
                    raise NsbuildError(f"cannot make a layer: {os.fsdecode(path)!r} became shorter")
                self._put(data)
                left -= len(data)
        self._put(tarheader.padding(status.st_size))

    def _whiteout(self, path: bytes) -> None:
        # Without a time: the kernel stamps a whiteout with the real clock.
        self._put(tarheader.header(tarheader.Entry(path, tarheader.FILE, 0)))

    def _kept(self, found: dict[bytes, bytes]) -> tuple[tuple[bytes, bytes], ...]:
        """The attributes that go into the archive: all but those of overlayfs."""
        ours = tuple(start.encode() for start in OVERLAY_ATTRIBUTES)
        if self._upper and any(name.encode() in found for name in _ELSEWHERE):
            raise NsbuildError(
                "cannot make a layer of an overlay that was mounted with redirect_dir or metacopy"
            )
        return tuple((key, value) for key, value in found.items() if not key.startswith(ours))


def _attributes(fd: int) -> dict[bytes, bytes]:
    try:
        names = os.listxattr(fd)
    except OSError:
        # ENOTSUP: a file system that knows none.
        return {}
    return {
        os.fsencode(name): os.getxattr(fd, name) for name in names if name != "security.selinux"
    }


def _entry(
    path: bytes,
    kind: bytes,
    status: os.stat_result,
    xattrs: tuple[tuple[bytes, bytes], ...] = (),
) -> tarheader.Entry:
    device = status.st_rdev if kind in (tarheader.CHARACTER, tarheader.BLOCK_DEVICE) else 0
    return tarheader.Entry(
        path,
        kind,
        stat.S_IMODE(status.st_mode),
        status.st_uid,
        status.st_gid,
        time=status.st_mtime_ns,
        major=os.major(device),
        minor=os.minor(device),
        xattrs=xattrs,
    )
