"""nsbuild images: list what is in the store."""

from __future__ import annotations

import argparse
import fnmatch
import sys
from collections.abc import Callable

from nsbuild.cli import human, imageview
from nsbuild.cli.output import formatted, pretty_json
from nsbuild.cli.podman import PodmanParser, begin
from nsbuild.errors import NsbuildError
from nsbuild.images import reference
from nsbuild.images.documents import Image
from nsbuild.images.lookup import choose
from nsbuild.images.store import Store

HEADINGS = {"ID": "IMAGE ID", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT"}
_SORTS: dict[str, Callable[[Image], object]] = {
    "created": lambda image: -human.moment(imageview.created(image)).timestamp(),
    "id": lambda image: image.id,
    "repository": lambda image: (
        reference.repository_and_tag(image.names[0])[0] if image.names else ""
    ),
    "size": lambda image: image.size,
    "tag": lambda image: reference.repository_and_tag(image.names[0])[1] if image.names else "",
}


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    begin()
    options = _parser().parse_args(arguments)
    store = Store.default()
    everything = store.images()
    filters = _filters(options.filter)
    images = [image for image in everything if _wanted(image, everything, options.name, filters)]
    images.sort(key=_SORTS[options.sort])  # type: ignore[arg-type]
    if options.quiet:
        shown = dict.fromkeys(
            f"sha256:{image.id}" if options.no_trunc else image.id[: imageview.SHORT]
            for image in images
        )
        sys.stdout.write("".join(f"{identity}\n" for identity in shown))
    elif options.format == "json":
        lines = [imageview.summary(image, len(store.users(image))) for image in images]
        sys.stdout.write(pretty_json(lines, indent=4))
    else:
        _table(store, images, options)
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


def _table(store: Store, images: list[Image], options: argparse.Namespace) -> None:
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
        for image in images
        for name in image.names or ("",)
        if not options.name or not name or _names(options.name, name, image)
    ]
    sys.stdout.write(formatted(template, rows, HEADINGS, not options.noheading, "images"))


def _names(text: str, name: str, image: Image) -> bool:
    """Whether IMAGE means this line: a name without a tag means all tags."""
    if choose([image], text) is None:
        return False
    try:
        wanted = reference.parse(text)
    except NsbuildError:
        return True
    if image.id.startswith(reference.id_prefix(text) or "-"):
        return True
    return not wanted.tag or wanted.tag == reference.repository_and_tag(name)[1]


def _wanted(
    image: Image, everything: list[Image], name: str | None, filters: dict[str, list[str]]
) -> bool:
    if name and not _is_meant(image, name):
        return False
    return all(
        any(FILTERS[key](image, value, everything) for value in asked)
        for key, asked in filters.items()
    )


def _filters(texts: list[str]) -> dict[str, list[str]]:
    """The values of each filter, of which one has to fit."""
    filters: dict[str, list[str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or key not in FILTERS:
            raise NsbuildError(
                f'invalid image filter "{text}": must be in the format "filter=value"'
                if not equals
                else f'unsupported image filter "{key}"'
            )
        filters.setdefault(key, []).append(value)
    return filters


def _is_meant(image: Image, text: str) -> bool:
    if choose([image], text) is not None:
        return True
    try:
        wanted = reference.parse(text)
    except NsbuildError:
        return False
    if wanted.tag or wanted.digest:
        return False
    repositories = {reference.repository_and_tag(name)[0] for name in image.names}
    return any(f"/{one}".endswith(f"/{wanted.repository}") for one in repositories)


def _label(image: Image, value: str) -> bool:
    key, equals, text = value.partition("=")
    found = imageview.labels(image)
    return key in found and (not equals or found[key] == text)


def _reference(image: Image, value: str) -> bool:
    return any(
        fnmatch.fnmatchcase(form, value)
        for name in image.names
        for form in (name, reference.repository_and_tag(name)[0], name.partition("/")[2])
    )


def _relative(sign: int) -> Callable[[Image, str, list[Image]], bool]:
    def compare(image: Image, value: str, everything: list[Image]) -> bool:
        other = choose(everything, value)
        if other is None:
            raise NsbuildError(f"could not find local image for filter: {value}: image not known")
        mine, its = (human.moment(imageview.created(one)).timestamp() for one in (image, other))
        return (mine - its) * sign > 0

    return compare


FILTERS: dict[str, Callable[[Image, str, list[Image]], bool]] = {
    "after": _relative(1),
    "since": _relative(1),
    "before": _relative(-1),
    "dangling": lambda image, value, _: (not image.names) == (value.lower() in ("true", "1")),
    "id": lambda image, value, _: image.id.startswith(value),
    "label": lambda image, value, _: _label(image, value),
    "reference": lambda image, value, _: _reference(image, value),
}
