"""nsbuild history: the steps by which an image was made."""

from __future__ import annotations

import sys
from typing import Any

from nsbuild.cli import human, imageview
from nsbuild.cli.output import formatted, pretty_json
from nsbuild.cli.podman import PodmanParser, begin
from nsbuild.cli.registry import flag
from nsbuild.errors import NsbuildError
from nsbuild.images.store import Store

HEADINGS = {"CreatedBy": "CREATED BY", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT"}
DEFAULT = "table {{.ID}}\t{{.Created}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
_LONGEST = 45


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    begin()
    parser = PodmanParser("history", "[OPTIONS] IMAGE", "Show how an image was made.")
    add = parser.add_argument
    add("--format", metavar="TEMPLATE", help="json, or a template of Go for each line")
    add(
        "-H",
        "--human",
        metavar="BOOL",
        nargs="?",
        const=True,
        default=True,
        type=flag,
        help="show sizes and times for people (true)",
    )
    add("--no-trunc", action="store_true", help="show ids and commands as they are")
    add("-q", "--quiet", action="store_true", help="show ids alone")
    add("images", metavar="IMAGE", nargs="*")
    options = parser.parse_args(arguments)
    if len(options.images) != 1:
        raise NsbuildError(f"accepts 1 arg(s), received {len(options.images)}")
    lines = imageview.history(Store.default().image(options.images[0]))
    if options.quiet:
        short = 64 if options.no_trunc else imageview.SHORT
        sys.stdout.write("".join(f"{line['id'][:short]}\n" for line in lines))
    elif options.format == "json":
        sys.stdout.write(pretty_json(lines, indent=4))
    else:
        rows = [_row(line, options.human, not options.no_trunc) for line in lines]
        sys.stdout.write(formatted(options.format or DEFAULT, rows, HEADINGS, name="history"))
    return 0


def _row(line: dict[str, Any], for_people: bool, truncate: bool) -> dict[str, Any]:
    when = human.moment(line["created"])
    command = line["CreatedBy"]
    if truncate and len(command) > _LONGEST:
        command = f"{command[: _LONGEST - 3]}..."
    return {
        "ID": line["id"][: imageview.SHORT] if truncate else line["id"],
        "Created": human.ago(when) if for_people else line["created"],
        "CreatedSince": human.ago(when),
        "CreatedAt": line["created"],
        "CreatedBy": command,
        "Size": human.size(line["size"]) if for_people else line["size"],
        "Comment": line["comment"],
        "Tags": line["tags"],
    }
