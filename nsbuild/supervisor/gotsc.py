"""Go's own look at the time-stamp counter: found in its programs, and replaced by a constant.

Up to Go 1.21 the runtime mixes RDTSC into each thread's random state (`runtime.cputicks`, called by
`mcommoninit`), and from there into the order of map iteration and of goroutines. No filter sees
that instruction, and trapping it would hit the C library's loader as well. The function has had the
same machine code for many releases, so it is looked for in the program's text, once for each file,
and its two ways of reading the counter become "zero".
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable

Replacement = tuple[int, bytes]
"""An address, or an offset in a file, and the bytes that go there."""

_NOTE = b"\x04\0\0\0Go\0\0"
"""Type and name of the ELF note with Go's build id, which linkers put into the first page."""
PAGE_SIZE = 4096

_RDTSCP = bytes.fromhex("0f01f948c1e2204801d0")
"""rdtscp; shl rdx,32; add rax,rdx"""
_ZERO_RDTSCP = bytes.fromhex("31c099")
"""xor eax,eax; cdq"""
_LFENCE_RDTSC = bytes.fromhex("0fae e80f31")
_ZERO_RDTSC = bytes.fromhex("31c031d290")
"""xor eax,eax; xor edx,edx; nop"""
_NEARBY = 64
"""The variant for processors without RDTSCP follows within this many bytes."""

_PT_LOAD, _PT_PHDR = 1, 6
_EHDR = struct.Struct("=32xQ14xHH")
_PHDR = struct.Struct("=IIQQQQ16x")


def is_go(first_page: bytes) -> bool:
    """Whether the program that begins with `first_page` is a 64-bit one that Go has linked."""
    return _NOTE in first_page and first_page.startswith(b"\x7fELF\x02\x01")


class GoCounters:
    """Remembers of each program file of Go what has to be replaced in it."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, int, int], list[Replacement]] = {}

    def replacements(self, tid: int, phdr: int) -> Iterable[Replacement]:
        """What to write where into process `tid`, whose program headers lie at address `phdr`."""
        path = f"{tid}/exe"
        try:
            status = os.stat(path)
            key = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
            found = self._known.get(key)
            if found is None:
                found = self._known[key] = _search(path)
        except OSError:
            return ()
        # Offsets are from where the program headers are, so that it does not matter where the
        # kernel has put the program.
        return [(phdr + offset, code) for offset, code in found] if phdr else ()


def _search(path: str) -> list[Replacement]:
    with open(path, "rb", buffering=0) as file:
        start = file.read(PAGE_SIZE)
        if not is_go(start):
            return []
        segments, headers = _segments(start)
        found: list[Replacement] = []
        for offset, address, size in segments:
            text = os.pread(file.fileno(), size, offset)
            place = text.find(_RDTSCP)
            while place >= 0:
                found.append((address + place - headers, _ZERO_RDTSCP))
                other = text.find(_LFENCE_RDTSC, place, place + _NEARBY)
                if other >= 0:
                    found.append((address + other - headers, _ZERO_RDTSC))
                place = text.find(_RDTSCP, place + 1)
        return found


def _segments(start: bytes) -> tuple[list[tuple[int, int, int]], int]:
    """(file offset, address, size) of the executable segments; the program headers' address."""
    phoff, entry_size, count = _EHDR.unpack_from(start)
    segments: list[tuple[int, int, int]] = []
    headers = 0
    for index in range(count):
        kind, flags, offset, address, _, size = _PHDR.unpack_from(start, phoff + index * entry_size)
        if kind == _PT_PHDR:
            headers = address
        elif kind == _PT_LOAD:
            if not headers and offset <= phoff < offset + size:
                headers = address + phoff - offset
            if flags & 1:
                segments.append((offset, address, size))
    return segments, headers
