"""What a test needs from the machine, by name; where it is missing the test is skipped.

With NSBUILD_MUST_WORK=1 in the environment a missing capability is a failure: a machine that is
meant to run everything cannot lose tests without anybody seeing it.
"""

from __future__ import annotations

import os
import shutil
import stat

import pytest


def needs(capability: str, present: object) -> None:
    """Skip this test when `present` is false, naming the `capability`; fail if all must work."""
    if present:
        return
    if os.environ.get("NSBUILD_MUST_WORK") == "1":
        pytest.fail(f"NSBUILD_MUST_WORK=1, but this machine lacks: {capability}", pytrace=False)
    pytest.skip(f"needs {capability}")


def needs_tools(*names: str) -> None:
    """Skip unless every program of `names` is installed."""
    for name in names:
        needs(f"the program {name}", shutil.which(name))


def needs_fuse_for_everybody() -> None:
    """Skip unless ordinary users may open /dev/fuse, as udev's rules say everywhere."""
    try:
        mode = os.stat("/dev/fuse").st_mode
    except FileNotFoundError:
        mode = 0
    needs("/dev/fuse with mode 0666", mode & stat.S_IWOTH)
