"""Seccomp filters as the kernel runs them, in a small interpreter of classic BPF."""

from __future__ import annotations

import struct
from typing import NamedTuple

import pyseccomp

from nsbuild.kernel.libseccomp import NEWER_SYSCALLS_X86_64

X86_64 = 0xC000003E

ALLOW = 0x7FFF0000
NOTIFY = 0x7FC00000
LOG = 0x7FFC0000


def failing(number: int) -> int:
    """The value with which a filter makes a call fail with an errno."""
    return 0x00050000 | number


class Outcome(NamedTuple):
    """What a program returned, what it loaded (offsets), and how many instructions it took."""

    action: int
    loads: frozenset[int]
    steps: int


def run(
    program: bytes, nr: int, args: tuple[int, ...] = (), arch: int = X86_64, ip: int = 0
) -> Outcome:
    """Run `program` as the kernel would; only the opcodes that seccomp programs need."""
    data = struct.pack("<IIQ6Q", nr & 0xFFFFFFFF, arch, ip, *args, *[0] * (6 - len(args)))
    code = list(struct.iter_unpack("<HBBI", program))
    accumulator, at = 0, 0
    loads: set[int] = set()
    for steps in range(1, len(code) + 1):
        opcode, jt, jf, k = code[at]
        at += 1
        if opcode == 0x06:
            return Outcome(k, frozenset(loads), steps)
        if opcode == 0x20:
            accumulator = struct.unpack_from("<I", data, k)[0]
            loads.add(k)
        elif opcode == 0x54:
            accumulator &= k
        elif opcode == 0x05:
            at += k
        else:
            # KeyError: an opcode that has no business in such a program.
            test = {0x15: accumulator == k, 0x25: accumulator > k, 0x35: accumulator >= k}[opcode]
            at += jt if test else jf
    raise AssertionError("the program does not end")


def number(name: str) -> int:
    known: int = pyseccomp.resolve_syscall(pyseccomp.Arch.X86_64, name)
    return known if known >= 0 else NEWER_SYSCALLS_X86_64[name]
