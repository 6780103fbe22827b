"""nsbuild import: make an image of a root file system's tarball."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from typing import Any

from nsbuild.cli import values
from nsbuild.cli.podman import PodmanParser, begin
from nsbuild.cli.progress import Progress
from nsbuild.determinism.clock import DEFAULT_EPOCH
from nsbuild.errors import NsbuildError
from nsbuild.images import changes, reference
from nsbuild.images.documents import Image
from nsbuild.images.store import Store
from nsbuild.images.transfer import spool

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    begin()
    parser = PodmanParser(
        "import",
        "[OPTIONS] PATH|- [REFERENCE]",
        "Make an image of a tarball of a root file system, packed or not; prints its id.",
    )
    add = parser.add_argument
    add("-c", "--change", metavar="WORDS", action="append", default=[], help="as a Containerfile")
    add("-m", "--message", help="a comment on it")
    add("--arch", help="the architecture that it says it is for (ours)")
    add("--os", default="linux", help="(linux)")
    add("--variant", help="of the architecture")
    add("-q", "--quiet", action="store_true", help="say nothing but the result")
    add("path", metavar="PATH", nargs="?")
    add("reference", metavar="REFERENCE", nargs="?")
    options = parser.parse_args(arguments)
    if not options.path:
        raise NsbuildError(
            "need to give the path to the tarball, or must specify a tarball of '-' for stdin"
        )
    names = (reference.local(options.reference),) if options.reference else ()
    architecture = options.arch or _ARCHITECTURES.get(os.uname().machine, os.uname().machine)
    config: dict[str, Any] = {"architecture": architecture, "os": options.os, "config": {}}
    if options.variant:
        config["variant"] = options.variant
    store = Store.default()
    with Progress(options.quiet) as progress:
        store.say, store.advance = progress.say, progress.advance
        config = changes.apply(config, options.change)
        image = _import(store, options.path, config, options.message, names)
    sys.stdout.write(f"sha256:{image.id}\n")
    return 0


def _import(
    store: Store, path: str, config: dict[str, Any], message: str | None, names: tuple[str, ...]
) -> Image:
    if "://" in path:
        raise NsbuildError(f"cannot import {path}: it is not a file", "download it first")
    if path != "-" and not os.path.exists(path):
        raise NsbuildError(f'error opening "{path}": open {path}: no such file or directory')
    try:
        with store.place.workshop() as shop:
            layer = store.add_archive(spool(shop) if path == "-" else path)
        step = {
            "created": created(),
            "created_by": f"/bin/sh -c #(nop) ADD file:{layer.diff_id[7:]} in /",
        }
        if message:
            step["comment"] = message
        whole = {**config, "created": step["created"], "history": [step]}
        return store.commit([layer], whole, names, unpack=True)
    finally:
        store.close()


def created() -> str:
    """When images that are made here say they were: SOURCE_DATE_EPOCH, or the default epoch."""
    asked = os.environ.get("SOURCE_DATE_EPOCH")
    seconds = values.epoch("SOURCE_DATE_EPOCH", asked) if asked else DEFAULT_EPOCH
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
