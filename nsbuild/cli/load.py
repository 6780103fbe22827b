"""nsbuild load: take images out of an archive or a directory into the store."""

from __future__ import annotations

import sys

from nsbuild.cli.podman import PodmanParser, begin
from nsbuild.cli.progress import Progress
from nsbuild.errors import NsbuildError
from nsbuild.images.store import Store
from nsbuild.images.transfer import load, spool


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    begin()
    parser = PodmanParser(
        "load",
        "[OPTIONS]",
        "Load images from an archive of Docker or OCI, or a directory of either; prints names.",
    )
    parser.add_argument("-i", "--input", metavar="PATH", help="read PATH and not stdin")
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but the result")
    options = parser.parse_args(arguments)
    store = Store.default()
    with Progress(options.quiet) as progress:
        store.say, store.advance = progress.say, progress.advance
        if options.input is not None:
            loaded = load(store, options.input, progress.say)
        elif sys.stdin.isatty():
            raise NsbuildError(
                "cannot read from terminal, use command-line redirection or the --input flag"
            )
        else:
            with store.place.workshop() as shop:
                loaded = load(store, spool(shop), progress.say)
    for image, names in loaded:
        for name in names or (f"sha256:{image.id}",):
            sys.stdout.write(f"Loaded image: {name}\n")
    return 0
