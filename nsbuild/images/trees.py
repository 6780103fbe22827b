"""A layer unpacked: the directory below layers/, complete or not there at all."""

from __future__ import annotations

import os
from collections.abc import Callable

from nsbuild.errors import NsbuildError, warn
from nsbuild.images.documents import Layer, check_size
from nsbuild.images.streams import LayerStream
from nsbuild.images.unpack import Notes, unpack
from nsbuild.kernel.asroot import as_root


def unpack_layer(
    blob: str, layer: Layer, made: str, progress: Callable[[int], None] | None = None
) -> None:
    """Unpack the file `blob` of `layer` into the new directory `made`, and compare its digests.

    The files are in `tree` in there. Raises NsbuildError; `made` is then to be removed.
    """

    def work() -> list[int]:
        try:
            return list(_unpack(blob, layer, made, progress))
        except OSError as error:
            raise NsbuildError.from_os(f"cannot unpack {_name(layer)}", error) from error

    notes = Notes(*as_root(work))
    if notes.devices:
        warn(f"left out of {_name(layer)}, as only root makes them: {notes.devices} device(s)")
    if notes.attributes:
        warn(f"left out of {_name(layer)}, as not possible here: {notes.attributes} attribute(s)")


def _name(layer: Layer) -> str:
    return f"layer {layer.digest[:19]}"


def _unpack(blob: str, layer: Layer, made: str, progress: Callable[[int], None] | None) -> Notes:
    tree = os.path.join(made, "tree")
    os.mkdir(made, 0o700)
    os.mkdir(tree)
    os.chmod(tree, 0o755)
    what = _name(layer)
    with open(blob, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        check_size(what, size, layer.size)
        with LayerStream(file, size, what, progress) as stream:
            notes = unpack(stream, tree, what)
            digest, diff_id = stream.finish()
    for said, real in ((layer.digest, digest), (layer.diff_id, diff_id)):
        if said != real:
            raise NsbuildError(f"{what} is refused: it should be {said} and is {real}")
    return notes
