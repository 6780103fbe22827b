"""nsbuild wait: wait for containers to end, and print their exit codes."""

from __future__ import annotations

from nsbuild.cli import podman
from nsbuild.cli.containers import add_choice, each_record
from nsbuild.container.life import await_exit
from nsbuild.container.records import Record, Records


def make_parser() -> podman.PodmanParser:
    """The parser of `nsbuild wait`."""
    parser = podman.PodmanParser("wait", "CONTAINER...", "Wait until containers have ended.")
    add_choice(parser, every=())
    return parser


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    podman.begin()
    options = make_parser().parse_args(arguments)
    podman.need(
        bool(options.containers or options.latest),
        '"nsbuild wait" requires a name, id, or the "--latest" flag',
    )

    def act(records: Records, record: Record, _name: str) -> None:
        print(await_exit(records, record), flush=True)

    return each_record(options, "wait", act)
