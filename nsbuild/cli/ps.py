"""nsbuild ps: the containers on record, as Podman lists them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from nsbuild.cli import podman
from nsbuild.cli.containers import check_filters, matches, open_records
from nsbuild.cli.spans import ago, stamp
from nsbuild.container.names import SHORT
from nsbuild.container.network import is_private
from nsbuild.container.records import CREATED, EXITED, RUNNING, Record

_TABLE = (
    "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"
)
_HEADINGS = {
    "ID": "CONTAINER ID",
    "RunningFor": "CREATED",
    "CreatedAt": "CREATED AT",
    "ExitCode": "EXIT CODE",
    "ImageID": "IMAGE ID",
    "StartedAt": "STARTED AT",
}
_LONGEST_COMMAND = 17
_ZERO = -62135596800
"""Go's zero time in seconds since 1970."""
_SORTS: dict[str, Callable[[Record], Any]] = {
    "command": lambda record: record.facts["command"],
    "created": lambda record: record.created,
    "id": lambda record: record.id,
    "image": lambda record: record.image,
    "names": lambda record: record.name,
    "runningfor": lambda record: record.started,
    "status": lambda record: record.state,
}


def make_parser() -> podman.PodmanParser:
    """The parser of `nsbuild ps`."""
    parser = podman.PodmanParser("ps", "[OPTIONS]", "List containers: those that run.")
    add = parser.add_argument
    add("-a", "--all", action="store_true", help="those that do not run, too")
    add("-q", "--quiet", action="store_true", help="ids only")
    add("-f", "--filter", metavar="NAME=VALUE", action="append", default=[], help="only such")
    add("--format", metavar="TEMPLATE", help="a Go template, or json")
    add("--no-trunc", action="store_true", help="whole ids and commands")
    add("--noheading", action="store_true", help="no line of headings")
    add("-n", "--last", metavar="N", type=int, help="the last N, whether they run or not")
    add("-l", "--latest", action="store_true", help="the last one")
    add("--sort", choices=sorted(_SORTS), default="created", help="the order (created)")
    return parser


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    podman.begin()
    options = make_parser().parse_args(arguments)
    check_filters(options.filter)
    records = open_records()
    found = records.all()
    records.close()
    last = 1 if options.latest else options.last
    everything = options.all or last is not None or _about_state(options.filter)
    found = [one for one in found if everything or one.state == RUNNING]
    found = [one for one in found if matches(one, options.filter, shown_state)]
    if last is not None:
        found = found[-last:] if last else []
    found.sort(key=_SORTS[options.sort])
    if options.quiet:
        ids = (one.id if options.no_trunc else one.id[:SHORT] for one in found)
        sys.stdout.write("".join(f"{identity}\n" for identity in ids))
        return 0
    sys.stdout.write(_shown(found, options.format or _TABLE, options.no_trunc, options.noheading))
    return 0


def _about_state(filters: list[str]) -> bool:
    return any(text.partition("=")[0] in ("status", "exited") for text in filters)


def _shown(found: list[Record], template: str, whole: bool, bare: bool) -> str:
    from nsbuild.cli.output import formatted

    if template == "json":
        import json

        return json.dumps([as_json(one) for one in found], indent=2) + "\n"
    rows = [_row(one, whole) for one in found]
    return formatted(template, rows, _HEADINGS, heading=not bare, name="ps")


def shown_state(record: Record) -> str:
    """A container's state as Podman calls it."""
    return EXITED if record.state not in (CREATED, RUNNING) else record.state


def status(record: Record) -> str:
    """What stands under STATUS."""
    if record.state == RUNNING:
        return f"Up {ago(record.started)}"
    if record.state == CREATED:
        return "Created"
    return f"Exited ({record.code}) {ago(record.finished)}"


def words(record: Record) -> list[str]:
    """The command, as it is shown: without the entry point."""
    facts = record.facts
    return [str(word) for word in facts["command"] or facts["entrypoint"]]


def _row(record: Record, whole: bool) -> dict[str, Any]:
    command = " ".join(words(record))
    if not whole and len(command) > _LONGEST_COMMAND:
        command = command[:_LONGEST_COMMAND] + "..."
    labels, root = record.facts["labels"], _root(record)
    return {
        "ID": record.id if whole else record.id[:SHORT],
        "Image": record.image,
        "ImageID": record.image_id if whole else record.image_id[:SHORT],
        "Command": command,
        "CreatedAt": stamp(record.created, " ", " +0000 UTC"),
        "CreatedHuman": ago(record.created),
        "RunningFor": ago(record.created),
        "Created": stamp(record.created, " ", " +0000 UTC"),
        "Status": status(record),
        "State": shown_state(record),
        "Ports": "",
        "Names": record.name,
        "Exited": record.state == EXITED,
        "ExitedAt": record.finished // 1_000_000_000 if record.finished else _ZERO,
        "ExitCode": record.code,
        "Pid": record.pid,
        "Mounts": [volume["target"] for volume in (*root["volumes"], *root["kept"])],
        "Labels": labels,
        "Label": lambda name: labels.get(name, ""),
        "Networks": root["network"] if is_private(root["network"]) else "",
        "StartedAt": record.started // 1_000_000_000 if record.started else _ZERO,
        "AutoRemove": record.facts["rm"],
    }


def _root(record: Record) -> dict[str, Any]:
    """What its root is made of."""
    import json

    root: dict[str, Any] = json.loads(record.spec)["root"]
    return root


def as_json(record: Record) -> dict[str, Any]:
    """A container in the JSON of `ps`."""
    row = _row(record, True)
    return {
        "AutoRemove": row["AutoRemove"],
        "Command": words(record),
        "CreatedAt": row["CreatedHuman"],
        "Exited": row["Exited"],
        "ExitedAt": row["ExitedAt"],
        "ExitCode": row["ExitCode"],
        "Id": record.id,
        "Image": record.image,
        "ImageID": record.image_id,
        "IsInfra": False,
        "Labels": row["Labels"] or None,
        "Mounts": row["Mounts"],
        "Names": [record.name],
        "Networks": [row["Networks"]] if row["Networks"] else [],
        "Pid": record.pid,
        "Ports": None,
        "Size": None,
        "StartedAt": row["StartedAt"],
        "State": row["State"],
        "Status": row["Status"],
        "Created": record.created // 1_000_000_000,
    }
