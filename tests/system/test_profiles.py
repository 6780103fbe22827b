"""The seccomp profiles that are shipped, by their names: what their differences are to a build."""

from __future__ import annotations

import pytest

from tests.system.capabilities import needs_tools
from tests.system.harness import Runner

SYNCS = (
    "import os, mmap, ctypes; libc = ctypes.CDLL(None, use_errno=True)\n"
    "for call in (os.fsync, os.fdatasync, libc.syncfs):\n"
    "    try: print(call.__name__, call(99))\n"
    "    except OSError as error: print(call.__name__, error.errno)\n"
    "print('sync_file_range', libc.sync_file_range(99, 0, 0, 0))\n"
    "print('sync', os.sync())\n"
    "print('msync', libc.msync(ctypes.c_void_p(0x10000), 4096, 1), ctypes.get_errno())\n"
)
"""Asks to write out a descriptor that is not open, and pages that are not mapped."""


@pytest.mark.parametrize(
    ("profile", "fsync", "others"), [("default", "9", "-1"), ("qubes-builder", "None", "0")]
)
def test_whether_anything_is_written_out(ns: Runner, profile: str, fsync: str, others: str) -> None:
    needs_tools("python3")
    seen = ns.exec("python3", "-c", SYNCS, options=[f"--profile={profile}"]).ok()
    assert seen.lines == [
        f"fsync {fsync}",
        f"fdatasync {fsync}",
        f"syncfs {others}",
        f"sync_file_range {others}",
        "sync None",
        "msync -1 12",
    ]


def test_all_else_is_as_by_default(ns: Runner) -> None:
    script = (
        "date; od -An -tx1 -N8 /dev/urandom; echo $$; mknod null c 1 3; ls -l --full-time null; "
        "echo x > f; sync f; stat -c '%Y %i' f; mkdir p; mount -t proc proc p; cat p/uptime; "
        "umount p; rm f null; ls -l"
    )
    default = ns.exec("sh", "-ec", script).ok()
    assert ns.exec("sh", "-ec", script, options=["--profile=qubes-builder"]) == default


def test_chroot_takes_it_from_the_environment(root: Runner) -> None:
    needs_tools("python3")
    seen = root.outside(
        root.command("chroot", "/", "python3", "-c", "import os; print(os.fsync(99))"),
        env={"NSBUILD_PROFILE": "qubes-builder"},
    )
    assert seen.ok().text == "None\n"
