"""What a run may leave behind on the host, and how to see it: nothing is allowed.

Processes are found by a mark in their environment, which everything in the container inherits from
the nsbuild process; mounts in mountinfo(5); cgroups by walking /sys/fs/cgroup; files in the places
where a program keeps temporary ones.
"""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path

MARK = "NSBUILD_TEST_MARK"


def new_mark() -> dict[str, str]:
    """An environment variable that no other run has."""
    return {MARK: uuid.uuid4().hex}


def marked(mark: dict[str, str]) -> list[int]:
    """PIDs of the living processes that have `mark` in their environment."""
    wanted = f"{MARK}={mark[MARK]}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            alive = b"\nState:\tZ" not in (entry / "status").read_bytes()
            if alive and wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def none_marked(mark: dict[str, str], seconds: float = 20) -> bool:
    """Whether all processes with `mark` are gone, now or within `seconds`."""
    end = time.monotonic() + seconds
    while marked(mark):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def children(pid: int) -> list[int]:
    """PIDs of the children of `pid`."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            status = (entry / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if f"\nPPid:\t{pid}\n" in status:
            found.append(int(entry.name))
    return found


def _cgroups() -> set[str]:
    return {directory for directory, _, _ in os.walk("/sys/fs/cgroup")}


def _ours(directory: str) -> set[str]:
    """Names in `directory` that speak of nsbuild; the tests' own staging directory does not."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return set()
    return {
        f"{directory}/{name}"
        for name in names
        if "nsbuild" in name and not name.startswith("nsbuild-tests-")
    }


def snapshot(*private: Path) -> set[str]:
    """All that a run could leave: mounts, cgroups, temporary files, files in `private` places."""
    found = set(Path("/proc/self/mountinfo").read_text().splitlines()) | _cgroups()
    for directory in ("/tmp", "/run", "/var/tmp", "/dev/shm", "/var/lib", "/var/run"):
        found |= _ours(directory)
    for place in private:
        found |= {str(path) for path in place.rglob("*")}
    return found
