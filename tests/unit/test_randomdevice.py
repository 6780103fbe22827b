"""std::random_device's replacement: found in an image made here, and run."""

from __future__ import annotations

import ctypes
import mmap
import platform
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsbuild.kernel.x86_64 import RANDOM_WORD_STUB
from nsbuild.supervisor.randomdevice import find_function, gnu_hash, replacements

BASE = 0x7FFFF7C00000
GETVAL = b"_ZNSt13random_device9_M_getvalEv"
MAPS = b"""\
555555554000-555555555000 r--p 00000000 fe:00 11 /usr/bin/program
7ffff7c00000-7ffff7c99000 r--p 00000000 fe:00 12 /usr/lib/libstdc++.so.6.0.30
7ffff7c99000-7ffff7d99000 r-xp 00099000 fe:00 12 /usr/lib/libstdc++.so.6.0.30
7ffff7fc5000-7ffff7fc7000 r-xp 00000000 00:00 0 [vdso]
"""


def library(functions: dict[bytes, tuple[int, int]], relocated: bool = False) -> bytes:
    """A 64-bit image with a DT_GNU_HASH of two buckets and one name that is not defined."""
    ordered = sorted(functions, key=lambda name: gnu_hash(name) % 2)
    names = b"\0undefined\0" + b"\0".join(ordered) + b"\0"
    symbols = bytes(24) + struct.pack("=IBBHQQ", 1, 0x12, 0, 0, 0, 0)
    for name in ordered:
        place = names.index(b"\0" + name + b"\0") + 1
        symbols += struct.pack("=IBBHQQ", place, 0x12, 0, 12, *functions[name])
    first = 2
    buckets, chain = [0, 0], []
    for index, name in enumerate(ordered):
        bucket = gnu_hash(name) % 2
        buckets[bucket] = buckets[bucket] or first + index
        last = index + 1 == len(ordered) or gnu_hash(ordered[index + 1]) % 2 != bucket
        chain.append(gnu_hash(name) & ~1 | last)
    table = struct.pack("=IIIIQII", 2, first, 1, 6, (1 << 64) - 1, *buckets)
    table += b"".join(struct.pack("=I", word) for word in chain)
    places = {0x6FFFFEF5: 0x200, 6: 0x400, 5: 0x800}
    added = BASE if relocated else 0
    dynamic = b"".join(struct.pack("=QQ", tag, place + added) for tag, place in places.items())
    image = bytearray(0x2000)
    image[:64] = b"\x7fELF\x02\x01".ljust(64, b"\0")
    struct.pack_into("=Q", image, 32, 64)
    struct.pack_into("=H", image, 56, 1)
    struct.pack_into("=IIQQQQQQ", image, 64, 2, 6, 0x1000, 0x1000, 0, 0x40, 0x40, 8)
    for place, data in ((0x200, table), (0x400, symbols), (0x800, names), (0x1000, dynamic)):
        image[place : place + len(data)] = data
    return bytes(image)


class Reader:
    """A process that has `image` at BASE and nothing else."""

    def __init__(self, image: bytes) -> None:
        self.image = image

    def __call__(self, address: int, size: int) -> bytes:
        start = address - BASE
        return self.image[start : start + size] if start >= 0 else b""


ORDINARY = {GETVAL: (0x1400, 131), b"_ZNSt13random_device7_M_finiEv": (0x1500, 49), b"x": (1, 2)}


@pytest.mark.parametrize("relocated", [False, True])
def test_every_function_is_found(relocated: bool) -> None:
    read = Reader(library(ORDINARY, relocated))
    for name, (value, size) in ORDINARY.items():
        assert find_function(read, BASE, name) == (BASE + value, size)
    for missing in (b"undefined", b"y", b"z", GETVAL + b"x"):
        assert find_function(read, BASE, missing) is None


def test_the_function_is_replaced_once() -> None:
    found = list(replacements(MAPS, Reader(library(ORDINARY))))
    assert found == [(BASE + 0x1400, RANDOM_WORD_STUB)]


def test_one_without_room_is_left() -> None:
    small = {GETVAL: (0x1400, len(RANDOM_WORD_STUB) - 1)}
    assert list(replacements(MAPS, Reader(library(small)))) == []


def test_a_program_without_the_library_is_not_read() -> None:
    def never(address: int, size: int) -> bytes:
        raise AssertionError((address, size))

    assert list(replacements(MAPS.replace(b"stdc++", b"c"), never)) == []


@given(st.integers(0, 0x2000), st.binary(min_size=1, max_size=64), st.integers(0, 0x2000))
def test_a_broken_library_is_left_alone(place: int, noise: bytes, end: int) -> None:
    image = bytearray(library(ORDINARY))
    image[place : place + len(noise)] = noise
    list(replacements(MAPS, Reader(bytes(image[:end]))))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="machine code of x86-64")
def test_the_code_draws_words() -> None:
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(RANDOM_WORD_STUB)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    draw = ctypes.CFUNCTYPE(ctypes.c_uint)(address)
    drawn = {draw() for _ in range(100)}
    assert len(drawn) > 95
    assert max(drawn) >> 24
