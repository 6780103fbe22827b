"""Whether a store still has what it was given: blobs by their digests, trees by their layers.

A tree is compared with what its layer unpacks to now: both are written as archives, of which only
the digests are kept.
"""

from __future__ import annotations

import os

from nsbuild.errors import NsbuildError
from nsbuild.images.documents import Image, Layer
from nsbuild.images.layertar import write_layer
from nsbuild.images.store import Store
from nsbuild.images.trees import unpack_layer
from nsbuild.kernel.asroot import as_root


def verify(store: Store, image: Image) -> list[str]:
    """What is wrong with an image, a line for each blob and each tree."""
    wrong = store.damage(image)
    if wrong:
        # What is unpacked from it would be compared with damage.
        return wrong
    for layer in image.layers:
        tree = store.tree(layer)
        if os.path.isdir(tree) and not _same(store, layer, tree):
            wrong.append(f"the files in {tree} are not those of layer {layer.digest}")
    return wrong


def _same(store: Store, layer: Layer, tree: str) -> bool:
    with store.place.workshop() as shop:
        again = shop.at("again")
        unpack_layer(store.blob(layer.digest), layer, again)
        return _digest(os.path.join(again, "tree")) == _digest(tree)


def _digest(tree: str) -> str:
    """The digest of a tree as a layer; empty for one that cannot be read or be a layer."""

    def work() -> str:
        try:
            with open(os.devnull, "wb") as nowhere:
                return write_layer(tree, nowhere, upper=True).digest
        except NsbuildError:
            return ""

    return str(as_root(work))
