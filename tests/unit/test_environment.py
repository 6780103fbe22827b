"""The environment a command starts with, and the users it is told of."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from nsbuild.container import cpumodel, users
from nsbuild.container.environment import base_environment, compose
from nsbuild.errors import NsbuildError


def test_nothing_of_the_caller_gets_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "1")
    environment = compose(base_environment(5, None), None, {})
    assert "SECRET" not in environment
    assert "TERM" not in environment
    assert environment["SOURCE_DATE_EPOCH"] == "5"
    assert environment["MAKEFLAGS"] == "-j1"


def test_what_is_asked_for_wins_over_the_host_and_that_over_ours() -> None:
    base = base_environment(5, "xterm")
    environment = compose(base, {"LANG": "host", "TERM": "host"}, {"TERM": "asked"})
    assert (environment["LANG"], environment["TERM"], environment["TZ"]) == ("host", "asked", "UTC")


def test_a_model_of_the_processor_is_told_in_variables() -> None:
    assert cpumodel.variables("host") == {}
    told = cpumodel.variables("baseline")
    assert "-AVX2" in told["GLIBC_TUNABLES"].partition("=")[2].split(",")
    # By these the loader knows what to save, whoever uses it (see the module).
    assert "XSAVE" not in told["GLIBC_TUNABLES"]
    assert compose(told, {"GODEBUG": "host"}, {"GODEBUG": "asked"})["GODEBUG"] == "asked"


@pytest.mark.parametrize(
    ("given", "merged"),
    [
        (None, "parallel=1"),
        ("nocheck", "nocheck parallel=1"),
        ("parallel=4 nocheck", "parallel=4 nocheck"),
    ],
)
def test_deb_build_options_are_merged(given: str | None, merged: str) -> None:
    asked = {} if given is None else {"DEB_BUILD_OPTIONS": given}
    assert compose({}, None, asked)["DEB_BUILD_OPTIONS"] == merged


PASSWD = """\
root:x:0:0:root:/root:/bin/bash
builder:x:1000:100:,,,:/home/builder:/bin/zsh
1001:x:7:8:a name of digits:/n:/bin/sh
bare:x:12:13:::
broken line
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
GROUP = "root:x:0:\nusers:x:100:builder\naudio:x:29:builder,nobody\nodd:x:x:builder\n"


@pytest.fixture
def _files(monkeypatch: pytest.MonkeyPatch) -> None:
    def fake_open(path: str, **_: object) -> io.StringIO:
        return io.StringIO({"/etc/passwd": PASSWD, "/etc/group": GROUP}[path])

    monkeypatch.setattr(users, "open", fake_open, raising=False)


@pytest.mark.usefixtures("_files")
@pytest.mark.parametrize(
    ("wanted", "uid", "gid", "groups", "home", "shell"),
    [
        (None, 0, 0, (), "/root", "/bin/bash"),
        ("builder", 1000, 100, (100, 29), "/home/builder", "/bin/zsh"),
        ("1000", 1000, 100, (100, 29), "/home/builder", "/bin/zsh"),
        ("builder:audio", 1000, 29, (), "/home/builder", "/bin/zsh"),
        ("builder:5", 1000, 5, (), "/home/builder", "/bin/zsh"),
        ("1001", 7, 8, (), "/n", "/bin/sh"),
        ("4242", 4242, 0, (), "/", "/bin/sh"),
        ("bare", 12, 13, (), "/", "/bin/sh"),
    ],
)
def test_users(
    wanted: str | None, uid: int, gid: int, groups: tuple[int, ...], home: str, shell: str
) -> None:
    user = users.find_user(wanted)
    assert (user.uid, user.gid, user.groups, user.home, user.shell) == (
        uid,
        gid,
        groups,
        home,
        shell,
    )


@pytest.mark.usefixtures("_files")
@pytest.mark.parametrize("wanted", ["ghost", "builder:ghosts", "broken line", "root:odd"])
def test_unknown_names(wanted: str) -> None:
    with pytest.raises(NsbuildError, match="in the container"):
        users.find_user(wanted)


def test_a_root_without_passwd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing(path: str, **_: object) -> io.StringIO:
        raise FileNotFoundError(path, tmp_path)

    monkeypatch.setattr(users, "open", missing, raising=False)
    user = users.find_user(None)
    assert (user.uid, user.home, user.shell) == (0, "/root", "/bin/sh")
