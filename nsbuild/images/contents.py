"""What files are in an image, read from its layers without unpacking them.

Layers are read from the lowest up. A whiteout takes away what the layers below have, before
anything that its own layer brings; what replaces a directory by something else takes away all that
was in it.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Callable
from typing import BinaryIO

from nsbuild.errors import NsbuildError
from nsbuild.images.documents import Image, Layer
from nsbuild.images.store import Store
from nsbuild.images.streams import CHUNK, LayerStream, members
from nsbuild.images.unpack import OPAQUE, WHITEOUT, inner_path, nanoseconds, xattrs_of
from nsbuild.tuples import NamedTuple

_KINDS = {
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "link",
    tarfile.CHRTYPE: "character device",
    tarfile.BLKTYPE: "block device",
    tarfile.FIFOTYPE: "fifo",
}


class File(NamedTuple):
    """One file: `time` in nanoseconds, `target` of a link or numbers of a device, sums in hex."""

    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    time: int
    target: str
    sha256: str
    sha1: str
    xattrs: tuple[tuple[str, bytes], ...]


class Contents(NamedTuple):
    """Files by their paths without a slash in front, and the bytes of those that were wanted."""

    files: dict[str, File]
    texts: dict[str, bytes]


def read(
    store: Store, image: Image, wanted: Callable[[str], bool] = lambda path: False
) -> Contents:
    """The contents of an image; `wanted` says of a path whether its bytes are to be kept."""
    contents = Contents({}, {})
    for layer in image.layers:
        try:
            with open(store.blob(layer.digest), "rb") as file:
                _add(contents, _layer(file, layer, wanted))
        except OSError as error:
            raise NsbuildError.from_os(f"cannot read layer {layer.digest}", error) from error
    return contents


class _Layer(NamedTuple):
    """What one layer brings, and what it takes away: paths, and directories' former contents."""

    brings: Contents
    gone: set[str]
    emptied: set[str]


def _layer(file: BinaryIO, layer: Layer, wanted: Callable[[str], bool]) -> _Layer:
    what = f"layer {layer.digest[:19]}"
    found = _Layer(Contents({}, {}), set(), set())
    with LayerStream(file, layer.size, what) as stream:
        for archive, member in members(stream, what):
            path = inner_path(member.name, what)
            parent, name = os.path.split(path)
            if name == OPAQUE:
                found.emptied.add(parent)
            elif name.startswith(WHITEOUT):
                found.gone.add(os.path.join(parent, name.removeprefix(WHITEOUT)))
            elif member.islnk():
                _same(found.brings, path, inner_path(member.linkname, what), what)
            else:
                _take(found.brings, archive, member, path, wanted)
        real = stream.finish()
    if real != (layer.digest, layer.diff_id):
        raise NsbuildError(f"{what} is damaged: its bytes have other digests")
    return found


def _same(brings: Contents, path: str, target: str, what: str) -> None:
    """A hard link."""
    if target not in brings.files:
        raise NsbuildError(f"{what} is refused: {path!r} is a hard link to what it does not have")
    brings.files[path] = brings.files[target]
    if target in brings.texts:
        brings.texts[path] = brings.texts[target]


def _take(
    brings: Contents,
    archive: tarfile.TarFile,
    member: tarfile.TarInfo,
    path: str,
    wanted: Callable[[str], bool],
) -> None:
    sums = "", ""
    if member.isreg():
        data, sums = _sums(archive, member, wanted(path))
        if wanted(path):
            brings.texts[path] = data
    target = member.linkname if member.issym() else ""
    if member.isdev() and not member.isfifo():
        target = f"{member.devmajor}:{member.devminor}"
    brings.files[path] = File(
        _KINDS.get(member.type, "file"),
        member.mode & 0o7777,
        member.uid,
        member.gid,
        member.size if member.isreg() else 0,
        nanoseconds(member),
        target,
        *sums,
        tuple(sorted(xattrs_of(member))),
    )


def _sums(
    archive: tarfile.TarFile, member: tarfile.TarInfo, keep: bool
) -> tuple[bytes, tuple[str, str]]:
    """The bytes of a file if they are to be kept, and its SHA-256 and SHA-1.

    The latter is what SPDX wants, and says nothing about safety.
    """
    strong, weak = hashlib.sha256(), hashlib.sha1(usedforsecurity=False)
    kept = b""
    source = archive.extractfile(member)
    assert source is not None
    while data := source.read(CHUNK):
        strong.update(data)
        weak.update(data)
        if keep:
            kept += data
    return kept, (strong.hexdigest(), weak.hexdigest())


def _add(contents: Contents, found: _Layer) -> None:
    """Put a layer on what is there."""
    replaced = {
        path
        for path, file in found.brings.files.items()
        if file.kind != "directory"
        and path in contents.files
        and contents.files[path].kind == "directory"
    }
    for path in list(contents.files):
        if _lies_in(path, found.gone | replaced, itself=True) or _lies_in(
            path, found.emptied, itself=False
        ):
            del contents.files[path]
            contents.texts.pop(path, None)
    for path in found.brings.files:
        contents.texts.pop(path, None)
    contents.files.update(found.brings.files)
    contents.texts.update(found.brings.texts)


def _lies_in(path: str, directories: set[str], itself: bool) -> bool:
    if not directories:
        return False
    if itself and path in directories:
        return True
    while path:
        path = os.path.dirname(path)
        if path in directories:
            return True
    return False
