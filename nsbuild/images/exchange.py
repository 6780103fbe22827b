"""Images on their way between the store and a directory as skopeo's `dir:` has it.

In such a directory are manifest.json, version, and each blob under the hexadecimal digits of its
digest.
"""

from __future__ import annotations

import os

from nsbuild.errors import NsbuildError
from nsbuild.images import documents
from nsbuild.images.documents import Image
from nsbuild.images.place import Workshop
from nsbuild.images.store import Store

_VERSION = "Directory Transport Version: 1.1\n"


def lay_out(store: Store, image: Image, shop: Workshop, name: str) -> None:
    """Make the directory `name` in `shop` of an image.

    Blobs are linked, so that nobody can take them away meanwhile.
    """
    there = shop.at(name)
    os.mkdir(there)
    with store.place.locked(exclusive=False):
        manifest = store.manifest(image)
        for digest in {f"sha256:{image.id}", *(layer.digest for layer in image.layers)}:
            try:
                os.link(store.blob(digest), os.path.join(there, digest.removeprefix("sha256:")))
            except FileNotFoundError:
                raise NsbuildError(f"{image.id[:12]}: image not known") from None
    for file, data in (("manifest.json", manifest), ("version", _VERSION.encode())):
        with open(os.path.join(there, file), "xb") as out:
            out.write(data)


def take_in(store: Store, shop: Workshop, name: str, names: tuple[str, ...]) -> Image:
    """Put the image of the directory `name` in `shop` into the store, under the full `names`."""
    there = shop.at(name)
    manifest = _document(os.path.join(there, "manifest.json"))
    digest = documents.digest_of(manifest)
    content = documents.decode(manifest, "the manifest")
    described = documents.manifest_parts(content, "the manifest")
    config = described[0][0]
    blobs = {}
    for one, size, _ in (described[0], *described[1]):
        blobs[one] = os.path.join(there, one.removeprefix("sha256:"))
        _check_size(blobs[one], one, size)
    config_text = _document(blobs[config])
    if documents.digest_of(config_text) != config:
        raise NsbuildError(f"config {config} is refused: its bytes have another digest")
    image = documents.describe_image(
        content, digest, documents.decode(config_text, "the config"), names
    )
    blobs[digest] = os.path.join(there, "manifest.json")
    return store.add(image, blobs, shop)


def _check_size(path: str, digest: str, size: int) -> None:
    """Also of what the store has already, since the manifest that promises it is kept."""
    try:
        found = os.stat(path).st_size
    except FileNotFoundError:
        # Whoever reads it says so.
        return
    documents.check_size(digest, found, size)


def _document(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(documents.LARGEST + 1)
    except OSError as error:
        raise NsbuildError.from_os(f"cannot read {os.path.basename(path)}", error) from error
    if len(data) > documents.LARGEST:
        raise NsbuildError(f"{os.path.basename(path)} is refused: it is too large")
    return data
