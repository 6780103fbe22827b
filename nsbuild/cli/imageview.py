"""Images as verbs show them: the fields that Podman's templates and JSON have."""

from __future__ import annotations

from typing import Any

from nsbuild.cli import human
from nsbuild.images import reference
from nsbuild.images.documents import Image

NONE = "<none>"
SHORT = 12
"""Digits of an id that people get to see."""


def created(image: Image) -> str:
    """When it was made, as its config says."""
    return str(image.config.get("created") or "1970-01-01T00:00:00Z")


def digests(image: Image) -> list[str]:
    """Its names with the digest instead of the tag."""
    repositories = {reference.repository_and_tag(name)[0] for name in image.names}
    return [f"{repository}@{image.digest}" for repository in sorted(repositories)]


def tags(image: Image) -> list[str]:
    """Its names, without those that are digests."""
    return [name for name in image.names if "@" not in name]


def labels(image: Image) -> dict[str, str]:
    """The labels of its config."""
    return dict((image.config.get("config") or {}).get("Labels") or {})


def row(image: Image, name: str, containers: int, truncate: bool = True) -> dict[str, Any]:
    """A line of `images`, for the name `name`, empty for an image without one."""
    repository, tag = reference.repository_and_tag(name) if name else (NONE, NONE)
    when = human.moment(created(image))
    identity = image.id[:SHORT] if truncate else f"sha256:{image.id}"
    return {
        "ID": identity,
        "Id": image.id,
        "ParentId": "",
        "Repository": repository,
        "Tag": tag,
        "Digest": image.digest,
        "RepoTags": tags(image),
        "RepoDigests": digests(image),
        "Names": list(image.names),
        "History": list(image.names),
        "Labels": labels(image),
        "Created": human.ago(when),
        "CreatedSince": human.ago(when),
        "CreatedAt": human.stamp(when),
        "CreatedTime": human.stamp(when),
        "Size": human.size(image.size),
        "VirtualSize": human.size(image.size),
        "SharedSize": 0,
        "Containers": containers,
        "Dangling": not image.names,
        "ReadOnly": False,
    }


def summary(image: Image, containers: int) -> dict[str, Any]:
    """An image in the JSON of `images`."""
    when = human.moment(created(image))
    return {
        "Id": image.id,
        "ParentId": "",
        "RepoTags": None,
        "RepoDigests": digests(image),
        "Size": image.size,
        "SharedSize": 0,
        "VirtualSize": image.size,
        "Labels": labels(image) or None,
        "Containers": containers,
        "Names": list(image.names),
        "Digest": image.digest,
        "History": list(image.names),
        "Created": int(when.timestamp()),
        "CreatedAt": when.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def inspected(image: Image, manifest_type: str, trees: list[str]) -> dict[str, Any]:
    """An image as `inspect` shows it; `trees` are the directories of its layers."""
    config = image.config
    history = list(config.get("history") or ())
    settings = dict(config.get("config") or {})
    return {
        "Id": image.id,
        "Digest": image.digest,
        "RepoTags": tags(image),
        "RepoDigests": digests(image),
        "Parent": "",
        "Comment": str(history[-1].get("comment", "")) if history else "",
        "Created": created(image),
        "Config": settings,
        "Version": "",
        "Author": str(config.get("author", "")),
        "Architecture": str(config.get("architecture", "")),
        "Os": str(config.get("os", "")),
        "Size": image.size,
        "VirtualSize": image.size,
        "GraphDriver": {"Name": "overlay", "Data": {"LowerDir": ":".join(reversed(trees))}},
        "RootFS": {"Type": "layers", "Layers": list(image.diff_ids)},
        "Labels": settings.get("Labels"),
        "Annotations": {},
        "ManifestType": manifest_type,
        "User": str(settings.get("User", "")),
        "History": history,
        "NamesHistory": list(reversed(image.names)),
    }


def history(image: Image) -> list[dict[str, Any]]:
    """The lines of `history`, the newest first."""
    layers = iter(image.layers)
    lines: list[dict[str, Any]] = []
    steps = list(image.config.get("history") or ())
    if sum(not step.get("empty_layer") for step in steps) != len(image.layers):
        # Whoever made it said nothing, or something else, of how.
        steps = [{} for _ in image.layers]
    for step in steps:
        layer = None if step.get("empty_layer") else next(layers)
        lines.append(
            {
                "id": "<missing>",
                "created": str(step.get("created") or created(image)),
                "CreatedBy": str(step.get("created_by", "")),
                "size": layer.size if layer else 0,
                "comment": str(step.get("comment", "")),
                "tags": [],
            }
        )
    if lines:
        lines[-1].update(id=image.id, tags=tags(image))
    return lines[::-1]
