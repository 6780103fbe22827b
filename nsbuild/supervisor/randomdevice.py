"""std::random_device of GNU's C++ library: found in a program's memory, and made to ask the kernel.

Where the processor has RDSEED or RDRAND the library's `std::random_device` executes it, and no
filter sees that. Every number it gives comes from the exported function `_M_getval`, which inline
code of all versions since GCC 4.7 calls. The loader of glibc has mapped all libraries when it sets
the thread pointer, so the function is looked up in the process's memory as the loader itself does
it, by the hash table of the library's symbols, and becomes a getrandom of 4 bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from nsbuild.kernel.x86_64 import RANDOM_WORD_STUB

Read = Callable[[int, int], bytes]
"""(address, size) -> what a process has there; fewer bytes where that ends."""

_LIBRARY = b"/libstdc++.so."
_FUNCTION = b"_ZNSt13random_device9_M_getvalEv"

_PT_DYNAMIC = 2
_DT_STRTAB, _DT_SYMTAB, _DT_GNU_HASH = 5, 6, 0x6FFFFEF5
_STT_FUNC = 2
_EHDR_MAGIC = b"\x7fELF\x02\x01"
_PHDR = struct.Struct("=IIQQQQ16x")
_SYMBOL = struct.Struct("=IBBHQQ")
_MOST_SEGMENTS = 64
_LONGEST_DYNAMIC = 4096
"""In bytes. What says more of itself is not looked at: it may be no library at all."""
_WORDS_AT_ONCE = 32
_LONGEST_CHAIN = 1024
"""A table in which more names than this share a bucket is none that a linker made."""


def replacements(maps: bytes, read: Read) -> Iterator[tuple[int, bytes]]:
    """What to write where into the process with these /proc/PID/maps."""
    if _LIBRARY not in maps:
        return
    for line in maps.splitlines():
        # address-address perms offset device inode path
        fields = line.split(None, 5)
        if len(fields) < 6 or _LIBRARY not in fields[5] or int(fields[2], 16):
            continue
        found = find_function(read, int(fields[0].partition(b"-")[0], 16), _FUNCTION)
        if found is not None and found[1] >= len(RANDOM_WORD_STUB):
            yield found[0], RANDOM_WORD_STUB


def gnu_hash(name: bytes) -> int:
    """The hash of DT_GNU_HASH."""
    value = 5381
    for byte in name:
        value = (value * 33 + byte) & 0xFFFFFFFF
    return value


def find_function(read: Read, base: int, name: bytes) -> tuple[int, int] | None:
    """Address and size of the function `name` of the 64-bit library that is mapped at `base`."""
    tables = _tables(read, base)
    if tables is None:
        return None
    hashes, symbols, names = tables
    try:
        buckets, first, bloom, _ = struct.unpack("=IIII", read(hashes, 16))
        wanted = gnu_hash(name)
        bucket_list = hashes + 16 + bloom * 8
        (index,) = struct.unpack("=I", read(bucket_list + wanted % buckets * 4, 4))
        if index < first:
            return None
        chain = bucket_list + buckets * 4 - first * 4
        for number in _matches(read, chain, index, wanted):
            place, info, _, section, value, size = _SYMBOL.unpack(
                read(symbols + number * _SYMBOL.size, _SYMBOL.size)
            )
            ours = section and info & 0xF == _STT_FUNC
            if ours and read(names + place, len(name) + 1) == name + b"\0":
                return base + value, size
    except (struct.error, ZeroDivisionError):
        # Not what it looked like, or gone.
        return None
    return None


def _matches(read: Read, chain: int, index: int, wanted: int) -> Iterator[int]:
    """Numbers of the symbols of the chain from `index` on whose hash is `wanted`."""
    for start in range(index, index + _LONGEST_CHAIN, _WORDS_AT_ONCE):
        data = read(chain + start * 4, _WORDS_AT_ONCE * 4)
        for offset, (word,) in enumerate(struct.iter_unpack("=I", data[: len(data) & -4])):
            if word | 1 == wanted | 1:
                yield start + offset
            # The lowest bit marks the end of the chain.
            if word & 1:
                return
        if len(data) < _WORDS_AT_ONCE * 4:
            return


def _tables(read: Read, base: int) -> tuple[int, int, int] | None:
    """Addresses of the hash table, the symbols and the names of the library at `base`."""
    header = read(base, 64)
    if len(header) < 64 or not header.startswith(_EHDR_MAGIC):
        return None
    (phoff,) = struct.unpack_from("=Q", header, 32)
    (count,) = struct.unpack_from("=H", header, 56)
    if count > _MOST_SEGMENTS:
        return None
    segments = read(base + phoff, count * 56)
    if len(segments) < count * 56:
        return None
    for kind, _, _, address, _, size in _PHDR.iter_unpack(segments):
        if kind == _PT_DYNAMIC:
            dynamic = read(base + address, min(size, _LONGEST_DYNAMIC))
            tags = dict(struct.iter_unpack("=QQ", dynamic[: len(dynamic) & -16]))
            found = [tags.get(tag, 0) for tag in (_DT_GNU_HASH, _DT_SYMTAB, _DT_STRTAB)]
            if not all(found):
                return None
            # The loader of glibc may have made addresses of the offsets already.
            hashes, symbols, names = (value if value >= base else base + value for value in found)
            return hashes, symbols, names
    return None
