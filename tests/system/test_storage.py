"""How the host stores files does not show, and what is left there has its virtual times."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.system.capabilities import needs_tools
from tests.system.harness import EPOCH, SHOW, Runner, lines, next_second

HIDDEN = {
    "unmounted": "mkdir a m; mount --bind a m; echo 4 >m/f; umount m",
    "covered": "mkdir a; echo x >a/f; mount -t tmpfs t a",
    "read-only": "mkdir a; echo y >a/f; mount --bind a a; mount -o remount,bind,ro a",
    "moved": "mkdir a m n; mount --bind a m; echo 4 >m/f; mount --make-private m; "
    "mount --move m n; umount -l n",
    "namespace": "mkdir a m; unshare -m sh -c 'mount --bind a m; mkdir m/d; echo 5 >m/f'",
    "inner": "mkdir a m; unshare -Urmpf sh -c 'mount --bind a m; ln -s x m/l; echo 5 >m/f'",
}


@pytest.mark.parametrize("script", HIDDEN.values(), ids=HIDDEN)
def test_what_a_mount_hides_at_the_end_has_its_time_on_disk(ns: Runner, script: str) -> None:
    cwd = ns.directory()
    lines(ns, script, cwd)
    found = {path.name: os.lstat(path).st_mtime for path in (cwd / "a", *(cwd / "a").iterdir())}
    assert "f" in found
    assert all(EPOCH < when < EPOCH + 100 for when in found.values()), found


@pytest.mark.parametrize("place", ["/dev/shm", "/var/tmp"])
def test_the_host_file_system_does_not_show(root: Runner, tmp_path: Path, place: str) -> None:
    """The same tree on tmpfs and on a disk, made in another order, at another time."""
    script = (
        f"echo new >new; {SHOW} . * d/*; ls -i1; ls -fi d; du -ak; df -k . | tail -1 | cut -c20-50"
    )
    seen = []
    for order, where in ((("a", "d", "b"), place), (("b", "a", "d"), str(root.directory()))):
        cwd = Path(where) / f"nsbuild-test-{os.getpid()}"
        cwd.mkdir()
        try:
            for name in order:
                if name == "d":
                    (cwd / "d").mkdir()
                    (cwd / "d" / "x").write_text("x" * 5000)
                else:
                    (cwd / name).write_text(name)
            seen.append(lines(root, script, cwd))
        finally:
            subprocess.run(["rm", "-rf", cwd], check=True)
        next_second(time.time())
    assert seen[0] == seen[1]


HOLES = """
with open("parts", "wb") as file:
    for number in range(400):
        file.seek(number * 100_000)
        file.write(b"x")
with open("whole", "wb") as file:
    file.write(bytes(200_001))
"""


def test_how_files_with_holes_are_stored_does_not_show(root: Runner) -> None:
    """Bare a disk takes blocks of its own to find the parts, as soon as they are written there."""
    script = (
        f"/usr/bin/python3 -c '{HOLES}'; truncate -s 1M hole; fallocate -l 1M kept; "
        "cp parts copy; cp --sparse=never parts full; ls -s; sync; ls -s; du -k"
    )
    needs_tools("fallocate")
    seen, bare = [], []
    for place in ("/dev/shm", "/var/tmp"):
        with tempfile.TemporaryDirectory(dir=place) as where:
            seen.append(lines(root, script, Path(where)))
        with tempfile.TemporaryDirectory(dir=place) as where:
            bare.append(root.outside(["sh", "-c", script], cwd=Path(where)).ok().lines)
    assert seen[0] == seen[1]
    assert bare[0] != bare[1]


@contextmanager
def small_ext4(scratch: Path) -> Iterator[Path]:
    """An ext4 with blocks of 1024 bytes, and with inodes that have room for whole seconds alone."""
    image, place = scratch / "image", scratch / "place"
    place.mkdir()
    make = f"truncate -s 64M {image}; mke2fs -q -t ext4 -I 128 -b 1024 {image}"
    mount = f"mount -o loop {image} {place}"
    subprocess.run(["sh", "-ec", f"{make}; {mount}"], check=True, capture_output=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


COARSE = (
    "printf 'a: b\n\tcp b a\nb:\n\ttouch b\n' >Makefile; make; sleep 5; make; echo edit >b; make; "
    "for i in 1 2 3; do echo $i >r1; echo $i >r2; [ r2 -nt r1 ] || echo older; done; "
    "touch -d 2500-01-01 late; touch -d 1850-01-01T01:02:03.5 early; ls -s --full-time; "
    "stat -c '%n %y %z' late early r1 r2; "
    f"/usr/bin/python3 -c '{HOLES}'; sync; ls -s"
)


def test_a_file_system_with_whole_seconds_and_small_blocks_does_not_show(root: Runner) -> None:
    usual = lines(root, COARSE)
    with small_ext4(root.directory()) as place:
        (place / "cwd").mkdir()
        # What is made in the second in which the container starts counts as an input.
        next_second(time.time())
        assert lines(root, COARSE, place / "cwd") == usual
        found = {path.name: path.stat().st_mtime for path in (place / "cwd").iterdir()}
    assert "older" not in usual
    assert usual.count("cp b a") == 2
    assert all(EPOCH < found[name] < EPOCH + 1000 for name in ("a", "b", "r1", "r2"))
