"""nsbuild container: the verbs about containers once more, and prune."""

from __future__ import annotations

import importlib
import sys

from nsbuild.cli import podman
from nsbuild.cli.containers import open_records
from nsbuild.container.records import RUNNING
from nsbuild.errors import NsbuildError

SAME = (
    "attach",
    "commit",
    "cp",
    "create",
    "diff",
    "exec",
    "export",
    "kill",
    "logs",
    "ps",
    "rm",
    "run",
    "start",
    "stop",
    "top",
    "wait",
)
ALIASES = {"ls": "ps", "list": "ps"}


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    podman.begin()
    verb, *rest = arguments or [""]
    verb = ALIASES.get(verb, verb)
    if verb == "prune":
        return _prune(rest)
    if verb == "exists":
        return _exists(rest)
    if verb == "inspect":
        from nsbuild.cli.inspect import container

        return container(rest)
    if verb in SAME:
        return int(importlib.import_module(f"nsbuild.cli.{verb}").main(rest))
    if verb in ("--help", "help"):
        names = ", ".join(sorted((*SAME, *ALIASES, "exists", "inspect", "prune")))
        sys.stdout.write(f"usage: nsbuild container VERB [ARGUMENT...]\n\nverbs: {names}\n")
        return 0
    if not verb:
        raise NsbuildError("missing command 'nsbuild container COMMAND'")
    podman.refuse_verb(verb)
    raise NsbuildError(f"unrecognized command `nsbuild container {verb}`")


def _prune(arguments: list[str]) -> int:
    """Remove all containers that do not run."""
    from nsbuild.cli.runspec import discard

    parser = podman.PodmanParser("container prune", "[OPTIONS]", "Remove all that do not run.")
    parser.add_argument("-f", "--force", action="store_true", help="without asking")
    options = parser.parse_args(arguments)
    if not options.force:
        sys.stdout.write(
            "WARNING! This will remove all non running containers.\n"
            "Are you sure you want to continue? [y/N] "
        )
        sys.stdout.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            return 0
    records = open_records()
    ids = {one.id: one for one in records.all() if one.state != RUNNING}

    def act(identity: str) -> None:
        discard(records, ids[identity])
        sys.stdout.write(f"{identity}\n")

    return podman.each(list(ids), act)


def _exists(arguments: list[str]) -> int:
    """Exit with 0 if the container exists, else with 1."""
    parser = podman.PodmanParser("container exists", "CONTAINER", "Whether it exists.")
    parser.add_argument("container", metavar="CONTAINER")
    try:
        open_records().find(parser.parse_args(arguments).container)
    except NsbuildError:
        return 1
    return 0
