"""nsbuild save: write images to an archive or a directory, the same bytes for the same images."""

from __future__ import annotations

import argparse
import os
import shutil
import sys

from nsbuild.cli.podman import PodmanParser, begin
from nsbuild.cli.progress import Progress
from nsbuild.errors import NsbuildError
from nsbuild.images import archives, reference
from nsbuild.images.documents import Image
from nsbuild.images.lookup import name_of
from nsbuild.images.store import Store
from nsbuild.images.transfer import save_docker_directory

ARCHIVES = {"docker-archive": archives.save_docker, "oci-archive": archives.save_oci}
FORMATS = (*ARCHIVES, "oci-dir", "docker-dir")


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    begin()
    parser = PodmanParser(
        "save", "[OPTIONS] IMAGE [IMAGE...]", "Save images to an archive or a directory."
    )
    add = parser.add_argument
    add("--format", choices=FORMATS, default=FORMATS[0], help=f"({FORMATS[0]})")
    add("-o", "--output", metavar="PATH", help="write to PATH and not to stdout")
    add(
        *("-m", "--multi-image-archive"),
        action="store_true",
        help="each IMAGE is an image; without it the further ones are names of the first",
    )
    add("-q", "--quiet", action="store_true", help="say nothing")
    add("images", metavar="IMAGE", nargs="*")
    options = parser.parse_args(arguments)
    if not options.images:
        raise NsbuildError("need at least 1 argument")
    store = Store.default()
    images = _chosen(store, options)
    if options.format in ARCHIVES:
        _archive(store, images, options)
    else:
        _directory(store, images, options)
    return 0


def _chosen(store: Store, options: argparse.Namespace) -> archives.Named:
    """The images, and what each is called in the archive."""
    if not options.multi_image_archive:
        first, *more = options.images
        image = store.image(first)
        return [(image, (*_names(image, first), *map(reference.local, more)))]
    found: dict[str, tuple[Image, tuple[str, ...]]] = {}
    for name in options.images:
        image = store.image(name)
        before = found[image.digest][1] if image.digest in found else ()
        found[image.digest] = image, tuple(dict.fromkeys((*before, *_names(image, name))))
    return list(found.values())


def _names(image: Image, name: str) -> tuple[str, ...]:
    return tuple(filter(None, (name_of(image, name),)))


def _archive(store: Store, images: archives.Named, options: argparse.Namespace) -> None:
    if options.output is None:
        if sys.stdout.isatty():
            raise NsbuildError("refusing to save to terminal. Use -o flag or redirect")
        ARCHIVES[options.format](store, images, sys.stdout.buffer)
        sys.stdout.flush()
        return
    try:
        with open(options.output, "wb") as out:
            ARCHIVES[options.format](store, images, out)
    except (OSError, NsbuildError) as error:
        if os.path.isfile(options.output):
            os.unlink(options.output)
        if isinstance(error, OSError):
            raise NsbuildError.from_os(f"cannot write {options.output}", error) from error
        raise


def _directory(store: Store, images: archives.Named, options: argparse.Namespace) -> None:
    if options.output is None:
        raise NsbuildError(f"--format {options.format} needs a directory: give one by -o")
    if os.path.lexists(options.output) and (
        not os.path.isdir(options.output) or os.listdir(options.output)
    ):
        raise NsbuildError(f"{options.output} exists: it must be new or an empty directory")
    if options.format == "docker-dir" and len(images) > 1:
        raise NsbuildError("--format docker-dir holds one image")
    made = not os.path.isdir(options.output)
    try:
        if options.format == "oci-dir":
            archives.save_oci_directory(store, images, options.output)
            return
        with Progress(options.quiet) as progress:
            save_docker_directory(store, images[0][0], options.output, progress.say)
    except (OSError, NsbuildError) as error:
        shutil.rmtree(options.output, ignore_errors=True)
        if not made:
            os.mkdir(options.output)
        if isinstance(error, OSError):
            raise NsbuildError.from_os(f"cannot write {options.output}", error) from error
        raise
