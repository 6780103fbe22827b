"""Draws the steps of tests/guests/filemachine.py, and lays out the files that they start with."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.system.filetree import DIR, FILE, Node
from tests.system.harness import EPOCH

SECOND = 1_000_000_000
Steps = list[list[Any]]
_AT_ONCE = 10

INPUTS = {
    "i": (10, 981173106 * SECOND + 7),
    "j": (5000, (EPOCH + 100_000_000) * SECOND),
    "h/k": (0, 1_000_000_000 * SECOND),
    "h": (-1, 1_100_000_000 * SECOND),
    ".": (-1, 1_200_000_000 * SECOND),
}
"""What is there before: size, -1 for a directory, and mtime, once later than the epoch (ns)."""

_FILES = ["a", "b", "d/a", "d/b", "e/a", "h/k", "i", "j"]
_DIRS = ["d", "e", "d/e"]
_LINKS = ["s", "d/s"]
_FIRST: Steps = [
    *(["mkdir", "d"], ["mkdir", "e"], ["write", "a", "w", 10], ["write", "d/a", "x", 5000]),
    *(["keep", 0, "a"], ["keep", 1, "d/b"], ["symlink", "a", "s"], ["link", "a", "b"]),
]
"""Of these most are done before all others, so that there is something to work with."""

_file = st.sampled_from([*_FILES, *_FILES, *_LINKS, "d", "s/a"])
_dir = st.sampled_from(_DIRS)
_movable = st.sampled_from([*_FILES, *_DIRS, *_LINKS])
_any = st.sampled_from([*_FILES, *_FILES, *_DIRS, *_LINKS, "h", ".", "s/a"])
_size = st.sampled_from([0, 1, 10, 4096, 4097, 10_000])
_slot = st.integers(0, 1)
_time = st.sampled_from(
    [
        *("now", "omit", 0, 1_000_000_000 * SECOND + 123_456_789, EPOCH * SECOND),
        *((EPOCH + 3) * SECOND, 2_100_000_000 * SECOND, -3 * SECOND + 1),
    ]
)
_times = st.one_of(st.none(), st.lists(_time, min_size=2, max_size=2))


def _step(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.tuples(st.just(name), *arguments).map(list)


_PLAIN = [
    _step("write", _file, st.sampled_from(["w", "w", "a", "x", "r+"]), _size),
    _step("write", _file, st.sampled_from(["w", "a"]), _size),
    _step("open", _file),
    _step("keep", _slot, _file),
    _step("drop", _slot),
    _step("fdwrite", _slot, st.sampled_from([1, 5000])),
    _step("ftruncate", _slot, _size),
    _step("truncate", _file, _size),
    _step("copy", _file, _file, st.booleans()),
    _step("read", _file),
    _step("tmpfile", st.sampled_from([".", "d", "a"]), _file, _size),
    _step("rename", _movable, _movable),
    _step("rename", _file, _file),
    _step("exchange", _movable, _movable),
    _step("link", _movable, _file),
    _step("symlink", st.sampled_from(["a", "d", "s", ".", "d/e", "i"]), st.sampled_from(_LINKS)),
    _step("unlink", _movable),
    _step("mkdir", _dir),
    _step("mkdir", _dir),
    _step("rmdir", _dir),
    _step("rmdir", _movable),
    _step("chmod", _any, st.sampled_from([0o700, 0o711, 0o755])),
    _step("utime", _any, st.booleans(), _times),
    _step("futime", _slot, _times),
    _step("date"),
    _step("stat", _any),
    _step("lstat", _any),
    _step("statx", _any),
    _step("fstat", _slot),
    _step("fstatx", _slot),
    _step("list", st.sampled_from([*_DIRS, "h", ".", "."])),
]
_plain = st.one_of(_PLAIN)
_inner = st.lists(st.one_of(_plain, _step("chdir", _dir)), min_size=1, max_size=8)
_processes = st.one_of(
    _step("child", _inner),
    _step("background", st.sampled_from(["p", "q"]), _inner),
    _step("wait"),
)
_first = st.lists(st.integers(0, 3), min_size=len(_FIRST), max_size=len(_FIRST)).map(
    lambda chances: [step for step, chance in zip(_FIRST, chances, strict=True) if chance]
)
_rest = st.lists(st.one_of(*[_plain] * 6, _processes), min_size=20, max_size=40)
STEPS = st.tuples(_first, _rest).map(lambda parts: parts[0] + parts[1])

WALK: Steps = [
    ["wait"],
    *([name, path] for path in [".", *_FILES, *_DIRS, *_LINKS, "h"] for name in ("lstat", "statx")),
    *(["list", path] for path in (".", *_DIRS, "h", "p", "q")),
    ["date"],
]
"""Looks at everything, the directories of children in the background included."""


def draw(count: int, fixed: bool) -> list[Steps]:
    """`count` sequences; the same every time if `fixed`."""
    drawn: list[Steps] = []
    while len(drawn) < count:
        drawn += _some(len(drawn) if fixed else random.getrandbits(64))
    return drawn[:count]


def _some(start: int) -> list[Steps]:
    """A few sequences: the longer hypothesis draws, the more it repeats itself with changes."""
    drawn: list[Steps] = []

    @seed(start)
    @settings(
        max_examples=_AT_ONCE,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(STEPS)
    def collect(steps: Steps) -> None:
        drawn.append(steps)

    collect()
    # The first is the simplest there is.
    return drawn[1:]


def lay_out(base: Path, owner: tuple[int, int]) -> None:
    """Make the inputs in the new directory `base`."""
    base.mkdir()
    for name, (size, _) in reversed(INPUTS.items()):
        if size >= 0:
            (base / name).write_bytes(b"i" * size)
        else:
            (base / name).mkdir(exist_ok=True)
    for name, (size, mtime) in INPUTS.items():
        path = base / name
        path.chmod(0o644 if size >= 0 else 0o755)
        os.chown(path, *owner)
        os.utime(path, ns=(mtime, mtime))


def inputs() -> Node:
    """The same for the model, as they are shown."""
    nodes = {
        name: Node(FILE if size >= 0 else DIR, 0o644 if size >= 0 else 0o755, max(size, 0), when)
        for name, (size, mtime) in INPUTS.items()
        for when in [min(mtime, EPOCH * SECOND)]
    }
    for name in INPUTS:
        directory, _, last = name.rpartition("/")
        if name != ".":
            nodes[directory or "."].entries[last] = nodes[name]
    return nodes["."]
