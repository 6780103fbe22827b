"""nsbuild image diff: what files differ between two images, or an image and what is below it."""

from __future__ import annotations

import json
import sys

from nsbuild.cli.podman import PodmanParser, begin
from nsbuild.errors import NsbuildError
from nsbuild.images.contents import File, read
from nsbuild.images.documents import Image
from nsbuild.images.store import Store

_WORDS = {"A": "added", "C": "changed", "D": "deleted"}


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    begin()
    parser = PodmanParser(
        "image diff",
        "[OPTIONS] IMAGE [IMAGE]",
        "List the files in which IMAGE differs from the second, or without one from the image "
        "below its last layer: A for added, C for changed, D for deleted.",
    )
    add = parser.add_argument
    add("--format", choices=("json",), help="print JSON")
    add("--why", action="store_true", help="say what of each changed file differs")
    add("images", metavar="IMAGE", nargs="*")
    options = parser.parse_args(arguments)
    if not 1 <= len(options.images) <= 2:
        raise NsbuildError(f"accepts between 1 and 2 arg(s), received {len(options.images)}")
    store = Store.default()
    image = store.image(options.images[0])
    base = store.image(options.images[1]) if len(options.images) == 2 else _parent(image)
    found = compare(read(store, base).files, read(store, image).files)
    if options.format:
        lists: dict[str, list[str]] = {word: [] for word in _WORDS.values()}
        for path, kind, _ in found:
            lists[_WORDS[kind]].append(path)
        sys.stdout.write(f"{json.dumps(lists)}\n")
        return 0
    for path, kind, why in found:
        reasons = f"\t{','.join(why)}" if options.why and why else ""
        sys.stdout.write(f"{kind} {printable(path)}{reasons}\n")
    return 0


def _parent(image: Image) -> Image:
    """What the image was before its last layer."""
    return image._replace(layers=image.layers[:-1])


def compare(old: dict[str, File], new: dict[str, File]) -> list[tuple[str, str, tuple[str, ...]]]:
    """(path, A, C or D, what of it differs) for each file, sorted."""
    found: list[tuple[str, str, tuple[str, ...]]] = []
    for path in sorted(old.keys() | new.keys()):
        if path not in old:
            found.append((f"/{path}", "A", ()))
        elif path not in new:
            found.append((f"/{path}", "D", ()))
        elif old[path] != new[path]:
            why = (
                name
                for name, before, after in zip(File._fields, old[path], new[path], strict=True)
                if before != after and name != "sha1"
            )
            found.append((f"/{path}", "C", tuple(why)))
    return found


def printable(path: str) -> str:
    """A path of which no byte does anything to a terminal."""
    return path if path.isprintable() else path.encode("unicode_escape").decode()
