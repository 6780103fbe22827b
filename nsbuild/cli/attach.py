"""nsbuild attach: see what a container that runs writes, and feed it."""

from __future__ import annotations

from nsbuild.cli import podman
from nsbuild.cli.containers import add_choice, one_record
from nsbuild.container.records import RUNNING
from nsbuild.container.visit import attach


def make_parser() -> podman.PodmanParser:
    """The parser of `nsbuild attach`."""
    parser = podman.PodmanParser(
        "attach", "[OPTIONS] CONTAINER", "Attach to a container that runs; Ctrl-P Ctrl-Q detaches."
    )
    parser.add_argument("--no-stdin", action="store_true", help="only look")
    add_choice(parser, every=(), many=False)
    return parser


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    podman.begin()
    options = make_parser().parse_args(arguments)
    records, record = one_record(options, "attach")
    directory = records.directory(record.id)
    records.close()
    podman.need(record.state == RUNNING, "you can only attach to running containers")
    return attach(directory, not options.no_stdin)
