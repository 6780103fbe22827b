"""nsbuild image: the verbs about images, under the names that they have in Podman's `image`."""

from __future__ import annotations

import importlib
import sys

from nsbuild.cli.podman import PodmanParser, begin, refuse_verb
from nsbuild.errors import NsbuildError, report
from nsbuild.images import verification
from nsbuild.images.store import Store

VERBS = {
    "bootstrap": ("nsbuild.cli.bootstrap", "main", "make a Debian image of packages"),
    "diff": ("nsbuild.cli.imagediff", "main", "what differs between two images"),
    "exists": ("nsbuild.cli.image", "exists", "whether an image is there, as exit status"),
    "history": ("nsbuild.cli.history", "main", "how an image was made"),
    "import": ("nsbuild.cli.importing", "main", "make an image of a tarball"),
    "inspect": ("nsbuild.cli.inspect", "image", "all that is known of an image"),
    "load": ("nsbuild.cli.load", "main", "take images out of an archive"),
    "ls": ("nsbuild.cli.images", "main", "list images"),
    "list": ("nsbuild.cli.images", "main", "the same"),
    "prune": ("nsbuild.cli.image", "prune", "remove images that nobody needs"),
    "pull": ("nsbuild.cli.pull", "main", "bring images from registries"),
    "push": ("nsbuild.cli.push", "main", "bring an image to a registry"),
    "rm": ("nsbuild.cli.rmi", "main", "remove images"),
    "save": ("nsbuild.cli.save", "main", "write images to an archive"),
    "tag": ("nsbuild.cli.tag", "main", "give names to an image"),
    "untag": ("nsbuild.cli.untag", "main", "take names from an image"),
    "verify": ("nsbuild.cli.image", "verify", "whether every byte of an image is its digest's"),
}
"""Verb -> module, function of the arguments, summary."""

QUESTION = "Are you sure you want to continue? [y/N] "


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    begin()
    verb = arguments[0] if arguments else "--help"
    if verb in ("-h", "--help"):
        lines = (f"  {name:<9} {summary}\n" for name, (_, _, summary) in VERBS.items())
        sys.stdout.write("usage: nsbuild image VERB [ARGUMENT...]\n\nverbs:\n" + "".join(lines))
        return 0
    if verb not in VERBS:
        refuse_verb(verb)
        raise NsbuildError(
            f"unrecognized command `nsbuild image {verb}`\nTry 'nsbuild image --help'"
        )
    module, function, _ = VERBS[verb]
    return int(getattr(importlib.import_module(module), function)(arguments[1:]))


def exists(arguments: list[str]) -> int:
    """Run `image exists`: 0, or 1 where there is none."""
    parser = PodmanParser("image exists", "IMAGE", "Say by the exit status whether IMAGE is there.")
    parser.add_argument("image", metavar="IMAGE")
    return 0 if Store.default().find(parser.parse_args(arguments).image) else 1


def prune(arguments: list[str]) -> int:
    """Run `image prune`; returns the exit code."""
    parser = PodmanParser("image prune", "[OPTIONS]", "Remove images that have no name.")
    add = parser.add_argument
    add("-a", "--all", action="store_true", help="remove all that no container needs")
    add("-f", "--force", action="store_true", help="do not ask")
    options = parser.parse_args(arguments)
    if not options.force:
        which = "images without at least one container" if options.all else "dangling images"
        sys.stdout.write(f"WARNING! This command removes all {which}.\n{QUESTION}")
        sys.stdout.flush()
        if sys.stdin.readline().strip().lower() != "y":
            return 0
    store = Store.default()
    for image in store.images():
        unwanted = (options.all or not image.names) and not store.users(image)
        if unwanted and store.remove(image, as_named=True):
            sys.stdout.write(f"{image.id}\n")
    return 0


def verify(arguments: list[str]) -> int:
    """Run `image verify`: 0 if all is as it should be, else 1."""
    parser = PodmanParser(
        "image verify",
        "[IMAGE...]",
        "Compare every blob of each IMAGE, or of all, with its digest, and the unpacked files with "
        "the layers.",
    )
    parser.add_argument("images", metavar="IMAGE", nargs="*")
    names = parser.parse_args(arguments).images
    store = Store.default()
    images = [store.image(name) for name in names] if names else store.images()
    code = 0
    for image in images:
        wrong = verification.verify(store, image)
        for line in wrong:
            report(f"{image.id[:12]}: {line}")
        if wrong:
            code = 1
        else:
            sys.stdout.write(f"{image.id}\n")
    return code
