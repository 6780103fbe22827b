"""The index of a store: which manifests there are, and what they are called.

Names are annotations, one descriptor for each; an image without a name has a descriptor without.
"""

from __future__ import annotations

from typing import Any

from nsbuild.errors import NsbuildError
from nsbuild.images import documents

Entries = list[tuple[str, str]]
"""(digest of the manifest, full name or empty) for each descriptor, in their order."""


def read(path: str) -> Entries:
    """What is in the file `path`; nothing where there is none."""
    try:
        with open(path, "rb") as file:
            content = documents.decode(file.read(), path)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise NsbuildError.from_os(f"cannot read {path}", error) from error
    entries = []
    for one in content.get("manifests", ()):
        digest, _, _ = documents.descriptor(one, path)
        entries.append((digest, str((one.get("annotations") or {}).get(documents.REF_NAME, ""))))
    return entries


def descriptors(path: str) -> dict[str, dict[str, Any]]:
    """The descriptor of each digest in the file `path`, which can be read, or is not there."""
    try:
        with open(path, "rb") as file:
            content = documents.decode(file.read(), path)
    except FileNotFoundError:
        return {}
    plain = ("mediaType", "digest", "size")
    return {one["digest"]: {key: one.get(key) for key in plain} for one in content["manifests"]}


def encode(entries: Entries, described: dict[str, dict[str, Any]]) -> bytes:
    """The text of the file; `described` has a descriptor for each digest."""
    manifests = []
    for digest, name in entries:
        one = dict(described[digest])
        if name:
            one["annotations"] = {documents.REF_NAME: name}
        manifests.append(one)
    whole = {"schemaVersion": 2, "mediaType": documents.OCI_INDEX, "manifests": manifests}
    return documents.canonical(whole)


def names(entries: Entries, digest: str) -> tuple[str, ...]:
    """The names of `digest`."""
    return tuple(name for one, name in entries if one == digest and name)


def with_names(entries: Entries, digest: str, wanted: tuple[str, ...]) -> Entries:
    """The entries in which `digest` has the names `wanted` too, and nobody else has them.

    Who lost its last name stays without one.
    """
    kept = [one for one in entries if one[1] not in wanted or not one[1]]
    there = {one for one, _ in kept}
    kept.extend((other, "") for other, _ in dict.fromkeys(entries) if other not in there | {digest})
    kept.extend((digest, name) for name in wanted)
    if any(one == digest and name for one, name in kept):
        return [one for one in kept if one != (digest, "")]
    return kept if digest in {one for one, _ in kept} else [*kept, (digest, "")]


def without_names(entries: Entries, digest: str, gone: frozenset[str]) -> Entries:
    """The entries in which `digest` has lost the names `gone`; it stays, without any perhaps."""
    kept = [one for one in entries if one[0] != digest or one[1] not in gone]
    return kept if any(one == digest for one, _ in kept) else [*kept, (digest, "")]


def without(entries: Entries, digest: str) -> Entries:
    """The entries without `digest`."""
    return [one for one in entries if one[0] != digest]
