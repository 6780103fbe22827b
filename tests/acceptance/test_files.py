"""A project whose artifacts carry what the file system says, built on several file systems.

Its checkouts differ in everything that the host keeps beside names and bytes: see hostfs.py. Under
nsbuild each artifact is the same to the last bit; bare, each artifact differs.
"""

from __future__ import annotations

import difflib
import itertools
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance import hostfs
from tests.acceptance.hostfs import EARLIER, KINDS, LATER, LATEST, Checkout
from tests.system.capabilities import needs, needs_tools
from tests.system.harness import Runner, load, next_second

PROJECT = Path(__file__).resolve().parent / "files"
MAKEFILE = (PROJECT / "Makefile").read_text().replace("\\\n", " ")
ARTIFACTS = frozenset(re.findall(r"^ARTIFACTS := (.*)$", MAKEFILE, re.MULTILINE)[0].split())
TOOLS = ("cc", "cpio", "jar", "mke2fs", "mksquashfs", "python3", "xorriso", "zip")
NAMES_ITS_PLACE = frozenset({"df"})
"""Artifacts in which the path of the project is written."""
THREADED = frozenset({"tree.jar", "tree.squashfs"})
"""Artifacts of programs whose threads share a clock: without SCHED_FIFO it need not repeat."""
CHECKOUTS = (EARLIER, LATER, LATEST)
NEEDED_OF_ETC = ("alternatives", "group", "java-17-openjdk", "ld.so.cache", "mke2fs.conf", "passwd")

Artifacts = dict[str, bytes]


def collect(project: Path) -> Artifacts:
    """What the project's Makefile made; all of it must be there."""
    made = {path.name: path.read_bytes() for path in (project / "out").iterdir()}
    assert set(made) == ARTIFACTS
    return made


def shown(name: str, first: bytes, second: bytes) -> str:
    """The name of an artifact and, if it is text, the first lines that differ."""
    if b"\0" in first + second:
        return f"{name}: {len(first)} and {len(second)} bytes, not the same"
    old, new = (text.decode(errors="replace").splitlines() for text in (first, second))
    changes = difflib.unified_diff(old, new, lineterm="", n=0)
    return "\n  ".join([f"{name}:", *itertools.islice(changes, 2, 8)])


def assert_equal(builds: dict[str, Artifacts], but: frozenset[str] = frozenset()) -> None:
    """All builds have the same artifacts, bit for bit."""
    (first, expected), *others = builds.items()
    complaints = [
        f"{first} and {other}: {shown(name, expected[name], made[name])}"
        for other, made in others
        for name in sorted(ARTIFACTS - but)
        if made[name] != expected[name]
    ]
    if complaints:
        pytest.fail("\n".join(complaints), pytrace=False)


@contextmanager
def place(runner: Runner, parent: Path) -> Iterator[Path]:
    """A directory of the runner's own below `parent`, removed afterwards."""
    path = Path(tempfile.mkdtemp(prefix="nsbuild-files-", dir=parent))
    try:
        os.chown(path, runner.account.uid, runner.account.gid)
        path.chmod(0o755)
        yield path
    finally:
        shutil.rmtree(path)


def build_at(
    project: Path, build: Callable[[Path], None], kinds: tuple[str, ...] = KINDS
) -> dict[str, Artifacts]:
    """Check out and build at one path, on one kind of file system after the other."""
    builds = {}
    for kind, how in zip(kinds, CHECKOUTS, strict=False):
        with hostfs.mounted(kind, project, project.with_name("scratch")):
            hostfs.check_out(PROJECT, project, how)
            build(project)
            builds[kind] = collect(project)
        next_second(time.time())
    return builds


@pytest.fixture(autouse=True)
def _tools() -> None:
    needs_tools(*TOOLS)


def test_each_artifact_differs_bare(root: Runner) -> None:
    """On one CPU too, so that it is not the schedule."""

    def build(project: Path) -> None:
        done = root.outside(["taskset", "-c", "0", "make"], cwd=project)
        assert done.code == 0, done

    with place(root, root.stage) as top:
        (top / "project").mkdir()
        builds = build_at(top / "project", build, ("ext4", "tmpfs"))
    first, second = builds.values()
    assert [name for name in sorted(ARTIFACTS) if first[name] == second[name]] == []


def build_inside(runner: Runner, project: Path) -> None:
    """The project as the working directory, below the host's own root."""
    done = runner.exec("make", cwd=project)
    assert done.code == 0, done
    assert b"Clock skew" not in done.stdout + done.stderr


def test_root_builds_the_same_on_each_file_system_and_in_another_directory(root: Runner) -> None:
    with place(root, root.stage) as top:
        (top / "project").mkdir()
        builds = build_at(top / "project", lambda project: build_inside(root, project))
        elsewhere = top / "another" / "directory"
        elsewhere.mkdir(parents=True)
        hostfs.check_out(PROJECT, elsewhere, LATEST)
        with load():
            build_inside(root, elsewhere)
        builds_elsewhere = {"ext4": builds["ext4"], "another directory": collect(elsewhere)}
    assert_equal(builds)
    assert_equal(builds_elsewhere, but=NAMES_ITS_PLACE)


def make_target(target: Path) -> None:
    """A root with no more of its own than it needs; the programs come from the host's /usr."""
    for name in ("bin", "lib", "lib64", "sbin"):
        (target / name).symlink_to(f"usr/{name}")
    for name in ("usr", "etc", "proc", "sys", "dev", "tmp", "run", "src"):
        (target / name).mkdir()
    for name in NEEDED_OF_ETC:
        found = Path("/etc", name)
        if found.is_dir():
            shutil.copytree(found, target / "etc" / name, symlinks=True)
        elif found.exists():
            shutil.copy(found, target / "etc" / name)


def build_in_target(runner: Runner, target: Path, how: Checkout) -> Artifacts:
    """The project as a directory of a plain root."""
    make_target(target)
    hostfs.check_out(PROJECT, target / "src", how)
    options = ("-v", "/usr:/usr:ro", "-w", "/src")
    done = runner.exec("make", options=options, target=str(target))
    assert done.code == 0, done
    return collect(target / "src")


def test_root_builds_the_same_in_a_target_on_each_file_system(root: Runner) -> None:
    builds = {}
    with place(root, root.stage) as top:
        for kind, how in zip(KINDS, CHECKOUTS, strict=True):
            target = top / f"target-on-{kind}"
            target.mkdir()
            with hostfs.mounted(kind, target, top / "scratch"):
                builds[kind] = build_in_target(root, target, how)
    assert_equal(builds)


def test_a_user_builds_the_same_on_disk_and_in_memory(user: Runner) -> None:
    """He can mount nothing, but /dev/shm is a tmpfs everywhere."""
    needs("/dev/shm", os.access("/dev/shm", os.W_OK))
    builds = {}
    for parent, how in ((user.work, EARLIER), (Path("/dev/shm"), LATER)):
        with place(user, parent) as top:
            hostfs.check_out(PROJECT, top, how, user.account.uid, user.account.gid)
            options = ("-v", f"{top}:/build", "-w", "/build")
            done = user.exec("make", options=options)
            assert done.code == 0, done
            builds[str(parent)] = collect(top)
    assert_equal(builds, but=THREADED)
