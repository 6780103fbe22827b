"""Sources of COPY: what they name, what they depend on, and that no link leads out of there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from nsbuild.build.context import Source, Target, Tree
from nsbuild.build.ignore import Ignore
from nsbuild.errors import NsbuildError

TIME = 1_450_797_978_000_000_000


@pytest.fixture
def context(tmp_path: Path) -> Path:
    there = tmp_path / "context"
    (there / "d/e").mkdir(parents=True)
    (there / "a.c").write_text("a")
    (there / "b.c").write_text("b")
    (there / "d/x.o").write_text("x")
    (there / "d/e/run").write_text("#!")
    (there / "d/e/run").chmod(0o775)
    (there / "d/to").symlink_to("../a.c")
    (there / "out").symlink_to("/etc/passwd")
    (there / "up").symlink_to("../../../../../../etc")
    return there


def tree(context: Path, *ignore: str) -> Tree:
    return Tree(os.open(context, os.O_PATH | os.O_DIRECTORY), Ignore(ignore))


def copied(source: Tree, pattern: str, target: Path, mode: int | None = None) -> list[str]:
    target.mkdir(exist_ok=True)
    directory = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    where = Target(directory, os.getuid(), os.getgid(), mode, TIME)
    for found in source.find(pattern):
        source.copy(found, where, os.path.basename(found.path))
    os.close(directory)
    return sorted(str(path.relative_to(target)) for path in target.rglob("*"))


def test_patterns(context: Path) -> None:
    source = tree(context, "b.*")
    assert source.find("a.c") == [Source("a.c", False)]
    assert source.find("*.c") == [Source("a.c", False)]
    assert source.find("d/*") == [
        Source("d/e", True),
        Source("d/to", False),
        Source("d/x.o", False),
    ]
    assert source.find("./d/../d/") == [Source("d", True)]
    assert source.find(".") == [Source("", True)]
    assert source.find("../../a.c") == [Source("a.c", False)]


@pytest.mark.parametrize("pattern", ["b.c", "nothing", "*.zip", "out", "up/passwd", "a.c/x"])
def test_what_is_not_there_is_said(context: Path, pattern: str) -> None:
    with pytest.raises(NsbuildError, match="no such file"):
        tree(context, "b.*").find(pattern)


def test_a_directory_is_copied_with_modes_links_and_times(context: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    assert copied(tree(context), "d", target) == ["e", "e/run", "to", "x.o"]
    assert stat.S_IMODE((target / "e/run").stat().st_mode) == 0o755
    assert os.readlink(target / "to") == "../a.c"
    for name in ("e", "e/run", "to", "x.o"):
        assert (target / name).lstat().st_mtime_ns == TIME


def test_a_copy_replaces_and_does_not_follow(context: Path, tmp_path: Path) -> None:
    target, outside = tmp_path / "target", tmp_path / "outside"
    target.mkdir()
    outside.write_text("mine")
    (target / "a.c").symlink_to(outside)
    copied(tree(context), "a.c", target, 0o640)
    assert outside.read_text() == "mine"
    assert (target / "a.c").read_text() == "a"
    assert stat.S_IMODE((target / "a.c").lstat().st_mode) == 0o640


def test_a_link_that_is_named_is_followed(context: Path, tmp_path: Path) -> None:
    assert copied(tree(context), "d/to", tmp_path / "target") == ["to"]
    assert not (tmp_path / "target/to").is_symlink()


def test_what_is_ignored_is_not_copied_but_for_exceptions(context: Path, tmp_path: Path) -> None:
    source = tree(context, "**/*.o", "d/e", "!d/e/run")
    assert copied(source, "d", tmp_path / "target") == ["e", "e/run", "to"]


def test_special_files_are_refused(context: Path, tmp_path: Path) -> None:
    os.mkfifo(context / "d/pipe")
    with pytest.raises(NsbuildError, match="d/pipe: it is no file"):
        copied(tree(context), "d", tmp_path / "target")


def test_the_digest_is_of_content_names_and_modes(context: Path) -> None:
    def digest(*ignore: str) -> str:
        source = tree(context, *ignore)
        return source.digest(source.find("d"))

    first = digest()
    os.utime(context / "d/x.o", (1, 1))
    (context / "d/x.o").chmod(0o664)
    (context / "a.c").write_text("not in d")
    assert digest() == first
    seen = {first}
    for change in (
        lambda: (context / "d/x.o").write_text("y"),
        lambda: (context / "d/x.o").chmod(0o755),
        lambda: (context / "d/x.o").rename(context / "d/y.o"),
        lambda: (context / "d/y.o").rename(context / "d/e/y.o"),
        lambda: (context / "d/empty").mkdir(),
    ):
        change()
        seen.add(digest())
    assert len(seen) == 6
    assert digest("d/empty") not in (first, digest())
