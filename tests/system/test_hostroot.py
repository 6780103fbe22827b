"""The host's own root as TARGET: all of it is seen, and what is written is forgotten."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest

from nsbuild.container.rootfs import RootPlan
from nsbuild.container.spec import RootSpec
from nsbuild.kernel.mount import MS_NOSUID, MS_PRIVATE, MS_REC, mount
from tests.system.rootbox import Box, as_list, box, points, refused

__all__ = ["box"]


def test_the_host_s_root_takes_writes_and_forgets_them(box: Box) -> None:
    marker = Path(tempfile.mkdtemp(prefix="nsbuild-rootfs-", dir="/var/tmp"))
    (marker / "file").write_text("old")
    box.own(marker)
    seen_on_host = sorted(os.listdir("/usr"))

    def look(_: RootPlan) -> object:
        (marker / "file").write_text("new")
        (marker / "other").mkdir()
        os.rename(marker / "file", marker / "moved")
        Path("/new-at-the-top").write_text("x")
        return [sorted(os.listdir("/usr")), sorted(os.listdir(marker))]

    try:
        assert box.look(RootSpec("/"), look) == [seen_on_host, ["moved", "other"]]
        assert [(path.name, path.read_text()) for path in marker.iterdir()] == [("file", "old")]
        assert not Path("/new-at-the-top").exists()
    finally:
        shutil.rmtree(marker)


@pytest.mark.parametrize("box", [0], ids=["root"], indirect=True)
def test_system_files_can_be_replaced_in_the_host_s_root(box: Box) -> None:
    """As root; to a user with one id they belong to nobody that exists inside."""
    before = Path("/etc/passwd").read_bytes()

    def look(_: RootPlan) -> object:
        Path("/etc/passwd.new").write_text("root:x:0:0::/:/bin/sh\n")
        os.rename("/etc/passwd.new", "/etc/passwd")
        os.chown("/etc/passwd", 1, 1)
        return Path("/etc/passwd").read_text()

    assert box.look(RootSpec("/"), look) == "root:x:0:0::/:/bin/sh\n"
    assert Path("/etc/passwd").read_bytes() == before


def test_the_uuids_of_the_host_are_nothing_to_the_container(box: Box) -> None:
    """uuid-runtime has a directory in which libuuid notes the last that has a time in it."""
    subprocess.run(["uuidgen", "--time"], check=True, stdout=subprocess.DEVNULL)
    notes = Path("/var/lib/libuuid")
    assert (notes / "clock.txt").exists()

    def look(_: RootPlan) -> object:
        subprocess.run(["uuidgen", "--time"], check=True, stdout=subprocess.DEVNULL)
        return [os.listdir(notes), stat.S_IMODE(notes.stat().st_mode)]

    assert box.look(RootSpec("/"), look) == [["clock.txt"], 0o2775]


@pytest.mark.parametrize("where", ["/var/tmp", "/tmp", "/run"])
def test_the_working_directory_is_the_host_s_own(box: Box, where: str) -> None:
    cwd = Path(tempfile.mkdtemp(prefix="nsbuild-cwd-", dir=where))
    box.own(cwd)

    def look(_: RootPlan) -> object:
        Path(f"{cwd}/made").write_text("x")
        return len(os.listdir("/tmp"))

    try:
        found = box.look(RootSpec("/", writable_cwd=str(cwd)), look)
        assert found == (1 if where == "/tmp" else 0)
        assert (cwd / "made").read_text() == "x"
    finally:
        shutil.rmtree(cwd)


def test_other_mounts_of_the_host_are_seen_and_protected(box: Box) -> None:
    """Names with a colon, a comma and a backslash, which overlayfs takes for separators."""
    odd = box.place / "a:b,c\\d e"
    odd.mkdir()
    (box.place / "beside").write_text("beside")

    def before() -> None:
        mount("none", "/", None, MS_REC | MS_PRIVATE)
        mount("tmpfs", str(odd), "tmpfs", MS_NOSUID, "mode=0777")
        (odd / "there").write_text("old")
        (odd / "there").chmod(0o666)
        box.own(odd)

    def look(_: RootPlan) -> object:
        (odd / "there").write_text("new")
        options = [options for point, options, _ in points() if "a:b" in point]
        return [(odd / "there").read_text(), (box.place / "beside").read_text(), *options]

    found = as_list(box.look(RootSpec("/"), look, before=before))
    assert found[:2] == ["new", "beside"]
    assert len(found) == 3
    assert "nosuid" in str(found[2])


def test_a_read_only_host_root(box: Box) -> None:
    spec = RootSpec("/", writable_cwd=str(box.place), read_only=True)

    def look(_: RootPlan) -> object:
        Path(f"{box.place}/made").write_text("x")
        Path("/tmp/made").write_text("x")
        return [
            refused(errno.EROFS, lambda: os.mkdir("/usr/new")),
            refused(errno.EROFS, lambda: os.mkdir("/new")),
        ]

    assert box.look(spec, look) == [True, True]
