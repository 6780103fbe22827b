"""Images into the store and out of it: from and to registries, archives and directories."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from nsbuild.errors import NsbuildError
from nsbuild.images import reference, skopeo
from nsbuild.images.archives import Archive, look_into
from nsbuild.images.documents import Image
from nsbuild.images.exchange import lay_out, take_in
from nsbuild.images.place import Workshop
from nsbuild.images.store import Store
from nsbuild.images.streams import CHUNK

Say = Callable[[str], None]
_IN = "image"


def pull(
    store: Store,
    text: str,
    say: Say,
    options: Sequence[str] = (),
    overrides: Sequence[str] = (),
) -> list[Image]:
    """Pull `text`, a name or TRANSPORT:ARGUMENT; `options` are those of skopeo copy.

    `overrides` are skopeo's own, which say for what machine. Raises NsbuildError.
    """
    transport, argument = skopeo.split(text)
    if transport not in ("", "docker"):
        path, _, wanted = argument.partition(":") if transport != "dir" else (argument, "", "")
        return [image for image, _ in load(store, path, say, wanted)]
    asked = reference.parse(reference.remote(argument))
    # A registry is asked for the one or the other; a digest says more.
    full = str(asked._replace(tag="") if asked.digest else asked)
    say(f"Trying to pull {full}...")
    with store.place.workshop() as shop:
        copied = ("--preserve-digests", "--remove-signatures", *options)
        skopeo.copy(f"docker://{full}", f"dir:{_IN}", shop, copied, say, overrides)
        return [take_in(store, shop, _IN, (full,))]


def load(
    store: Store, path: str, say: Say, wanted: str = ""
) -> list[tuple[Image, tuple[str, ...]]]:
    """The images of an archive or directory, and the full names that each came under.

    With `wanted`, a name in it, that one alone.
    """
    try:
        os.stat(path)
        archive = look_into(path)
    except FileNotFoundError as error:
        raise NsbuildError(f"stat {path}: no such file or directory") from error
    except OSError as error:
        raise NsbuildError.from_os(f"cannot load {path}", error) from error
    members = [one for one in archive.members if not wanted or wanted in (*one.names, one.selector)]
    if not members:
        raise NsbuildError(f"{path} has no image {wanted}")
    loaded = []
    with store.place.workshop() as shop:
        # A name of its own, because a colon in a path would end it.
        os.symlink(os.path.abspath(path), shop.at("source"))
        for place, member in enumerate(members):
            source = f"{archive.transport}:source"
            if member.selector:
                source += f":{member.selector}"
            name = f"{_IN}-{place}"
            skopeo.copy(source, f"dir:{name}", shop, ("--remove-signatures",), say)
            names = _names(archive, member.names, path)
            loaded.append((take_in(store, shop, name, names), names))
    return loaded


def _names(archive: Archive, found: tuple[str, ...], path: str) -> tuple[str, ...]:
    """Full names for what an archive calls its image."""
    if archive.transport == "docker-archive":
        return tuple(map(reference.remote, found))
    if found:
        return tuple(map(reference.local, found))
    if archive.transport == "oci":
        # As Podman, which calls it after the directory.
        words = os.path.normpath(path).strip("/").lower().split("/")
        return (f"{reference.LOCAL}/{'/'.join(words)}:{reference.DEFAULT_TAG}",)
    return ()


def push(
    store: Store, image: Image, destination: str, say: Say, options: Sequence[str] = ()
) -> None:
    """Push an image to `destination`, a full name or TRANSPORT:ARGUMENT."""
    transport, argument = skopeo.split(destination)
    if transport in ("", "docker"):
        argument = f"//{reference.remote(argument)}"
    with store.place.workshop() as shop:
        lay_out(store, image, shop, _IN)
        target = f"{transport or 'docker'}:{argument}"
        skopeo.copy(f"dir:{_IN}", target, shop, options, say)


def save_docker_directory(store: Store, image: Image, path: str, say: Say) -> None:
    """The image as skopeo's `dir:` has it, with a manifest of Docker."""
    with store.place.workshop() as shop:
        lay_out(store, image, shop, _IN)
        options = ("--format", "v2s2")
        skopeo.copy(f"dir:{_IN}", f"dir:{os.path.abspath(path)}", shop, options, say)


def spool(shop: Workshop) -> str:
    """What comes on stdin, as a file; its path."""
    path = shop.at("stdin")
    with open(path, "xb") as file:
        while data := sys.stdin.buffer.read(CHUNK):
            file.write(data)
    return path
