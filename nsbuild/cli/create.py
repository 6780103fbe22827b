"""nsbuild create: a container from an image, to be started later."""

from __future__ import annotations

from nsbuild.cli import podman, runspec


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    podman.begin()
    options = runspec.make_parser("create").parse_args(arguments)
    records, record = runspec.create(options, "create", arguments)
    records.close()
    runspec.print_id(record)
    return 0
