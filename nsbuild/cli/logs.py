"""nsbuild logs: what containers have written."""

from __future__ import annotations

import argparse
import os
import sys
import time

from nsbuild.cli import podman
from nsbuild.cli.containers import add_choice, chosen_names, open_records
from nsbuild.cli.runvalues import moment
from nsbuild.container.life import ends, open_front
from nsbuild.container.log import Line, read_log
from nsbuild.container.records import Record
from nsbuild.container.session import LOG
from nsbuild.container.terminal import write_all

_LOOK = 0.1
"""Seconds between two looks for more."""


def make_parser() -> podman.PodmanParser:
    """The parser of `nsbuild logs`."""
    parser = podman.PodmanParser("logs", "[OPTIONS] CONTAINER...", "Show what was written.")
    add = parser.add_argument
    add("-f", "--follow", action="store_true", help="go on until it ends")
    add("--tail", metavar="N", type=int, default=-1, help="only the last N lines")
    add("--since", metavar="TIME", help="only what came after")
    add("--until", metavar="TIME", help="only what came before")
    add("-t", "--timestamps", action="store_true", help="each line with its time")
    add("-n", "--names", action="store_true", help="each line with the container's name")
    add_choice(parser, every=())
    return parser


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    podman.begin()
    options = make_parser().parse_args(arguments)
    records = open_records()
    found = [records.find(name) for name in chosen_names(options, "logs", records)]
    places = [os.path.join(records.directory(record.id), LOG) for record in found]
    records.close()
    podman.need(len(found) == 1 or not options.follow, "cannot follow more than one container")
    since, until = (moment(text) if text else None for text in (options.since, options.until))
    for record, path in zip(found, places, strict=True):
        lines, offset = read_log(path)
        lines = [line for line in lines if _within(line, since, until)]
        for line in lines[-options.tail :] if options.tail > 0 else lines * (options.tail != 0):
            _show(options, record, line)
        if options.follow:
            _follow(options, record, path, offset)
    return 0


def _within(line: Line, since: str | None, until: str | None) -> bool:
    stamp = line.time.decode()
    return (since is None or stamp >= since) and (until is None or stamp <= until)


def _follow(options: argparse.Namespace, record: Record, path: str, offset: int) -> None:
    front = open_front(record)
    while True:
        # In this order: what was written before the end is read after it is known.
        over = front < 0 or ends(front, 0)
        lines, offset = read_log(path, offset)
        for line in lines:
            _show(options, record, line)
        if over:
            return
        time.sleep(_LOOK)


def _show(options: argparse.Namespace, record: Record, line: Line) -> None:
    head = b""
    if options.names:
        head += record.name.encode() + b" "
    if options.timestamps:
        head += line.time + b" "
    write_all(2 if line.stream == b"stderr" else 1, head + line.text)
    sys.stdout.flush()
