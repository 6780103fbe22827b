"""nsbuild tag: give more names to an image."""

from __future__ import annotations

from nsbuild.cli.podman import PodmanParser, begin
from nsbuild.errors import NsbuildError
from nsbuild.images import reference
from nsbuild.images.store import Store


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    begin()
    parser = PodmanParser("tag", "IMAGE NAME [NAME...]", "Give an image more names.")
    parser.add_argument("words", metavar="IMAGE", nargs="*")
    words = parser.parse_args(arguments).words
    if len(words) < 2:
        raise NsbuildError(f"requires at least 2 arg(s), only received {len(words)}")
    store = Store.default()
    image = store.image(words[0])
    names = tuple(map(reference.local, words[1:]))
    for name in names:
        if "@" in name:
            raise NsbuildError(f"{name}: an image cannot be given a digest")
    store.tag(image, names)
    return 0
