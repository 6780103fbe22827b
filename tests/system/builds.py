"""Builds of several calls, as tests drive them: a sequence of calls and of edits from outside."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.system.harness import Outcome, Runner, burn_pids, difference, load, next_second

Act = Callable[[Path], None]


class Build:
    """Calls of one build in a directory of its own."""

    def __init__(self, ns: Runner, options: Sequence[str] = ()) -> None:
        self.ns = ns
        self.cwd = ns.directory()
        self.state = ns.directory("state-")
        self.options = options

    def call(self, script: str, env: dict[str, str] | None = None) -> Outcome:
        options = [f"--state={self.state}", *self.options]
        return self.ns.exec("sh", "-c", script, options=options, cwd=self.cwd, env=env)

    def lines(self, script: str) -> list[str]:
        return self.call(script).ok().lines

    @property
    def saved(self) -> bytes:
        return (self.state / "state.json").read_bytes()

    def on_disk(self) -> list[str]:
        """What a program outside sees of the files that were left; of its own, no times."""
        found = {path: path.lstat().st_mtime_ns for path in sorted(self.cwd.rglob("*"))}
        day = 86400 * 10**9
        return [
            f"{path.relative_to(self.cwd)} {0 if abs(time.time_ns() - mtime) < day else mtime}"
            for path, mtime in found.items()
        ]


def own(ns: Runner, path: Path) -> None:
    os.chown(path, ns.account.uid, ns.account.gid)


def put(ns: Runner, path: Path, text: str) -> None:
    """Write a file from outside, as an editor does."""
    path.write_text(text)
    own(ns, path)


def sequence(
    ns: Runner, steps: Sequence[str | Act], env: dict[str, str] | None = None
) -> list[Outcome]:
    """Run calls and edits from outside; what they printed, and what is on the disk in the end."""
    build = Build(ns)
    seen = []
    for step in steps:
        if isinstance(step, str):
            seen.append(build.call(step, env).ok())
        else:
            step(build.cwd)
    return [*seen, Outcome(0, "\n".join(build.on_disk()).encode(), b"")]


def twice(ns: Runner, *steps: str | Act) -> list[Outcome]:
    """What two runs of a sequence have in common, or the test fails."""
    first = sequence(ns, steps)
    burn_pids()
    next_second(time.time())
    with load():
        second = sequence(ns, steps)
    for one, other in zip(first, second, strict=True):
        assert one == other, difference(one, other)
    return first


def edit(ns: Runner, name: str, text: str) -> Act:
    return lambda cwd: put(ns, cwd / name, text)


def start(build: Build, script: str, mark: dict[str, str]) -> subprocess.Popen[bytes]:
    ns = build.ns
    arguments = [] if ns.is_root else ["--sched=other"]
    arguments += ["-i", f"--state={build.state}", "/", "sh", "-c", script]
    return subprocess.Popen(
        ns.command("exec", *arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=ns.environment() | mark,
        cwd=build.cwd,
    )
