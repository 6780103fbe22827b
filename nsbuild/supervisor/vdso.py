"""The vDSO's replacement: every function in it that gives time or chance away.

The clock functions become the plain system calls, getcpu says 0, and getrandom says ENOSYS, so that
the C library falls back to the system call. The bytes are computed once; the exec hook writes them
into each program.
"""

from __future__ import annotations

import os
import struct

from nsbuild.kernel.auxv import AT_SYSINFO_EHDR, parse_auxv
from nsbuild.kernel.process import read_small
from nsbuild.kernel.x86_64 import (
    ENOSYS_STUB,
    GETCPU_STUB,
    JUMP_SIZE,
    PERSONALITY_STUB_SIZE,
    VDSO_CALLS,
    jump,
    syscall_stub,
)

_IMAGE_LIMIT = 1 << 16
MARK_SIZE = 14
"""How many of the first bytes tell a replaced vDSO from a fresh one: a whole stub."""

_SYMBOL = struct.Struct("=IBBHQQ")
_DT_STRTAB, _DT_SYMTAB, _DT_HASH = 5, 6, 4
_PT_LOAD, _PT_DYNAMIC = 1, 2


class Patch:
    """The bytes that replace a span of the vDSO: computed once, the same for each program.

    All 64-bit processes of one kernel map the same image, so ours serves as the original. `code`
    goes to `offset`; `mark` is how it begins.
    """

    def __init__(self, image: bytes) -> None:
        functions = {name: place for name, place in _functions(image).items() if name in _STUBS}
        if not functions:
            raise AssertionError("this kernel's vDSO has none of the functions that are replaced")
        pieces: dict[int, bytes] = {}
        spare, spare_end = _spare_room(functions)
        for name, (start, size) in functions.items():
            stub = _STUBS[name]
            if len(stub) > size:
                # A function that only jumps elsewhere has no room: it jumps to a stub of ours.
                if size < JUMP_SIZE or spare + len(stub) > spare_end:
                    raise AssertionError(f"no room in the vDSO for {name}")
                pieces[spare] = stub
                stub, spare = jump(start, spare), spare + len(stub)
            pieces[start] = stub
        self.room = spare
        """Where PERSONALITY_STUB_SIZE bytes are to spare."""
        if spare + PERSONALITY_STUB_SIZE > spare_end:
            raise AssertionError("no room in the vDSO for a detour")
        # One write from the first stub to the last costs less than one for each, as long as it
        # touches no page that would not be copied anyway.
        self.offset = min(pieces)
        end = max(start + len(piece) for start, piece in pieces.items())
        code = bytearray(image[self.offset : end])
        for start, piece in pieces.items():
            code[start - self.offset : start - self.offset + len(piece)] = piece
        self.code = bytes(code)
        self.mark = self.code[:MARK_SIZE]

    @classmethod
    def of_this_kernel(cls) -> Patch:
        """Read our own vDSO."""
        start = parse_auxv(read_small("/proc/self/auxv"))[AT_SYSINFO_EHDR]
        fd = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            # The read ends where the mapping does.
            return cls(os.pread(fd, _IMAGE_LIMIT, start))
        finally:
            os.close(fd)


_STUBS = {
    **{name: syscall_stub(number) for name, number in VDSO_CALLS.items()},
    "__vdso_getcpu": GETCPU_STUB,
    "__vdso_getrandom": ENOSYS_STUB,
}


def _spare_room(functions: dict[str, tuple[int, int]]) -> tuple[int, int]:
    """Start and end of what the largest function leaves unused behind its own stub."""
    name, (start, size) = max(functions.items(), key=lambda item: item[1][1])
    return start + len(_STUBS[name]), start + size


def _functions(image: bytes) -> dict[str, tuple[int, int]]:
    """Name -> (offset, size) of the dynamic symbols of an ELF64 image as it lies in memory."""
    (phoff,) = struct.unpack_from("=Q", image, 32)
    phentsize, phnum = struct.unpack_from("=HH", image, 54)
    base = dynamic = 0
    for index in range(phnum):
        kind, _, offset, address = struct.unpack_from("=IIQQ", image, phoff + index * phentsize)
        if kind == _PT_LOAD:
            base = address - offset
        elif kind == _PT_DYNAMIC:
            dynamic = offset
    tags: dict[int, int] = {}
    for tag, value in struct.iter_unpack("=QQ", image[dynamic : dynamic + 32 * 16]):
        if not tag:
            break
        tags[tag] = value - base
    # DT_HASH's second word is the number of symbols; the kernel's vDSO has kept it on x86-64.
    (count,) = struct.unpack_from("=I", image, tags[_DT_HASH] + 4)
    found = {}
    for index in range(count):
        name, _, _, section, value, size = _SYMBOL.unpack_from(
            image, tags[_DT_SYMTAB] + index * _SYMBOL.size
        )
        if section:
            start = tags[_DT_STRTAB] + name
            found[image[start : image.index(b"\0", start)].decode()] = (value - base, size)
    return found
