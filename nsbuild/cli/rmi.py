"""nsbuild rmi: take names from images, and remove those that have none left."""

from __future__ import annotations

import sys

from nsbuild.cli.podman import PodmanParser, begin
from nsbuild.errors import EXIT_OURS, NsbuildError, report
from nsbuild.images.lookup import name_of
from nsbuild.images.store import Store, in_use

NOT_KNOWN, IN_USE = 1, 2
"""Exit codes of podman-rmi(1)."""


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    begin()
    parser = PodmanParser("rmi", "[OPTIONS] IMAGE [IMAGE...]", "Remove images from the store.")
    add = parser.add_argument
    add("-a", "--all", action="store_true", help="remove all")
    add("-f", "--force", action="store_true", help="remove it with all its names")
    add("-i", "--ignore", action="store_true", help="an image that is not there is no error")
    add("--no-prune", action="store_true", help="parents are not removed: the same without")
    add("images", metavar="IMAGE", nargs="*")
    options = parser.parse_args(arguments)
    store = Store.default()
    if options.all:
        if options.images:
            raise NsbuildError(
                "when using the --all switch, you may not pass any images names or IDs"
            )
        names = [image.id for image in store.images()]
    else:
        names = options.images
    if not names and not options.all:
        raise NsbuildError("image name or ID must be specified")
    code = 0
    for name in names:
        try:
            removed = remove(store, name, options.force or options.all, options.ignore)
            sys.stdout.write("".join(f"{line}\n" for line in removed))
        except NsbuildError as error:
            report(str(error))
            code = max(code, error.code) if code else error.code
    return code


def remove(store: Store, name: str, force: bool, ignore: bool) -> list[str]:
    """Take `name` from an image, or remove it; what was done, a line for each step."""
    try:
        image = store.find(name)
    except NsbuildError:
        if not force or not store.forget(name):
            raise
        return [f"Untagged: {name}"]
    if image is None:
        if ignore:
            return []
        raise NsbuildError(f"{name}: image not known", code=NOT_KNOWN)
    full = name_of(image, name)
    if full and len(image.names) > 1 and not force:
        store.untag(image, (full,))
        return [f"Untagged: {full}"]
    if not full and len(image.names) > 1 and not force:
        raise NsbuildError(
            f'unable to delete image "{image.id}" by ID with more than one tag '
            f"([{' '.join(image.names)}]): please force removal",
            code=EXIT_OURS,
        )
    if users := store.users(image):
        raise NsbuildError(in_use(image, users).message, code=IN_USE)
    if not store.remove(image, as_named=not force):
        # Somebody has given it another name meanwhile, which is not ours to take.
        return remove(store, name, force, ignore)
    return [*(f"Untagged: {one}" for one in image.names), f"Deleted: {image.id}"]
