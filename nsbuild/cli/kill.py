"""nsbuild kill: send the commands of containers a signal."""

from __future__ import annotations

from nsbuild.cli import podman
from nsbuild.cli.containers import add_choice, each_record
from nsbuild.cli.runvalues import signal_number
from nsbuild.container.life import send_signal
from nsbuild.container.records import RUNNING, Record, Records
from nsbuild.errors import NsbuildError


def make_parser() -> podman.PodmanParser:
    """The parser of `nsbuild kill`."""
    parser = podman.PodmanParser("kill", "[OPTIONS] CONTAINER...", "Signal containers.")
    parser.add_argument("-s", "--signal", metavar="SIGNAL", default="KILL", help="which (KILL)")
    add_choice(parser)
    return parser


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    podman.begin()
    options = make_parser().parse_args(arguments)
    number = signal_number(options.signal)

    def act(records: Records, record: Record, name: str) -> None:
        if record.state != RUNNING:
            if options.all:
                return
            raise NsbuildError(
                f"can only kill running containers. {record.id} is in state {record.state}: "
                "container state improper"
            )
        send_signal(records, record, number)
        print(name, flush=True)

    return each_record(options, "kill", act)
