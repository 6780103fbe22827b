"""nsbuild stop: ask containers to end, and end them if they do not."""

from __future__ import annotations

from nsbuild.cli import podman
from nsbuild.cli.containers import add_choice, each_record
from nsbuild.container.life import stop
from nsbuild.container.records import RUNNING, Record, Records


def make_parser() -> podman.PodmanParser:
    """The parser of `nsbuild stop`."""
    parser = podman.PodmanParser("stop", "[OPTIONS] CONTAINER...", "Stop containers.")
    add = parser.add_argument
    add("-t", "--time", metavar="SECONDS", type=float, help="real time to wait before killing (10)")
    add("-i", "--ignore", action="store_true", help="no word about a missing one")
    add_choice(parser)
    return parser


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    podman.begin()
    options = make_parser().parse_args(arguments)

    def act(records: Records, record: Record, name: str) -> None:
        if options.all and record.state != RUNNING:
            return
        facts = record.facts
        seconds = facts["stop_timeout"] if options.time is None else options.time
        stop(records, record, seconds, facts["stop_signal"])
        print(name, flush=True)

    return each_record(options, "stop", act, options.ignore)
