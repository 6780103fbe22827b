"""nsbuild images: list what is in the store."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from nsbuild.cli import human, imagefilters, imageview
from nsbuild.cli.output import formatted, pretty_json
from nsbuild.cli.podman import PodmanParser, begin
from nsbuild.images.documents import Image
from nsbuild.images.store import Store

HEADINGS = {"ID": "IMAGE ID", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT"}
_Line = tuple[Image, str]
"""An image and one of its names, or an empty one."""

_SORTS: dict[str, Callable[[_Line], tuple[float, str]]] = {
    "created": lambda line: (-human.moment(imageview.created(line[0])).timestamp(), ""),
    "id": lambda line: (0, line[0].id),
    "repository": lambda line: (0, line[1]),
    "size": lambda line: (line[0].size, ""),
    "tag": lambda line: (0, line[1].rpartition(":")[2]),
}


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    begin()
    options = _parser().parse_args(arguments)
    store = Store.default()
    filters = imagefilters.parse(options.filter)
    everything = store.images()
    lines = [
        (image, name)
        for image in everything
        if (not options.name or imagefilters.is_meant(image, options.name))
        and imagefilters.passes(image, filters, everything)
        for name in image.names or ("",)
    ]
    lines.sort(key=_SORTS[options.sort])
    # An image with several names once.
    images = list({image.id: image for image, _ in lines}.values())
    if options.quiet:
        whole = options.no_trunc
        ids = (f"sha256:{one.id}" if whole else one.id[: imageview.SHORT] for one in images)
        sys.stdout.write("".join(f"{identity}\n" for identity in ids))
    elif options.format == "json":
        shown = [imageview.summary(image, len(store.users(image))) for image in images]
        sys.stdout.write(pretty_json(shown, indent=4))
    else:
        _table(store, lines, options)
    return 0


def _parser() -> PodmanParser:
    parser = PodmanParser("images", "[OPTIONS] [IMAGE]", "List the images of the store.")
    add = parser.add_argument
    add("-a", "--all", action="store_true", help="there are no hidden ones: the same without")
    add("--digests", action="store_true", help="show digests")
    add("-f", "--filter", metavar="KEY=VALUE", action="append", default=[], help="show those alone")
    add("--format", metavar="TEMPLATE", help="json, or a template of Go for each line")
    add("--history", action="store_true", help="show the names that it has had")
    add("--no-trunc", action="store_true", help="show ids as they are")
    add("-n", "--noheading", action="store_true", help="show no headings")
    add("-q", "--quiet", action="store_true", help="show ids alone")
    add("--sort", choices=tuple(_SORTS), default="created", help="(created)")
    add("name", metavar="IMAGE", nargs="?")
    return parser


def _table(store: Store, lines: list[_Line], options: argparse.Namespace) -> None:
    columns = ["Repository", "Tag", "ID", "CreatedSince", "Size"]
    if options.digests:
        columns.insert(2, "Digest")
    if options.history:
        columns.append("History")
    template = options.format or "table " + "\t".join(
        '{{join .History ", "}}' if name == "History" else "{{." + name + "}}" for name in columns
    )
    rows = [
        imageview.row(image, name, len(store.users(image)), truncate=not options.no_trunc)
        for image, name in lines
    ]
    sys.stdout.write(formatted(template, rows, HEADINGS, not options.noheading, "images"))
