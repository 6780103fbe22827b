"""nsbuild top: the processes of a container, as they are seen from outside: with real times."""

from __future__ import annotations

import os
import time

from nsbuild.cli import podman
from nsbuild.cli.containers import add_choice, chosen_names, open_records
from nsbuild.cli.output import table
from nsbuild.container.records import RUNNING
from nsbuild.container.view import supervisor_of
from nsbuild.errors import NsbuildError
from nsbuild.kernel.process import inner_number, read_small, read_whole, stat_fields, status_fields

_HEADINGS = ("USER", "PID", "PPID", "%CPU", "ELAPSED", "TTY", "TIME", "COMMAND")
_PARENT, _TTY, _USER_TIME, _SYSTEM_TIME, _START = 1, 4, 11, 12, 19
"""Fields of /proc/PID/stat as `stat_fields` has them, which begins with the third."""
_PTS_MAJOR = 136


def make_parser() -> podman.PodmanParser:
    """The parser of `nsbuild top`."""
    parser = podman.PodmanParser("top", "CONTAINER", "List the processes of a container.")
    add_choice(parser, every=(), many=False)
    return parser


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    podman.begin()
    options = make_parser().parse_args(arguments)
    records = open_records()
    name = chosen_names(options, "top", records)[0]
    try:
        record = records.find(name)
    except NsbuildError as error:
        raise NsbuildError(f"unable to look up requested container: {error}") from error
    records.close()
    podman.need(record.state == RUNNING, "top can only be used on running containers")
    rows = [_HEADINGS, *_processes(supervisor_of(record))]
    print(table(rows), end="")
    return 0


def _processes(supervisor: int) -> list[tuple[str, ...]]:
    """All of the container but its init, by number inside."""
    init = next((pid for pid in _children(supervisor) if _inner(pid) == 1), 0)
    if not init:
        raise NsbuildError("the container is about to end")
    found, pending = {}, _children(init)
    while pending:
        pid = pending.pop()
        try:
            found[_inner(pid)] = _row(pid)
            pending.extend(_children(pid))
        except OSError:
            # It has ended meanwhile.
            continue
    return [found[number] for number in sorted(found)]


def _children(pid: int) -> list[int]:
    """Who was forked by any of its threads (proc_tid_children(5))."""
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
        return [
            int(child)
            for task in tasks
            for child in read_whole(f"/proc/{pid}/task/{task}/children".encode()).split()
        ]
    except OSError:
        return []


def _inner(pid: int) -> int:
    return inner_number(read_small(f"/proc/{pid}/status"))


def _row(pid: int) -> tuple[str, ...]:
    status = read_small(f"/proc/{pid}/status")
    stat = stat_fields(f"/proc/{pid}")
    ticks = os.sysconf("SC_CLK_TCK")
    used = (int(stat[_USER_TIME]) + int(stat[_SYSTEM_TIME])) / ticks
    elapsed = max(time.clock_gettime(time.CLOCK_BOOTTIME) - int(stat[_START]) / ticks, 0.01)
    parent = _inner(int(stat[_PARENT]))
    words = read_whole(f"/proc/{pid}/cmdline".encode()).split(b"\0")
    command = b" ".join(words).decode(errors="replace").rstrip() or "?"
    terminal = int(stat[_TTY])
    tty = f"pts/{terminal & 0xFF}" if terminal >> 8 & 0xFF == _PTS_MAJOR else "?"
    return (
        _user(pid, int(status_fields(status)[b"Uid"].split()[1])),
        str(_inner(pid)),
        # Init is none of the container's own.
        str(parent if parent > 1 else 0),
        f"{100 * used / elapsed:.3f}",
        f"{elapsed:.9f}s",
        tty,
        f"{int(used)}s",
        command,
    )


def _user(pid: int, uid: int) -> str:
    """Its number inside; root by name."""
    for line in read_whole(f"/proc/{pid}/uid_map".encode()).splitlines():
        inside, outside, count = map(int, line.split())
        if outside <= uid < outside + count:
            number = inside + uid - outside
            return str(number) if number else "root"
    return str(uid)
