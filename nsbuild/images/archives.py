"""Archives of images: what is in one, and how one is written, the same bytes for the same images.

An archive of OCI is a tar of an image layout. One of Docker has a manifest.json that lists configs,
names and layers, which are not compressed (https://github.com/moby/docker-image-spec, v1.2). An
archive can hold several images. Members are sorted, and have neither times nor owners.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any, BinaryIO, Protocol

from nsbuild.errors import NsbuildError
from nsbuild.images import documents, tarheader
from nsbuild.images.documents import Image, Layer
from nsbuild.images.place import LAYOUT
from nsbuild.images.store import Store
from nsbuild.images.streams import CHUNK, Hashed, LayerStream, members
from nsbuild.tuples import NamedTuple

_HEADS = ("manifest.json", "index.json", "oci-layout")
_CONTAINERD_NAME = "io.containerd.image.name"
_TO_OCI = {
    documents.DOCKER_MANIFEST: documents.OCI_MANIFEST,
    "application/vnd.docker.container.image.v1+json": documents.OCI_CONFIG,
    "application/vnd.docker.image.rootfs.diff.tar": documents.OCI_LAYER,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": f"{documents.OCI_LAYER}+gzip",
}


class Member(NamedTuple):
    """An image in an archive: what skopeo selects it by, and its names as they stand there."""

    selector: str
    names: tuple[str, ...]


class Archive(NamedTuple):
    """Transport of skopeo, and the images."""

    transport: str
    members: tuple[Member, ...]


def look_into(path: str) -> Archive:
    """What the file or directory `path` is; raises NsbuildError where it is no image."""
    if os.path.isdir(path):
        if os.path.exists(os.path.join(path, "oci-layout")):
            return Archive("oci", _oci_members(_read(os.path.join(path, "index.json"))))
        if os.path.exists(os.path.join(path, "manifest.json")):
            return Archive("dir", (Member("", ()),))
        raise _unknown(path)
    heads = _heads(path)
    if "manifest.json" in heads:
        return Archive("docker-archive", _docker_members(heads["manifest.json"]))
    if "oci-layout" in heads and "index.json" in heads:
        return Archive("oci-archive", _oci_members(heads["index.json"]))
    raise _unknown(path)


def _unknown(path: str) -> NsbuildError:
    return NsbuildError(f"{path} is no image: neither an archive of Docker or OCI nor a directory")


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(documents.LARGEST)


def _heads(path: str) -> dict[str, bytes]:
    """The documents at an archive's top."""
    found = {}
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        with LayerStream(file, size, os.path.basename(path)) as stream:
            try:
                for archive, member in members(stream, path):
                    name = member.name.removeprefix("./")
                    if name in _HEADS and member.isreg() and member.size <= documents.LARGEST:
                        source = archive.extractfile(member)
                        assert source is not None
                        found[name] = source.read(documents.LARGEST)
            except NsbuildError as error:
                raise _unknown(path) from error
    return found


def _docker_members(text: bytes) -> tuple[Member, ...]:
    try:
        listed = json.loads(text)
        return tuple(
            Member(f"@{place}", tuple(map(str, one.get("RepoTags") or ())))
            for place, one in enumerate(listed)
        )
    except (ValueError, AttributeError, TypeError) as error:
        raise NsbuildError(f"manifest.json is not that of an archive of Docker: {error}") from None


def _oci_members(text: bytes) -> tuple[Member, ...]:
    manifests = documents.decode(text, "index.json").get("manifests")
    if not isinstance(manifests, list) or not manifests:
        raise NsbuildError("index.json lists no images")
    by_digest: dict[str, Member] = {}
    for one in manifests:
        digest, _, _ = documents.descriptor(one, "index.json")
        notes = one.get("annotations") or {}
        selector = str(notes.get(documents.REF_NAME, ""))
        name = str(notes.get(_CONTAINERD_NAME, selector))
        member = by_digest.setdefault(digest, Member(selector, ()))
        by_digest[digest] = member._replace(names=(*member.names, *filter(None, (name,))))
    return tuple(by_digest.values())


class Source(Protocol):
    """What can be read."""

    def read(self, size: int, /) -> bytes | None:
        """Up to `size` bytes, none at the end."""


def _check(found: str, digest: str) -> None:
    if found != digest:
        raise NsbuildError(
            f"cannot save {digest}: what the store has of it is damaged",
            "`nsbuild image verify` tells what else is",
        )


