"""The acceptance script for qubes-builder needs clones of it, and says so.

The script itself is run by hand: what it builds cannot be fetched where these tests run.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent / "qubes/run"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "usage: "),
        (("{empty}",), "no git clone {empty}/qubes-builderv2 "),
        (("--generation=1", "{empty}"), "no git clone {empty}/qubes-builder "),
        (("--generation=3", "{empty}"), "usage: "),
        (("--rounds=0", "{empty}"), "usage: "),
        (("--component=", "{empty}"), "usage: "),
        (("--way=chroot", "{empty}"), "no way chroot; generation 2 has: local executor inside "),
        (("a", "b", "c"), "usage: "),
    ],
)
def test_without_checkouts_it_fails(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    given = [argument.format(empty=tmp_path) for argument in arguments]
    done = subprocess.run(
        [SCRIPT, *given], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"qubes: {words.format(empty=tmp_path)}")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
