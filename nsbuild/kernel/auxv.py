"""The auxiliary vector, getauxval(3): what the kernel tells a program at exec."""

from __future__ import annotations

import struct

from .process import read_small

AT_PHDR = 3
AT_SECURE = 23
AT_RANDOM = 25
AT_SYSINFO_EHDR = 33

AT_RANDOM_SIZE = 16

_ENTRY = struct.Struct("=QQ")


def auxiliary_vector(pid: int) -> dict[int, int]:
    """Key -> value of process `pid`; OSError if it is gone. The working directory is /proc."""
    return parse_auxv(read_small(f"{pid}/auxv"))


def parse_auxv(data: bytes) -> dict[int, int]:
    """Key -> value of the bytes of an auxiliary vector."""
    return dict(_ENTRY.iter_unpack(data))
