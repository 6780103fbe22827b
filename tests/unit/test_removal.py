"""Removal of a container's directory: also of one that is gone, and by several at once."""

from __future__ import annotations

import os
from pathlib import Path

from nsbuild.container.life import remove_tree

REMOVERS = 4
ROUNDS = 10


def make(top: Path) -> Path:
    """A directory as a container leaves it."""
    for number in range(30):
        inner = top / "upper" / str(number)
        inner.mkdir(parents=True)
        for name in range(5):
            (inner / str(name)).write_text("")
        (inner / "link").symlink_to(top)
    work = top / "work" / "work"
    work.mkdir(parents=True)
    work.chmod(0)
    return top


def test_all_of_it(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    top = make(tmp_path / "container")
    (top / "upper" / "out").symlink_to(kept)
    remove_tree(str(top))
    assert list(tmp_path.iterdir()) == [kept]


def test_what_is_gone(tmp_path: Path) -> None:
    remove_tree(str(tmp_path / "nothing"))


def test_several_at_once(tmp_path: Path) -> None:
    for number in range(ROUNDS):
        top = make(tmp_path / str(number))
        removers = []
        for _ in range(REMOVERS):
            pid = os.fork()
            if not pid:
                code = 1
                try:
                    remove_tree(str(top))
                    code = 0
                finally:
                    os._exit(code)
            removers.append(pid)
        statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in removers]
        assert statuses == [0] * REMOVERS
        assert not top.exists()
