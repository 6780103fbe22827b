"""nsbuild diff: what a container has added, changed and deleted."""

from __future__ import annotations

import os

from nsbuild.cli import podman
from nsbuild.cli.containers import add_choice, one_record
from nsbuild.container.changes import changes
from nsbuild.container.specjson import decode
from nsbuild.container.terminal import write_all
from nsbuild.container.view import read

_JSON = {"A": "added", "C": "changed", "D": "deleted"}


def make_parser() -> podman.PodmanParser:
    """The parser of `nsbuild diff`."""
    parser = podman.PodmanParser("diff", "[OPTIONS] CONTAINER", "List what was changed.")
    parser.add_argument("--format", choices=("json",), help="as JSON")
    add_choice(parser, every=(), many=False)
    return parser


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    podman.begin()
    options = make_parser().parse_args(arguments)
    records, record = one_record(options, "diff")
    records.close()
    upper = decode(record.spec).root.target

    def act(_: str, before: str) -> None:
        found = list(changes(upper, before))
        if options.format:
            import json

            kinds: dict[str, list[str]] = {}
            for kind, path in found:
                kinds.setdefault(_JSON[kind], []).append(path)
            text = json.dumps(kinds, indent=5) + "\n"
        else:
            text = "".join(f"{kind} {path}\n" for kind, path in found)
        write_all(1, os.fsencode(text))

    read(record, act)
    return 0
