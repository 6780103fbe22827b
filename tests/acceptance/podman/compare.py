"""Runs the session with Podman and with nsbuild, and compares field by field.

Ids, times and spans are replaced by what they are; of Podman's stderr, its warnings about the
machine that it runs on do not count.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.acceptance.podman.session import IMAGE, STEPS, Step
from tests.system.containerbox import write_tarball

TIMEOUT = 60
_NORMAL = (
    (re.compile(r"\b[0-9a-f]{64}\b"), "<ID>"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"(Less than a second|About a minute|\d+ (second|minute)s?) ago"), "<ago>"),
    (re.compile(r"\bpodman\b"), "nsbuild"),
    (re.compile(r" {2,}"), "  "),
)
_NOISE = re.compile(r'^time="|^\s*$')


class Seen(NamedTuple):
    """What a step gave, normalised."""

    code: int
    stdout: str
    stderr: str


class Tool:
    """A program that understands the session, with a store of its own."""

    def __init__(self, command: list[str], extra: list[str], environment: dict[str, str]) -> None:
        self._command = command
        self._extra = extra
        self._environment = os.environ | environment

    def __call__(self, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run one command."""
        extra = self._extra if words[0] in ("run", "create") and len(words) > 2 else []
        line = [*self._command, words[0], *extra, *words[1:]]
        return subprocess.run(
            line,
            input=stdin,
            capture_output=True,
            env=self._environment,
            timeout=TIMEOUT,
            check=False,
        )

    def step(self, step: Step) -> Seen:
        """Run a step of the session."""
        end = time.monotonic() + TIMEOUT / 3
        while True:
            done = self(*step.words, stdin=step.stdin)
            if step.wait in done.stdout.decode(errors="replace") or time.monotonic() > end:
                break
            time.sleep(0.1)
        output = _normal(done.stdout.decode(errors="replace"))
        if step.unordered:
            output = "\n".join(sorted(output.splitlines()))
        errors = done.stderr.decode(errors="replace").splitlines()
        return Seen(
            done.returncode,
            output,
            _normal("\n".join(line for line in errors if not _NOISE.search(line))),
        )


def _normal(text: str) -> str:
    for pattern, replacement in _NORMAL:
        text = pattern.sub(replacement, text)
    return "\n".join(line.rstrip() for line in text.splitlines())


@contextmanager
def podman() -> Iterator[Tool]:
    """Podman, if it can run a container here; raises RuntimeError with what it says."""
    place = Path(tempfile.mkdtemp(prefix="podman-session-", dir="/var/tmp"))
    command = ["podman", f"--root={place}/root", f"--runroot={place}/run", "--storage-driver=vfs"]
    command += ["--cgroup-manager=cgroupfs", "--events-backend=file"]
    if shutil.which("runc"):
        command.append("--runtime=runc")
    # podman asks for the largest limits there are, which takes CAP_SYS_RESOURCE.
    files = min(1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    extra = ["--network=none", f"--ulimit=nofile={files}:{files}", "--ulimit=nproc=1000:1000"]
    tool = Tool(command, extra, {})
    try:
        _import(tool, place)
        done = tool("run", "--rm", IMAGE, "true")
        if done.returncode:
            raise RuntimeError(done.stderr.decode())
        yield tool
    finally:
        tool("rm", "-f", "-a", "-t", "0")
        tool("rmi", "-f", "-a")
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def nsbuild() -> Iterator[Tool]:
    """nsbuild, of this checkout."""
    place = Path(tempfile.mkdtemp(prefix="nsbuild-session-", dir="/var/tmp"))
    tool = Tool([sys.executable, "-m", "nsbuild"], [], {"NSBUILD_STORE": str(place / "store")})
    try:
        _import(tool, place)
        yield tool
    finally:
        tool("rm", "-f", "-a")
        shutil.rmtree(place)


def _import(tool: Tool, place: Path) -> None:
    tarball = place / "image.tar"
    write_tarball(tarball)
    done = tool("import", str(tarball), IMAGE)
    if done.returncode:
        raise RuntimeError(done.stderr.decode())


def differences(step: Step, theirs: Seen, ours: Seen) -> list[str]:
    """A line for each field that differs and must not."""
    allowed = {reason.partition(":")[0] for reason in step.but}
    return [
        f"{' '.join(step.words)[:90]}: {field}: podman {old!r}, nsbuild {new!r}"
        for field, old, new in zip(Seen._fields, theirs, ours, strict=True)
        if old != new and field not in allowed
    ]


def compare() -> list[str]:
    """The whole session; all differences."""
    found = []
    with podman() as theirs, nsbuild() as ours:
        for step in STEPS:
            found += differences(step, theirs.step(step), ours.step(step))
    return found


if __name__ == "__main__":
    print("\n".join(compare()) or f"{len(STEPS)} steps, no difference")
