"""nsbuild export: all files of a container as a tar archive, the same bytes for the same files."""

from __future__ import annotations

import os

from nsbuild.cli import podman
from nsbuild.cli.containers import add_choice, one_record
from nsbuild.container.records import RUNNING
from nsbuild.container.view import read, settle
from nsbuild.errors import NsbuildError
from nsbuild.images.layertar import write_layer


def make_parser() -> podman.PodmanParser:
    """The parser of `nsbuild export`."""
    parser = podman.PodmanParser("export", "[OPTIONS] CONTAINER", "Write a tar archive.")
    parser.add_argument("-o", "--output", metavar="FILE", help="write it to FILE, not to stdout")
    add_choice(parser, every=(), many=False)
    return parser


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    podman.begin()
    options = make_parser().parse_args(arguments)
    records, record = one_record(options, "export")
    if record.state == RUNNING:
        settle(records, record)
    records.close()
    podman.need(
        options.output is not None or not os.isatty(1),
        "refusing to export to terminal. Use -o flag or redirect",
    )
    try:
        out = (
            os.dup(1)
            if options.output is None
            else os.open(
                options.output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666
            )
        )
    except OSError as error:
        raise NsbuildError.from_os(f"cannot write {options.output}", error) from error
    with open(out, "wb") as file:

        def act(tree: str, _: str) -> None:
            write_layer(tree, file, upper=False)
            file.flush()

        read(record, act)
    return 0
