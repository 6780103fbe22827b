"""nsbuild push: bring an image to a registry, an archive or a directory."""

from __future__ import annotations

import os

from nsbuild.cli.podman import PodmanParser, begin
from nsbuild.cli.progress import Progress
from nsbuild.cli.registry import add_options, skopeo_options
from nsbuild.errors import NsbuildError
from nsbuild.images.lookup import name_of
from nsbuild.images.store import Store
from nsbuild.images.transfer import push


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    begin()
    parser = PodmanParser("push", "[OPTIONS] IMAGE [DESTINATION]", "Push an image to a registry.")
    add_options(parser)
    add = parser.add_argument
    add("--digestfile", metavar="FILE", help="write the digest that it has there to FILE")
    add("-f", "--format", choices=("oci", "v2s1", "v2s2"), help="of the manifest (as it is)")
    add("--remove-signatures", action="store_true", help="there are none: the same without")
    add("image", metavar="IMAGE", nargs="?")
    add("destination", metavar="DESTINATION", nargs="?")
    options = parser.parse_args(arguments)
    if not options.image:
        raise NsbuildError("requires at least 1 arg(s), only received 0")
    store = Store.default()
    image = store.image(options.image)
    destination = options.destination or name_of(image, options.image)
    if not destination:
        raise NsbuildError(f"{options.image} has no name to push to", "give a DESTINATION")
    told = skopeo_options(options, "dest")
    if options.format:
        told += ["--format", options.format]
    if options.digestfile:
        told += ["--digestfile", os.path.abspath(options.digestfile)]
    with Progress(options.quiet) as progress:
        push(store, image, destination, progress.say, told)
    return 0
