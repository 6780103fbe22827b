"""The JSON documents of an image: index, manifest and config, and what is believed of them.

A document that came with an image is somebody else's. Its digest says that it is what was meant;
whether it makes sense is looked at here, once, so that nobody behind needs to.
https://github.com/opencontainers/image-spec
"""

from __future__ import annotations

import json
import re
from typing import Any

from nsbuild.digest import sha256
from nsbuild.errors import NsbuildError
from nsbuild.tuples import NamedTuple

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
EPOCH_LABEL = "org.nsbuild.epoch"
"""An image's label that says when the clock of its containers begins, as --epoch does."""
REF_NAME = "org.opencontainers.image.ref.name"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
LARGEST = 16 << 20
"""Bytes of a document; registries refuse more than 4 MiB."""


class Layer(NamedTuple):
    """A layer: digests of the archive and of the file as it is stored, and that one's size."""

    diff_id: str
    digest: str
    size: int
    media_type: str = OCI_LAYER


class Image(NamedTuple):
    """An image of a store.

    `id` is the SHA-256 of its config, `digest` that of its manifest with `sha256:` in front, `size`
    the bytes of its layers as they are stored. `names` are full ones.
    """

    id: str
    digest: str
    names: tuple[str, ...]
    config: dict[str, Any]
    diff_ids: tuple[str, ...]
    size: int
    layers: tuple[Layer, ...] = ()


def canonical(document: Any) -> bytes:  # noqa: ANN401 - any JSON
    """The one text of a document: sorted keys, no spaces."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def digest_of(data: bytes) -> str:
    """With the algorithm in front."""
    return f"sha256:{sha256(data).hexdigest()}"


def decode(data: bytes, what: str) -> dict[str, Any]:
    """The JSON object in `data`; `what` names it in errors."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise NsbuildError(f"{what} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise NsbuildError(f"{what} is no JSON object")
    return found


def check_size(what: str, size: int, promised: int) -> None:
    """NsbuildError where `what` has another size, in bytes, than a manifest says."""
    if size != promised:
        raise NsbuildError(f"{what} is refused: it has {size} bytes and not {promised}")


def checked_digest(value: object, what: str) -> str:
    """`value`, if it is a digest that we know."""
    if not isinstance(value, str) or not DIGEST.fullmatch(value):
        raise NsbuildError(f"{what} has a digest that is none: {value!r}")
    return value


def descriptor(value: object, what: str) -> tuple[str, int, str]:
    """Digest, size and media type of a descriptor."""
    if not isinstance(value, dict):
        raise NsbuildError(f"{what} has a descriptor that is no object")
    size, media_type = value.get("size"), value.get("mediaType", "")
    if type(size) is not int or not 0 <= size < 1 << 62 or not isinstance(media_type, str):
        raise NsbuildError(f"{what} has a descriptor without a size or type")
    return checked_digest(value.get("digest"), what), size, media_type


def make_descriptor(media_type: str, digest: str, size: int) -> dict[str, Any]:
    """A descriptor."""
    return {"mediaType": media_type, "digest": digest, "size": size}


def manifest_parts(
    manifest: dict[str, Any], what: str
) -> tuple[tuple[str, int, str], list[tuple[str, int, str]]]:
    """The descriptors of a manifest's config and layers."""
    layers = manifest.get("layers")
    if manifest.get("schemaVersion") != 2 or not isinstance(layers, list):
        raise NsbuildError(f"{what} is not an image's manifest", "schema 2 of Docker or OCI is")
    return descriptor(manifest.get("config"), what), [descriptor(one, what) for one in layers]


def describe_image(
    manifest: dict[str, Any], digest: str, config: dict[str, Any], names: tuple[str, ...]
) -> Image:
    """The image of a manifest and its config; raises NsbuildError where they do not fit."""
    what = f"image {digest}"
    (config_digest, _, _), parts = manifest_parts(manifest, what)
    rootfs = config.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list) or len(diff_ids) != len(parts):
        raise NsbuildError(f"{what} has {len(parts)} layers, and its config lists others")
    for key in ("config", "architecture", "os", "created", "history"):
        kinds = {"config": dict, "history": list}.get(key, str)
        if config.get(key) is not None and not isinstance(config[key], kinds):
            raise NsbuildError(f"{what} has a config whose {key} makes no sense")
    layers = tuple(
        Layer(checked_digest(diff_id, what), *part)
        for diff_id, part in zip(diff_ids, parts, strict=True)
    )
    size = sum(layer.size for layer in layers)
    return Image(
        config_digest.removeprefix("sha256:"), digest, names, config, tuple(diff_ids), size, layers
    )
