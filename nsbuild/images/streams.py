"""Layers as streams: decompressed, counted and hashed while they are read, and only forward.

A layer comes from somebody else. Its two digests (of the file as it is, and of the archive in it)
are known beforehand and are compared at its end, so nothing of it counts before that. Until then a
*budget* keeps a small file from filling the disk: what comes out may be 256 MiB and in addition 200
times what goes in. gzip packs zeros 1030 to 1, real files 3 or 4 to 1.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import BinaryIO, cast

from nsbuild.errors import NsbuildError

FREE, RATIO = 256 << 20, 200
CHUNK = 1 << 20
_LONGEST_READ = 4 << 20
"""More than any header's data: an archive that claims more is not read into memory."""
_DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""What the libraries raise for data that is not theirs."""


class Hashed(io.RawIOBase):
    """A file that is hashed while it is read, `size` bytes at most."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def readable(self) -> bool:
        """See io.RawIOBase."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """See io.RawIOBase."""
        data = self._file.read(len(buffer))
        self._hash.update(data)
        buffer[: len(data)] = data
        return len(data)

    def finish(self) -> str:
        """Read what is left; the digest of the whole file."""
        while data := self._file.read(CHUNK):
            self._hash.update(data)
        return f"sha256:{self._hash.hexdigest()}"


class LayerStream:
    """The archive in the layer `file` of `size` bytes; a tarfile.TarFile can read it.

    `what` names it in errors. `progress` is told how many bytes have come out.
    """

    def __init__(
        self, file: BinaryIO, size: int, what: str, progress: Callable[[int], None] | None = None
    ) -> None:
        self._raw = Hashed(file)
        self._what = what
        self._progress = progress
        self._hash = hashlib.sha256()
        self._budget = FREE + RATIO * size
        self._place = 0
        self._spent = 0
        self._ends = 0
        self._last = b""
        source: io.BufferedReader = io.BufferedReader(self._raw, CHUNK)
        self._source, self._errors = _decompressed(source, what)

    def __enter__(self) -> LayerStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._source.close()

    def tell(self) -> int:
        """How far it has been read."""
        return self._place

    def seek(self, place: int) -> int:
        """Go forward."""
        if place < self._place:
            raise NsbuildError(f"{self._what}: the archive leads back to what has been read")
        while self._place < place and self.read(min(CHUNK, place - self._place)):
            pass
        return self._place

    def read(self, size: int) -> bytes:
        """The next bytes, fewer only at the end."""
        if size > _LONGEST_READ:
            raise NsbuildError(f"{self._what}: a header of {size} bytes is not read")
        try:
            data = self._source.read(size)
        except self._errors as error:
            raise NsbuildError(f"{self._what} is damaged: {error}") from error
        self._hash.update(data)
        self._place += len(data)
        self.spend(len(data))
        if size and not data:
            # tarfile asks for ever where the table of a sparse file does not end.
            self._ends += 1
            if self._ends > 8:
                raise NsbuildError(f"{self._what} is damaged: unexpected end of data")
        self._last = data
        if self._progress is not None:
            self._progress(len(data))
        return data

    def spend(self, size: int) -> None:
        """Count `size` bytes more against the budget; raises NsbuildError when it is used up."""
        self._spent += size
        if self._spent > self._budget:
            raise NsbuildError(
                f"{self._what} is refused: it unpacks to more than {self._budget} bytes",
                f"a layer may grow to {FREE >> 20} MiB and {RATIO} times its size",
            )

    def digest(self) -> str:
        """The digest of what has been read."""
        return f"sha256:{self._hash.hexdigest()}"

    def finish(self) -> tuple[str, str]:
        """Read the rest, which must be empty; the digests of the file and of the archive."""
        # tarfile takes a header that it does not understand for the end, and other programs may
        # not: nobody shall find files in there that we have not seen.
        while not self._last.strip(b"\0") and self.read(CHUNK):
            pass
        if self._last:
            raise NsbuildError(f"{self._what} is damaged: not an archive to its end")
        return self._raw.finish(), self.digest()


_BAD_HEADER = (tarfile.TarError, ValueError, LookupError, OverflowError)
"""What tarfile raises for headers that are none; not all of it is its own."""


def members(stream: LayerStream, what: str) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """The members of the archive, each with the archive to read it from before the next."""
    try:
        archive = tarfile.TarFile(fileobj=stream, encoding="utf-8")  # type: ignore[arg-type]
        member = archive.next()
    except _BAD_HEADER as error:
        raise NsbuildError(f"{what} is damaged: {error}") from error
    while member is not None:
        yield archive, member
        # It would remember them all.
        archive.members = []  # type: ignore[attr-defined]
        try:
            member = archive.next()
        except _BAD_HEADER as error:
            raise NsbuildError(f"{what} is damaged: {error}") from error


_Opened = tuple[BinaryIO, tuple[type[Exception], ...]]
"""A stream, and what it raises for damaged data."""


def _decompressed(source: io.BufferedReader, what: str) -> _Opened:
    """What is in `source`, whatever it is packed by."""
    start = source.peek(6)[:6]
    stream: object = source
    if start.startswith(b"\x1f\x8b"):
        stream = gzip.GzipFile(fileobj=source, mode="rb")
    elif start.startswith(b"\x28\xb5\x2f\xfd"):
        return _zstd(source, what)
    elif start.startswith(b"BZh"):
        stream = bz2.BZ2File(source)
    elif start.startswith(b"\xfd7zXZ\0"):
        stream = lzma.LZMAFile(source)  # noqa: SIM115 - closed by who asked
    return cast(BinaryIO, stream), _DAMAGED


def _zstd(source: io.BufferedReader, what: str) -> _Opened:
    try:
        import zstandard
    except ImportError:
        raise NsbuildError(
            f"cannot read {what}: it is packed by zstd",
            "install Python's zstandard: pip install 'nsbuild[images]'",
        ) from None
    # 128 MiB is what zstd(1) itself unpacks without being asked to.
    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    reader = decompressor.stream_reader(source, read_size=CHUNK, read_across_frames=True)
    stream = io.BufferedReader(cast(io.RawIOBase, reader), CHUNK)
    return cast(BinaryIO, stream), (*_DAMAGED, zstandard.ZstdError)