class _Tar:
    """An archive in the making."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def directory(self, name: str) -> None:
        self._out.write(
            tarheader.header(tarheader.Entry(name.encode(), tarheader.DIRECTORY, 0o755))
        )

    def data(self, name: str, data: bytes) -> None:
        self._head(name, len(data))
        self._out.write(data + tarheader.padding(len(data)))

    def blob(self, name: str, path: str, digest: str) -> None:
        """The file `path`, which must have that digest."""
        with open(path, "rb") as file:
            hashed = Hashed(file)
            self.file(name, hashed, os.fstat(file.fileno()).st_size)
            _check(hashed.finish(), digest)

    def file(self, name: str, source: Source, size: int) -> None:
        self._head(name, size)
        left = size
        while left and (data := source.read(min(left, CHUNK))):
            self._out.write(data)
            left -= len(data)
        if left:
            raise NsbuildError(f"cannot save {name}: it became shorter")
        self._out.write(tarheader.padding(size))

    def _head(self, name: str, size: int) -> None:
        entry = tarheader.Entry(name.encode(), tarheader.FILE, 0o644, size=size)
        self._out.write(tarheader.header(entry))

    def end(self) -> None:
        self._out.write(tarheader.END)


Named = Sequence[tuple[Image, tuple[str, ...]]]
"""Images, and the names that each is saved under."""


def save_docker(store: Store, images: Named, out: BinaryIO) -> None:
    """An archive of Docker."""
    tar = _Tar(out)
    files: dict[str, tuple[str, Layer | None]] = {}
    listed = []
    for image, names in images:
        layers = []
        for layer in image.layers:
            name = f"{layer.diff_id.removeprefix('sha256:')}.tar"
            files.setdefault(name, (store.blob(layer.digest), layer))
            layers.append(name)
        config = f"{image.id}.json"
        files[config] = store.blob(f"sha256:{image.id}"), None
        listed.append({"Config": config, "RepoTags": list(names), "Layers": layers})
    for name, (path, of_layer) in sorted(files.items(), key=lambda item: item[0]):
        if of_layer is None:
            tar.blob(name, path, f"sha256:{name.removesuffix('.json')}")
        else:
            _plain_layer(tar, name, path, of_layer)
    tar.data("manifest.json", documents.canonical(listed))
    tar.end()


def _plain_layer(tar: _Tar, name: str, path: str, layer: Layer) -> None:
    """A layer as an archive that is not compressed, read twice because a header says its size."""
    with open(path, "rb") as file, LayerStream(file, layer.size, name) as stream:
        while stream.read(CHUNK):
            pass
        length = stream.tell()
        _check(stream.digest(), layer.diff_id)
    with open(path, "rb") as file, LayerStream(file, layer.size, name) as stream:
        tar.file(name, stream, length)


def oci_blobs(store: Store, images: Named) -> tuple[dict[str, bytes | str], bytes]:
    """What a layout of the images has: hexadecimal digest to bytes or path, and its index."""
    blobs: dict[str, bytes | str] = {}
    manifests = []
    for image, names in images:
        text = _as_oci(store.manifest(image))
        digest = documents.digest_of(text)
        blobs[digest.removeprefix("sha256:")] = text
        for one in (f"sha256:{image.id}", *(layer.digest for layer in image.layers)):
            blobs[one.removeprefix("sha256:")] = store.blob(one)
        for name in names or ("",):
            entry = documents.make_descriptor(documents.OCI_MANIFEST, digest, len(text))
            if name:
                entry["annotations"] = {documents.REF_NAME: name}
            manifests.append(entry)
    index = {"schemaVersion": 2, "mediaType": documents.OCI_INDEX, "manifests": manifests}
    return blobs, documents.canonical(index)


def _as_oci(text: bytes) -> bytes:
    """A manifest with OCI's media types; one that has them already as it is."""
    manifest = documents.decode(text, "the manifest")
    if manifest.get("mediaType", documents.OCI_MANIFEST) == documents.OCI_MANIFEST:
        return text

    def one(value: dict[str, Any]) -> dict[str, Any]:
        return {**value, "mediaType": _TO_OCI.get(value["mediaType"], value["mediaType"])}

    converted = {
        **one(manifest),
        "config": one(manifest["config"]),
        "layers": [one(layer) for layer in manifest["layers"]],
    }
    return documents.canonical(converted)


def save_oci(store: Store, images: Named, out: BinaryIO) -> None:
    """An archive of OCI."""
    blobs, index = oci_blobs(store, images)
    tar = _Tar(out)
    tar.directory("blobs/")
    tar.directory("blobs/sha256/")
    for name, source in sorted(blobs.items()):
        where = f"blobs/sha256/{name}"
        if isinstance(source, bytes):
            tar.data(where, source)
        else:
            tar.blob(where, source, f"sha256:{name}")
    tar.data("index.json", index)
    tar.data("oci-layout", LAYOUT)
    tar.end()


def save_oci_directory(store: Store, images: Named, path: str) -> None:
    """A layout in the directory `path`, which is made."""
    blobs, index = oci_blobs(store, images)
    os.makedirs(os.path.join(path, "blobs/sha256"))
    for name, source in sorted(blobs.items()):
        with open(os.path.join(path, "blobs/sha256", name), "xb") as out:
            if isinstance(source, bytes):
                out.write(source)
                continue
            with open(source, "rb") as file:
                hashed = Hashed(file)
                while data := hashed.read(CHUNK):
                    out.write(data)
                _check(hashed.finish(), f"sha256:{name}")
    for name, data in (("index.json", index), ("oci-layout", LAYOUT)):
        with open(os.path.join(path, name), "xb") as out:
            out.write(data)
