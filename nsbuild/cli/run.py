"""nsbuild run: a command in a new container from an image."""

from __future__ import annotations

from nsbuild.cli import podman, runspec
from nsbuild.container.life import run_detached, run_here


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    podman.begin()
    options = runspec.make_parser("run").parse_args(arguments)
    records, record = runspec.create(options, "run", arguments)
    if not options.detach:
        return run_here(records, record, runspec.discard)
    run_detached(records, record, runspec.discard)
    runspec.print_id(record)
    return 0
