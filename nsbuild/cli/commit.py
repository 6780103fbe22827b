"""nsbuild commit: an image of what a container was made from and what it has changed.

The time in it is the epoch of the container's clock, so that two containers that have done the same
give one image.
"""

from __future__ import annotations

import sys

from nsbuild.cli import podman
from nsbuild.cli.containers import open_records
from nsbuild.cli.spans import stamp
from nsbuild.container.records import RUNNING
from nsbuild.container.specjson import decode
from nsbuild.container.view import settle
from nsbuild.errors import NsbuildError
from nsbuild.images import changes, reference
from nsbuild.images.store import Store


def make_parser() -> podman.PodmanParser:
    """The parser of `nsbuild commit`."""
    parser = podman.PodmanParser("commit", "[OPTIONS] CONTAINER [IMAGE]", "Make an image.")
    add = parser.add_argument
    add("-a", "--author", default="", help="who has made it")
    add("-m", "--message", default="", help="what for")
    add("-c", "--change", metavar="LINE", action="append", default=[], help="CMD, ENV, LABEL ...")
    add("--iidfile", metavar="FILE", help="write the id to FILE")
    add("-q", "--quiet", action="store_true", help="nothing but the id, as always")
    add("container", metavar="CONTAINER", help="a name or id")
    add("image", metavar="IMAGE", nargs="?", help="what to call the image")
    return parser


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    podman.begin()
    options = make_parser().parse_args(arguments)
    records = open_records()
    record = records.find(options.container)
    spec = decode(record.spec)
    if not spec.root.layers:
        raise NsbuildError(f"container {record.name} has a directory as its root, and no image")
    if record.state == RUNNING:
        settle(records, record)
    records.close()
    names = (reference.local(options.image),) if options.image else ()
    store = Store.default()
    base = store.image(record.image_id)
    config = changes.apply(base.config, options.change)
    created = stamp(spec.rules.rates.epoch)
    config["created"] = created
    if options.author:
        config["author"] = options.author
    entry = {"created": created, "created_by": " ".join(spec.command.argv)}
    entry.update({"author": options.author} if options.author else {})
    entry.update({"comment": options.message} if options.message else {})
    config["history"] = [*config.get("history", []), entry]
    try:
        layer = store.add_layer(spec.root.target, upper=True)
        image = store.commit((*base.layers, layer), config, names)
    finally:
        store.close()
    if options.iidfile:
        with open(options.iidfile, "w") as file:
            file.write(image.id)
    sys.stdout.write(f"{image.id}\n")
    return 0
