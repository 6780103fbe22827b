"""nsbuild pull: bring images from registries, archives and directories into the store."""

from __future__ import annotations

import argparse
import sys

from nsbuild.cli.podman import PodmanParser, begin, each
from nsbuild.cli.registry import add_options, pulled, skopeo_options
from nsbuild.errors import NsbuildError
from nsbuild.images.documents import Image
from nsbuild.images.store import Store


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    begin()
    parser = PodmanParser(
        "pull", "[OPTIONS] IMAGE [IMAGE...]", "Pull images from registries; prints their ids."
    )
    add_options(parser)
    add = parser.add_argument
    add("--arch", help="take the image for this architecture and not for ours")
    add("--os", help="and this operating system")
    add("--variant", help="and this variant of the architecture")
    add("--platform", metavar="OS/ARCH[/VARIANT]", help="all three")
    add("images", metavar="IMAGE", nargs="*")
    options = parser.parse_args(arguments)
    if not options.images:
        raise NsbuildError("requires at least 1 arg(s), only received 0")
    store = Store.default()
    return each(options.images, lambda name: _print(pull_as_asked(store, name, options)))


def _print(images: list[Image]) -> None:
    sys.stdout.write("".join(f"{image.id}\n" for image in images))
    sys.stdout.flush()


def pull_as_asked(store: Store, name: str, options: argparse.Namespace) -> list[Image]:
    """Pull `name` as the options of `pull` say."""
    side = skopeo_options(options, "src")
    return pulled(store, name, options.quiet, side, _overrides(options))


def _overrides(options: argparse.Namespace) -> list[str]:
    wanted = {"os": options.os, "arch": options.arch, "variant": options.variant}
    if options.platform:
        words = options.platform.split("/")
        if not 2 <= len(words) <= 3 or not all(words) or any(wanted.values()):
            raise NsbuildError(
                f'invalid platform "{options.platform}": OS/ARCH[/VARIANT], and no --arch beside it'
            )
        wanted.update(zip(("os", "arch", "variant"), words, strict=False))
    return [f"--override-{key}={value}" for key, value in wanted.items() if value]
