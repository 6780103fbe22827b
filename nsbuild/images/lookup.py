"""Which of some images a name means: full names first, then ids, then the ends of names."""

from __future__ import annotations

import contextlib

from nsbuild.errors import NsbuildError
from nsbuild.images import reference
from nsbuild.images.documents import Image


def choose(images: list[Image], name: str) -> Image | None:
    """The one of `images` that `name` means."""
    digits = reference.id_prefix(name)
    if not name.startswith("sha256:"):
        for full in reference.may_mean(name):
            for image in images:
                if full in image.names or _has_digest(image, full):
                    return image
    if digits:
        matching = {image.id: image for image in images if image.id.startswith(digits)}
        if len(matching) > 1 and len(digits) < 64:
            raise NsbuildError(f"{name}: more than one image has an id that begins so")
        if matching:
            return next(iter(matching.values()))
        by_digest = [image for image in images if image.digest == f"sha256:{digits}"]
        if by_digest:
            return by_digest[0]
    with contextlib.suppress(NsbuildError):
        return next(
            (one for one in images if any(reference.means(name, full) for full in one.names)), None
        )
    return None


def _has_digest(image: Image, full: str) -> bool:
    wanted = reference.parse(full)
    return wanted.digest == image.digest and any(
        reference.parse(name).repository == wanted.repository for name in image.names
    )


def name_of(image: Image, name: str) -> str:
    """The full name by which `name` means `image`; empty where it is its id or digest."""
    for full in reference.may_mean(name):
        if full in image.names:
            return full
    with contextlib.suppress(NsbuildError):
        if not image.id.startswith(reference.id_prefix(name) or "-"):
            return next((full for full in image.names if reference.means(name, full)), "")
    return ""
