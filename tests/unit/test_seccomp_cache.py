"""The cache of compiled filters: when it is used and when not, and that it never complains."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import nsbuild
from nsbuild import seccomp
from nsbuild.kernel.libseccomp import seccomp_version
from nsbuild.seccomp import cache

NAME = "0" * 64
PROGRAM = bytes(range(16))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the cache of the test lies, once there is one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/nsbuild/seccomp"


def test_a_hit_loads_no_compiler(home: Path, checkout: Path) -> None:
    program = seccomp.compiled("default")
    script = """if True:
        import sys
        from nsbuild.seccomp import compiled
        sys.stdout.buffer.write(compiled("default"))
        heavy = {"pyseccomp", "json", "difflib", "nsbuild.seccomp.compile"} & set(sys.modules)
        sys.exit(f"imported {heavy}" if heavy else 0)
    """
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=checkout, capture_output=True, check=True
    )
    assert done.stdout == program
    assert len(list(home.iterdir())) == 1


def test_a_hit_is_taken_from_the_file(home: Path) -> None:
    """Else all the tests below could pass with a cache that is never read."""
    text = Path(seccomp.locate("default")).read_bytes()
    cache.store(cache.key(text), PROGRAM)
    assert seccomp.compiled("default") == PROGRAM


def test_stored_files_are_private(home: Path) -> None:
    old = os.umask(0)
    try:
        cache.store(NAME, PROGRAM)
    finally:
        os.umask(old)
    assert [path.name for path in home.iterdir()] == [f"{NAME}.bpf"]
    assert (home / f"{NAME}.bpf").stat().st_mode & 0o777 == 0o600
    assert home.stat().st_mode & 0o777 == 0o700
    assert cache.load(NAME) == PROGRAM


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def store_other_as(path: Path) -> None:
    cache.store("1" * 64, PROGRAM)
    path.with_name(f"{'1' * 64}.bpf").rename(path)


def swap_for(path: Path, other: Callable[[Path], None]) -> None:
    path.rename(path.with_suffix(".moved"))
    other(path)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "digest only": lambda path: os.truncate(path, 32),
    "cut": lambda path: os.truncate(path, 40),
    "cut within an instruction": lambda path: os.truncate(path, 43),
    "longer": lambda path: path.write_bytes(path.read_bytes() + bytes(8)),
    "too long": lambda path: os.truncate(path, 1 << 30),
    "program changed": lambda path: flip(path, -1),
    "digest changed": lambda path: flip(path, 0),
    "of another profile": store_other_as,
    "group may write": lambda path: path.chmod(0o620),
    "others may write": lambda path: path.chmod(0o602),
    "symbolic link": lambda path: swap_for(path, lambda it: it.symlink_to(f"{NAME}.moved")),
    "directory": lambda path: swap_for(path, Path.mkdir),
    "pipe without a writer": lambda path: swap_for(path, os.mkfifo),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_what_is_not_believed(home: Path, damage: Callable[[Path], object]) -> None:
    cache.store(NAME, PROGRAM)
    assert cache.load(NAME) == PROGRAM
    damage(home / f"{NAME}.bpf")
    assert cache.load(NAME) is None


def test_a_damaged_file_is_replaced(home: Path) -> None:
    program = seccomp.compiled("default")
    (file,) = home.iterdir()
    intact = file.read_bytes()
    flip(file, 100)
    assert seccomp.compiled("default") == program
    assert file.read_bytes() == intact


def test_the_file_of_another_user(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.store(NAME, PROGRAM)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert cache.load(NAME) is None


def test_nothing_is_made_in_the_home_of_another_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    cache.store(NAME, PROGRAM)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("place", ["/proc/nsbuild-cache", "/dev/null", "/dev/full/below"])
def test_where_nothing_can_be_written(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", place)
    assert len(seccomp.compiled("default")) > 800


def test_a_full_disk_leaves_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", fail)
    cache.store(NAME, PROGRAM)
    assert list(home.iterdir()) == []


def test_a_relative_directory_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """XDG base directory specification: "the path should be considered invalid"."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    cache.store(NAME, PROGRAM)
    assert (tmp_path / "me/.cache/nsbuild/seccomp" / f"{NAME}.bpf").exists()
    assert not (tmp_path / "here").exists()


def test_the_key_covers_what_makes_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {cache.key(b"text"), cache.key(b"text2")}
    monkeypatch.setattr(cache, "seccomp_version", lambda: "2.6.1")
    keys.add(cache.key(b"text"))
    monkeypatch.setattr(nsbuild, "__version__", "99")
    keys.add(cache.key(b"text"))
    monkeypatch.setattr(cache, "_COMPILER", ("profile.py",))
    keys.add(cache.key(b"text"))
    assert len(keys) == 5


def test_the_version_of_libseccomp() -> None:
    """It is the one in the library's file name."""
    version = seccomp_version()
    assert f"libseccomp.so.{version}\n" in Path("/proc/self/maps").read_text()


def test_profiles_of_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside the package first, then beside it."""
    inside, beside = tmp_path / "inside", tmp_path / "beside"
    beside.mkdir()
    (beside / "mine.json").write_text("{}")
    monkeypatch.setattr(seccomp, "_SHIPPED", (str(inside), str(beside)))
    assert seccomp.locate("mine") == str(beside / "mine.json")
    assert seccomp.shipped() == ["mine"]
    inside.mkdir()
    (inside / "mine.json").write_text("{}")
    assert seccomp.locate("mine") == str(inside / "mine.json")
