"""The extension's statx says what that of nsbuild.kernel.files says."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from nsbuild.kernel import files
from nsbuild.kernel.files import AT_FDCWD, AT_SYMLINK_NOFOLLOW
from nsbuild.supervisor import extension

# Without it there is one way, which agrees with itself.
pytestmark = pytest.mark.skipif(not extension.available(), reason="the extension is not there")


@pytest.mark.parametrize("flags", [0, AT_SYMLINK_NOFOLLOW])
def test_both_ways_say_the_same(tmp_path: Path, flags: int) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(b"x" * 5000)
    # Before 1970, and with nanoseconds.
    os.utime(file, ns=(-1, 1_234_567_890_987_654_321))
    link.symlink_to("file")
    paths = (file, link, tmp_path, Path("/dev/null"), Path("/proc/self"), tmp_path / "none")
    for path in paths:
        raw = os.fsencode(path)
        assert extension.statx(AT_FDCWD, raw, flags) == files.statx(AT_FDCWD, raw, flags)


def test_an_absent_file_is_an_errno(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_PATH)
    try:
        assert extension.statx(fd, b"none", 0) == errno.ENOENT
    finally:
        os.close(fd)
