"""A whole package build: Debian's hello, bare and under nsbuild, in turns, on one CPU.

As it comes nsbuild changes between CPUs (nsbuild/supervisor/rotation.py), of which it uses one at a
time; the row with --cpu shows what that is worth where the kernel stops SCHED_FIFO.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.common import (
    CACHE,
    REPO,
    alternate,
    anywhere,
    cpu,
    inside,
    output,
    pinned,
    python_only,
    seconds,
    table,
    throttled,
    title,
    unthrottled,
)

BUILD = "dpkg-source -x hello_*.dsc hello && cd hello && dpkg-buildpackage -b -us -uc"
FETCH = REPO / "tests" / "acceptance" / "fetch-source.sh"
# What nsbuild sets as well, so that both build one process at a time.
PLAIN = ("env", "DEB_BUILD_OPTIONS=parallel=1", "MAKEFLAGS=-j1", "LANG=C.UTF-8")


def build(source: Path, directory: Path, command: Sequence[str | Path]) -> float:
    """Build in a fresh copy of the source package; seconds of the build alone."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for part in source.glob("hello_*"):
        shutil.copy2(part, directory)
    os.sync()
    return seconds(command, directory)


def build_unthrottled(source: Path, directory: Path, command: Sequence[str | Path]) -> float:
    """The same while the host's SCHED_FIFO is not stopped for 50 ms of each second."""
    with unthrottled():
        return build(source, directory, command)


def main(quick: bool) -> None:
    """Print the table."""
    base = CACHE / "hello"
    output([FETCH, base / "source", "hello"])
    script = ["sh", "-ec", BUILD]
    commands: dict[str, list[str | Path]] = {
        "bare": pinned(*PLAIN, *script),
        "nsbuild": anywhere(*script),
        f"nsbuild --cpu={cpu()}": inside(*script),
        "nsbuild, Python only": python_only(anywhere(*script)),
        "bwrap": pinned("bwrap", "--dev-bind", "/", "/", "--unshare-pid", *PLAIN, *script),
    }
    if quick:
        del commands["bwrap"]
    title("Debian's hello, dpkg-buildpackage -b, one CPU")
    measures = {
        name: partial(build, base / "source", base / name, command)
        for name, command in commands.items()
    }
    if throttled():
        measures[f"nsbuild --cpu={cpu()}, unthrottled"] = partial(
            build_unthrottled, base / "source", base / "nsbuild", inside(*script)
        )
    table(alternate(measures, 1 if quick else 3, warm_up=False), "s", 1, "bare")
