"""The store: images by name, id or digest, their layers unpacked, and how both come and go.

Everything that is read is compared with its digest. Everything that is written is made in a
workshop (`place.py`) and published under the exclusive lock: first the blobs and trees, then the
index that makes them count. What no image of the index has is removed by whoever changes something
next.

Whoever only finds an image, as every start of a container does, loads nothing that reads archives:
those modules cost milliseconds, and are imported where they are needed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from nsbuild.errors import NsbuildError, warn
from nsbuild.images import documents, index, reference
from nsbuild.images.documents import OCI_CONFIG, OCI_MANIFEST, Image, Layer
from nsbuild.images.lookup import choose
from nsbuild.images.place import WORKSHOP, Place, Workshop, replace, sync_directory

VARIABLE = "NSBUILD_STORE"
ROOTS = "/var/lib/nsbuild"


class Store:
    """The store in the directory `path`; nothing is made before something is put in."""

    def __init__(self, path: str) -> None:
        self.place = Place(path)
        self._workshop: Workshop | None = None
        self.say: Callable[[str], None] = _silent
        """Told what takes long."""
        self.advance: Callable[[int], None] | None = None
        """Told how many bytes more of it are done."""

    @classmethod
    def default(cls) -> Store:
        """NSBUILD_STORE, else root's or the user's own."""
        chosen = os.environ.get(VARIABLE)
        if not chosen and os.geteuid() == 0:
            chosen = ROOTS
        if not chosen:
            home = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
            chosen = os.path.join(home, "nsbuild")
        return cls(chosen)

    @property
    def path(self) -> str:
        """Where it lies."""
        return self.place.path

    # Reading

    def images(self) -> list[Image]:
        """All of them, the last that came first; warns of those that are damaged."""
        if not self.place.exists():
            return []
        with self.place.locked(exclusive=False):
            return self._images(warn)

    def image(self, name: str) -> Image:
        """The image that `name` means: a name, an id or the start of one, a digest."""
        found = self.find(name)
        if found is None:
            raise NsbuildError(f"{name}: image not known")
        return found

    def find(self, name: str) -> Image | None:
        """The same; None where there is none."""
        if not self.place.exists():
            return None
        with self.place.locked(exclusive=False):
            entries = self._index()
            digests = {full: digest for digest, full in entries if full}
            # Without a look at all the others: every start of a container comes here.
            for full in reference.may_mean(name):
                if full in digests:
                    return self._image(digests[full], index.names(entries, digests[full]))
            return choose(self._images(warn), name)

    def _images(self, damaged: Callable[[str], None]) -> list[Image]:
        """Those that can be read; `damaged` is told of the others."""
        entries = self._index()
        images = []
        for digest in dict.fromkeys(digest for digest, _ in reversed(entries)):
            try:
                images.append(self._image(digest, index.names(entries, digest)))
            except NsbuildError as error:
                damaged(str(error))
        return images

    def _image(self, digest: str, names: tuple[str, ...]) -> Image:
        manifest = documents.decode(self._document(digest), f"manifest {digest}")
        (config, _, _), _ = documents.manifest_parts(manifest, f"manifest {digest}")
        content = documents.decode(self._document(config), f"config {config}")
        return documents.describe_image(manifest, digest, content, names)

    def _index(self) -> index.Entries:
        return index.read(self.place.at("index.json"))

    def blob(self, digest: str) -> str:
        """The path of a blob."""
        hexadecimal = documents.checked_digest(digest, "the store").removeprefix("sha256:")
        return self.place.at("blobs/sha256", hexadecimal)

    def _open(self, digest: str) -> BinaryIO:
        try:
            return open(self.blob(digest), "rb")
        except OSError as error:
            raise NsbuildError.from_os(
                f"cannot read blob {digest} of {self.path}", error
            ) from error

    def _document(self, digest: str) -> bytes:
        with self._open(digest) as file:
            data = file.read(documents.LARGEST + 1)
        if documents.digest_of(data) != digest:
            raise NsbuildError(
                f"blob {digest} of {self.path} is damaged: its bytes have another digest",
                "pull or load the image again, or remove it by `rmi -f` and its name",
            )
        return data

    def manifest(self, image: Image) -> bytes:
        """The manifest as it came."""
        return self._document(image.digest)

    def damage(self, image: Image) -> list[str]:
        """What is wrong with the bytes of an image, a line for each blob."""
        from nsbuild.images.streams import Hashed

        wrong = []
        with self.place.locked(exclusive=False):
            for digest in _blobs(image):
                try:
                    with self._open(digest) as file:
                        real = Hashed(file).finish()
                except NsbuildError as error:
                    wrong.append(str(error))
                    continue
                if real != digest:
                    wrong.append(f"blob {digest} has the digest {real}")
        return wrong

    def unpacked(self, image: Image) -> tuple[str, ...]:
        """The directories of its layers, the lowest first; unpacks those that are missing."""
        if not all(map(os.path.isdir, self.trees(image))):
            with self.place.workshop() as shop:
                made = self._unpack(shop, image.layers, {})
                with self._publishing({}, made):
                    pass
        return tuple(self.trees(image))

    def trees(self, image: Image) -> list[str]:
        """Those directories, made or not."""
        return [self.tree(layer) for layer in image.layers]

    def tree(self, layer: Layer) -> str:
        """The directory of a layer, made or not."""
        return self.place.at("layers", layer.diff_id.removeprefix("sha256:"), "tree")

    # Writing

    def add_layer(self, tree: str, *, upper: bool) -> Layer:
        """A layer of the directory `tree`, for `commit`; until then nobody else sees it.

        With `upper` the tree is an overlayfs upper directory.
        """
        path = self._own_workshop().at(f"layer-{len(os.listdir(self._own_workshop().path))}")

        from nsbuild.images.layertar import write_layer
        from nsbuild.kernel.asroot import as_root

        def work() -> list[Any]:
            with open(path, "xb") as file:
                size, digest = write_layer(tree, file, upper, self.advance)
            return [size, digest]

        size, digest = as_root(work)
        os.rename(path, self._own_workshop().at(digest))
        return Layer(f"sha256:{digest}", f"sha256:{digest}", size)

    def add_archive(self, path: str) -> Layer:
        """A layer of the archive in the file `path`, packed or not; as `add_layer`."""
        from nsbuild.images.streams import CHUNK, LayerStream

        made = self._own_workshop().at("archive")
        try:
            with open(path, "rb") as file, open(made, "wb") as out:
                size = os.fstat(file.fileno()).st_size
                with LayerStream(file, size, os.path.basename(path)) as stream:
                    while data := stream.read(CHUNK):
                        out.write(data)
                    size, digest = stream.tell(), stream.digest()
        except OSError as error:
            raise NsbuildError.from_os(f"cannot import {path}", error) from error
        os.rename(made, self._own_workshop().at(digest.removeprefix("sha256:")))
        return Layer(digest, digest, size)

    def _own_workshop(self) -> Workshop:
        if self._workshop is None:
            self._workshop = Workshop(self.place)
        return self._workshop

    def close(self) -> None:
        """Give up the layers that were added and not committed."""
        if self._workshop is not None:
            self._workshop.close()
            self._workshop = None

    def commit(
        self,
        layers: Sequence[Layer],
        config: dict[str, Any],
        names: tuple[str, ...],
        *,
        unpack: bool = False,
    ) -> Image:
        """An image of `layers`, the lowest first, under the full `names`; the same for the same.

        What `config` says of its rootfs is replaced by what the layers are. With `unpack` layers
        that were added are unpacked first, and may be refused.
        """
        rootfs = {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]}
        config_text = documents.canonical({**config, "rootfs": rootfs})
        config_digest = documents.digest_of(config_text)
        manifest: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": documents.make_descriptor(OCI_CONFIG, config_digest, len(config_text)),
            "layers": [
                documents.make_descriptor(one.media_type, one.digest, one.size) for one in layers
            ],
        }
        text = documents.canonical(manifest)
        digest = documents.digest_of(text)
        image = documents.describe_image(
            manifest, digest, documents.decode(config_text, "config"), names
        )
        with self.place.workshop() as shop:
            made = self._added(layers)
            trees = self._unpack(shop, layers, made) if unpack else {}
            for name, data in ((config_digest, config_text), (digest, text)):
                made[name] = shop.at(name)
                with open(made[name], "xb") as file:
                    file.write(data)
            with self._publishing(made, trees):
                return self._enter(image)

    def _added(self, layers: Iterable[Layer]) -> dict[str, str]:
        """Digest to path of those that have been added and not committed yet."""
        if self._workshop is None:
            return {}
        paths = {
            one.digest: self._workshop.at(one.digest.removeprefix("sha256:")) for one in layers
        }
        return {digest: path for digest, path in paths.items() if os.path.exists(path)}

    def _unpack(
        self, shop: Workshop, layers: Iterable[Layer], blobs: dict[str, str]
    ) -> dict[str, str]:
        """Unpack those of `layers` that are not yet, from `blobs`; digest of the archive to path.

        Those that need not be are compared with their digests.
        """
        from nsbuild.images.trees import unpack_layer

        trees: dict[str, str] = {}
        for layer in layers:
            if os.path.isdir(self.tree(layer)) or layer.diff_id in trees:
                if layer.digest in blobs:
                    _check(blobs[layer.digest], layer.digest)
            else:
                made = shop.at(f"tree-{layer.diff_id.removeprefix('sha256:')}")
                self.say(f"Unpacking layer {layer.digest}")
                source = blobs.get(layer.digest) or self.blob(layer.digest)
                unpack_layer(source, layer, made, self.advance)
                trees[layer.diff_id] = made
        return trees

    def add(self, image: Image, blobs: dict[str, str], shop: Workshop) -> Image:
        """Take an image in whose blobs are `blobs` (digest to path, in `shop`); unpacks it first.

        Its digests are compared here. Raises NsbuildError; the store is then as it was.
        """
        trees = self._unpack(shop, image.layers, blobs)
        with self._publishing(blobs, trees):
            return self._enter(image)

    def tag(self, image: Image, names: Iterable[str]) -> None:
        """Give an image more full names; they are taken from whatever had them."""
        wanted = tuple(names)
        self._change(lambda entries: index.with_names(entries, image.digest, wanted), image)

    def untag(self, image: Image, names: Iterable[str]) -> None:
        """Take names from an image, which stays."""
        gone = frozenset(names)
        self._change(lambda entries: index.without_names(entries, image.digest, gone), image)

    def remove(self, image: Image, *, as_named: bool = False) -> bool:
        """Remove an image and what only it needs; raises NsbuildError while it is pinned.

        With `as_named` only if its names are those of `image` still; False if not.
        """
        removed = True

        def change(entries: index.Entries) -> index.Entries:
            nonlocal removed
            removed = not as_named or index.names(entries, image.digest) == image.names
            return index.without(entries, image.digest) if removed else entries

        self._change(change, image, leaving=True)
        return removed

    def forget(self, name: str) -> bool:
        """Remove an image that is too damaged to be read, by a full name or its manifest's digest.

        Whether there was one.
        """
        if not self.place.exists():
            return False
        wanted = {name, *reference.may_mean(name)}
        with self.place.locked(exclusive=True):
            entries = self._index()
            gone = {one for one, full in entries if full in wanted or one in wanted}
            if gone:
                self._write_index([one for one in entries if one[0] not in gone])
                self._drop_unused()
        self.place.sweep()
        return bool(gone)

    def _change(
        self,
        change: Callable[[index.Entries], index.Entries],
        image: Image,
        leaving: bool = False,
    ) -> None:
        self.place.make()
        with self.place.locked(exclusive=True):
            entries = self._index()
            if all(digest != image.digest for digest, _ in entries):
                raise NsbuildError(f"{image.id[:12]}: image not known")
            if leaving and (users := self._users(image)):
                raise in_use(image, users)
            self._write_index(change(entries))
            self._drop_unused()
        self.place.sweep()

    @contextlib.contextmanager
    def _publishing(self, blobs: dict[str, str], trees: dict[str, str]) -> Iterator[None]:
        """Move what was made to its place; in the block, the index can be changed to need it."""
        self.place.sync()
        with self.place.locked(exclusive=True):
            for digest, path in blobs.items():
                if os.path.exists(path) and not self._is_there(digest, path):
                    os.rename(path, self.blob(digest))
            for diff_id, path in trees.items():
                there = self.place.at("layers", diff_id.removeprefix("sha256:"))
                if not os.path.exists(there):
                    os.rename(path, there)
            for name in ("blobs/sha256", "layers"):
                sync_directory(self.place.at(name))
            yield
            self._drop_unused()
        self.place.sweep()

    def _is_there(self, digest: str, path: str) -> bool:
        """Whether the store has the blob; a small one that is damaged does not count."""
        try:
            size = os.stat(self.blob(digest)).st_size
        except FileNotFoundError:
            return False
        if size != os.stat(path).st_size:
            return False
        with open(self.blob(digest), "rb") as file:
            return size > documents.LARGEST or documents.digest_of(file.read()) == digest

    def _enter(self, image: Image) -> Image:
        """Have `image` in the index; as it is then.

        One that is there with the same config keeps its manifest, and gets the names.
        """
        gone = [digest for digest in _blobs(image) if not os.path.exists(self.blob(digest))]
        if gone:
            raise NsbuildError(
                f"cannot keep image {image.id[:12]}: blob {gone[0]} is not in {self.path}",
                "the image that had it was removed meanwhile",
            )
        same = [one.digest for one in self._images(_silent) if one.id == image.id]
        digest = same[0] if same and image.digest not in same else image.digest
        entries = index.with_names(self._index(), digest, image.names)
        self._write_index(entries)
        return self._image(digest, index.names(entries, digest))

    def _write_index(self, entries: index.Entries) -> None:
        path = self.place.at("index.json")
        described = index.descriptors(path)
        for digest in {digest for digest, _ in entries} - described.keys():
            text = self._document(digest)
            kind = documents.decode(text, digest).get("mediaType") or OCI_MANIFEST
            described[digest] = documents.make_descriptor(kind, digest, len(text))
        replace(path, index.encode(entries, described), self.place.at("tmp"))

    def _drop_unused(self) -> None:
        """Take out blobs and trees that no image has; the caller holds the exclusive lock."""
        damaged: list[str] = []
        images = self._images(damaged.append)
        if damaged:
            # Nobody can say what those need.
            return
        blobs = {digest.removeprefix("sha256:") for image in images for digest in _blobs(image)}
        trees = {one.removeprefix("sha256:") for image in images for one in image.diff_ids}
        for name, used in (("blobs/sha256", blobs), ("layers", trees)):
            for left in set(os.listdir(self.place.at(name))) - used:
                self.place.discard(self.place.at(name, left))

    # Who needs an image

    def pin(self, image: Image, user: str) -> None:
        """Keep `image` while `user` (a container's id) needs it, until `unpin`."""
        self.place.make()
        with self.place.locked(exclusive=True):
            if all(digest != image.digest for digest, _ in self._index()):
                raise NsbuildError(f"{image.id[:12]}: image not known")
            replace(self.place.at("pins", user), image.id.encode(), self.place.at("tmp"))

    def unpin(self, user: str) -> None:
        """End that."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.place.at("pins", user))

    def users(self, image: Image) -> list[str]:
        """Who has it pinned."""
        return self._users(image) if self.place.exists() else []

    def _users(self, image: Image) -> list[str]:
        found = []
        for user in sorted(os.listdir(self.place.at("pins"))):
            workshop = user.partition(".")[0]
            if workshop.startswith(WORKSHOP) and not self.place.works(workshop):
                # Of a build that was killed.
                self.unpin(user)
                continue
            with contextlib.suppress(FileNotFoundError), open(self.place.at("pins", user)) as file:
                if file.read() == image.id:
                    found.append(user)
        return found


def _silent(line: str) -> None:
    del line


def _check(path: str, digest: str) -> None:
    """Compare the file `path` with its digest."""
    from nsbuild.images.streams import Hashed

    with open(path, "rb") as file:
        real = Hashed(file).finish()
    if real != digest:
        raise NsbuildError(f"blob {digest} is refused: its bytes have the digest {real}")


def in_use(image: Image, users: list[str]) -> NsbuildError:
    """The error for an image that `users` need."""
    return NsbuildError(
        f"image used by {users[0]}: image is in use by a container: consider listing external "
        "containers and force-removing image"
    )


def _blobs(image: Image) -> Iterator[str]:
    yield image.digest
    yield f"sha256:{image.id}"
    yield from (layer.digest for layer in image.layers)
