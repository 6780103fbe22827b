"""The profiles that are shipped beside the default one: what they change, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nsbuild.seccomp.compile import compile_profile
from nsbuild.seccomp.profile import parse

PROFILES = Path(__file__).resolve().parents[2] / "seccomp_profiles"
SYNC = {"fdatasync", "fsync", "sync", "sync_file_range", "syncfs"}


def shipped(name: str) -> dict[str, Any]:
    found = json.loads((PROFILES / name).read_text())
    assert isinstance(found, dict)
    return found


def test_the_one_for_qubes_builder_differs_in_waiting_for_disks_alone() -> None:
    """Whoever changes default.json makes the same change there."""
    default, other = shipped("default.json"), shipped("qubes-builder.json")
    *rules, added, rest = other["syscalls"]
    assert set(added["names"]) == SYNC
    assert (added["action"], added["errnoRet"]) == ("SCMP_ACT_ERRNO", 0)
    rest = {**rest, "names": sorted([*rest["names"], *SYNC])}
    assert [*rules, rest] == default["syscalls"]
    assert {**other, "comment": "", "syscalls": []} == {**default, "comment": "", "syscalls": []}


def test_all_of_them_compile() -> None:
    names = sorted(path.name for path in PROFILES.glob("*.json"))
    assert names == ["default.json", "qubes-builder.json"]
    for name in names:
        assert compile_profile(parse((PROFILES / name).read_bytes(), name), name)
