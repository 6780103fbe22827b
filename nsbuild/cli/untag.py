"""nsbuild untag: take names from an image, which stays."""

from __future__ import annotations

from nsbuild.cli.podman import PodmanParser, begin
from nsbuild.errors import NsbuildError
from nsbuild.images import reference
from nsbuild.images.store import Store


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    begin()
    parser = PodmanParser("untag", "IMAGE [NAME...]", "Take names from an image; all without NAME.")
    parser.add_argument("words", metavar="IMAGE", nargs="*")
    words = parser.parse_args(arguments).words
    if not words:
        raise NsbuildError("requires at least 1 arg(s), only received 0")
    store = Store.default()
    image = store.image(words[0])
    names = tuple(map(reference.local, words[1:])) or image.names
    for name in names:
        if name not in image.names:
            raise NsbuildError(f"{name}: tag not known")
    store.untag(image, names)
    return 0
