"""nsbuild start: run a container that is on record."""

from __future__ import annotations

from nsbuild.cli import podman
from nsbuild.cli.containers import add_choice, chosen_names, open_records
from nsbuild.cli.runspec import discard
from nsbuild.container.life import make_directories, run_detached, run_here
from nsbuild.container.records import RUNNING
from nsbuild.errors import NsbuildError


def make_parser() -> podman.PodmanParser:
    """The parser of `nsbuild start`."""
    parser = podman.PodmanParser("start", "[OPTIONS] CONTAINER...", "Start containers.")
    add = parser.add_argument
    add("-a", "--attach", action="store_true", help="in the foreground, with its output")
    add("-i", "--interactive", action="store_true", help="with our stdin, too")
    add_choice(parser, every=("--all",))
    return parser


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    podman.begin()
    options = make_parser().parse_args(arguments)
    records = open_records()
    names = chosen_names(options, "start", records)
    if options.attach or options.interactive:
        podman.need(len(names) == 1, "you cannot start and attach multiple containers at once")
        record = records.find(names[0])
        make_directories(records, record)
        return run_here(records, record, discard)
    records.close()
    return podman.each(names, _start)


def _start(name: str) -> None:
    # The records are opened for each, and `run_detached` closes them: the process that it forks
    # would believe in the locks of an open database, which stay with its parent (fcntl(2)), and
    # what it puts down there could be lost.
    records = open_records()
    record = records.find(name)
    if record.state == RUNNING:
        records.close()
        return
    make_directories(records, record)
    try:
        run_detached(records, record, discard)
    except NsbuildError as error:
        raise NsbuildError(f'unable to start container "{record.id}": {error}') from error
    print(name, flush=True)
