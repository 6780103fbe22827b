"""Whose name nsbuild runs in: root's, or an ordinary user's with id ranges of its own.

Started by root, the tests make the user `nsbuild-test` when it is missing, with 65536 subordinate
ids, and leave it there. The checkout may lie where that user cannot go, so a staging directory,
readable to all and not below /tmp (of which a container has its own), takes copies of the guests,
the package and the modules that it imports.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

USER = "nsbuild-test"
CHECKOUT = Path(__file__).resolve().parent.parent.parent
_AIOHTTP = (
    *("aiohttp", "aiohappyeyeballs", "aiosignal", "attr", "frozenlist", "idna", "multidict"),
    *("propcache", "typing_extensions", "yarl"),
)
"""aiohttp and what it imports."""
_MODULES = ("dockerfile_parse", "pyseccomp", "seccomp", "prctl", "_prctl", *_AIOHTTP)


class Account(NamedTuple):
    """`prefix` is the command that becomes the user; empty for whoever runs the tests."""

    name: str
    uid: int
    gid: int
    prefix: tuple[str, ...]


def current() -> Account:
    """The account that runs the tests."""
    return Account(pwd.getpwuid(os.getuid()).pw_name, os.getuid(), os.getgid(), ())


def named(name: str) -> Account:
    """The account `name`, which root can become."""
    entry = pwd.getpwnam(name)
    become = f"setpriv --reuid={entry.pw_uid} --regid={entry.pw_gid} --init-groups --"
    return Account(name, entry.pw_uid, entry.pw_gid, tuple(become.split()))


def _add_ids(option: str, table: str) -> None:
    """Give the test user ids from the first free block of `table` (subuid(5))."""
    path = Path(table)
    lines = path.read_text().splitlines() if path.exists() else []
    if any(line.startswith(f"{USER}:") for line in lines):
        return
    ends = [int(start) + int(count) for _, start, count in (line.split(":") for line in lines)]
    first = max([200000, *ends])
    subprocess.run(["usermod", option, f"{first}-{first + 65535}", USER], check=True, timeout=60)


def ordinary() -> Account:
    """The ordinary test user; made first, if need be. Only for root."""
    try:
        pwd.getpwnam(USER)
    except KeyError:
        command = ["useradd", "--no-create-home", "--home-dir", "/nonexistent", USER]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    _add_ids("--add-subuids", "/etc/subuid")
    _add_ids("--add-subgids", "/etc/subgid")
    return named(USER)


def _copy_module(name: str, to: Path) -> None:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return
    origin = Path(spec.origin)
    if origin.name == "__init__.py":
        shutil.copytree(origin.parent, to / origin.parent.name)
    else:
        shutil.copy(origin, to)


@contextmanager
def staging(guests: Path) -> Iterator[Path]:
    """A directory that everybody can read, with `guests/`, `src/` and `modules/`; then removed."""
    top = Path(tempfile.mkdtemp(prefix="nsbuild-tests-", dir="/var/tmp"))
    try:
        top.chmod(0o755)
        shutil.copytree(guests, top / "guests")
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(CHECKOUT / "nsbuild", top / "src/nsbuild", ignore=ignore)
        shutil.copytree(CHECKOUT / "seccomp_profiles", top / "src/seccomp_profiles")
        (top / "modules").mkdir()
        for name in _MODULES:
            _copy_module(name, top / "modules")
        subprocess.run(["chmod", "-R", "a+rX", str(top)], check=True, timeout=60)
        yield top
    finally:
        remove(top)


def remove(top: Path) -> None:
    """Remove a directory, unless something is mounted below: that would be removed as well."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    left = [point for point in points if point.startswith(f"{top}/")]
    assert not left, f"still mounted, and therefore {top} is kept: {left}"
    shutil.rmtree(top)


def interpreter() -> str:
    """The Python below the virtual environment, which other users can run if anybody can."""
    return str(Path(getattr(sys, "_base_executable", sys.executable)).resolve())
