"""Containers and images as Docker's API shows them; Podman's is what `inspect` and `ps` show."""

from __future__ import annotations

from typing import Any

from nsbuild.cli import human, imageview
from nsbuild.cli.containerview import describe
from nsbuild.cli.ps import as_json, shown_state, status
from nsbuild.container.records import Record, Records
from nsbuild.images.documents import Image

_NO_NETWORK: dict[str, Any] = {"Networks": {}, "Ports": {}}


def digest(identity: str) -> str:
    """An image's id as Docker writes it."""
    return f"sha256:{identity}" if identity else ""


def docker_container(records: Records, record: Record) -> dict[str, Any]:
    """What `docker inspect` shows."""
    shown = describe(records, record)
    config, host = shown["Config"], shown["HostConfig"]
    shown["Name"] = f"/{record.name}"
    shown["Image"] = digest(record.image_id)
    shown["Platform"] = "linux"
    shown["State"] |= {"OOMKilled": False}
    config["Entrypoint"] = record.facts["entrypoint"] or None
    config["Labels"] = config["Labels"] or {}
    # The only driver for files that Docker's clients know, and ask logs of.
    host["LogConfig"] = {"Type": "json-file", "Config": {}}
    shown.setdefault("NetworkSettings", _NO_NETWORK)
    return shown


def docker_entry(record: Record) -> dict[str, Any]:
    """A container in a list of Docker's."""
    entry = as_json(record)
    return {
        "Id": record.id,
        "Names": [f"/{record.name}"],
        "Image": record.image,
        "ImageID": digest(record.image_id),
        "Command": " ".join(entry["Command"]),
        "Created": entry["Created"],
        "Ports": [],
        "Labels": entry["Labels"] or {},
        "State": shown_state(record),
        "Status": status(record),
        "Mounts": [{"Type": "bind", "Destination": target} for target in entry["Mounts"]],
        "NetworkSettings": _NO_NETWORK,
    }


def docker_image(image: Image, manifest_type: str, trees: list[str]) -> dict[str, Any]:
    """What `docker image inspect` shows."""
    return imageview.inspected(image, manifest_type, trees) | {"Id": digest(image.id)}


def docker_image_entry(image: Image, containers: int) -> dict[str, Any]:
    """An image in a list of Docker's."""
    return {
        "Id": digest(image.id),
        "ParentId": "",
        "RepoTags": imageview.tags(image),
        "RepoDigests": imageview.digests(image),
        "Created": int(human.moment(imageview.created(image)).timestamp()),
        "Size": image.size,
        "SharedSize": -1,
        "VirtualSize": image.size,
        "Labels": imageview.labels(image),
        "Containers": containers,
    }


def podman_image_entry(image: Image, containers: int) -> dict[str, Any]:
    """An image in a list of Podman's API, which unlike its command line has the names as tags."""
    return imageview.summary(image, containers) | {"RepoTags": imageview.tags(image)}
