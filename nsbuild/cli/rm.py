"""nsbuild rm: remove containers, with all that they have written."""

from __future__ import annotations

import signal

from nsbuild.cli import podman
from nsbuild.cli.containers import add_choice, chosen_names, open_records
from nsbuild.cli.runspec import discard, discard_by_force
from nsbuild.errors import NsbuildError, report

_EXIT_NONE = 1
"""What Podman exits with if one of the containers does not exist."""


def make_parser() -> podman.PodmanParser:
    """The parser of `nsbuild rm`."""
    parser = podman.PodmanParser("rm", "[OPTIONS] CONTAINER...", "Remove containers.")
    add = parser.add_argument
    add("-f", "--force", action="store_true", help="also one that runs, which is killed")
    add("-i", "--ignore", action="store_true", help="no word about a missing one")
    add("-t", "--time", metavar="SECONDS", type=float, help="ask first, and wait so long")
    add("-v", "--volumes", action="store_true", help="with its anonymous volumes, as always")
    add_choice(parser)
    return parser


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    podman.begin()
    options = make_parser().parse_args(arguments)
    records = open_records()
    code = 0
    for name in chosen_names(options, "rm", records):
        try:
            record = records.find(name)
        except NsbuildError as error:
            if not (options.ignore or options.force):
                report(str(error))
                code = code or _EXIT_NONE
            continue
        try:
            if options.force:
                gently = options.time is not None
                number = record.facts["stop_signal"] if gently else signal.SIGKILL
                discard_by_force(records, record, options.time or 0, number)
            else:
                discard(records, record)
            print(name, flush=True)
        except NsbuildError as error:
            report(str(error))
            code = error.code
    records.close()
    return code
