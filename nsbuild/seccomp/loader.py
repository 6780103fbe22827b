"""The dynamic loader's own calls are not notified: it opens libraries, and looks at each by fstat.

They are one in seven of a build's notified calls, and nothing of what the kernel answers gets out
of the loader (ld.so(8)): it compares device and inode with those of other libraries, to load none
twice. A filter can tell by the instruction which code makes a call. The address is the same in each
program, since programs have no random addresses here: the kernel maps the loader at the top of what
it gives to mappings. Where it does not (another kernel, a larger stack, another loader), the calls
are notified as ever, and all that is lost is time. Other code at that very address (a static PIE is
mapped there as well) would have to make one of these two calls with its SYSCALL at that very byte.

That is for SCHED_FIFO. Without, a fresh program would come further before its parent, let go at the
same moment, waits for it, and could see it running in /proc: as it is, that takes longer.

Only what the profile would notify is let go. A library that a process with threads loads is not
read into memory before (see supervisor.pagecache): a thread may have to sleep for it, and then
keeps its turn.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator

from nsbuild.kernel.bpf import (
    AUDIT_ARCH_X86_64,
    BPF_JMP_JA,
    BPF_JMP_JEQ_K,
    BPF_LD_W_ABS,
    BPF_MAXINSNS,
    BPF_RET_K,
    SECCOMP_DATA_ARCH,
    SECCOMP_DATA_ARGS,
    SECCOMP_DATA_IP,
    SECCOMP_DATA_NR,
    SECCOMP_RET_ALLOW,
    SECCOMP_RET_USER_NOTIF,
    SOCK_FILTER,
    instruction,
)
from nsbuild.kernel.files import AT_EMPTY_PATH
from nsbuild.kernel.x86_64 import NR
from nsbuild.tuples import NamedTuple

PATH = "lib64/ld-linux-x86-64.so.2"
"""Where the System V ABI of x86-64 has it, below the root; a program names it in PT_INTERP."""
LARGEST = 1 << 22
"""Bytes of it that are read at most."""

_PAGE = 4096
_TOP = 0x7FFF_FFFF_F000 - (128 << 20)
"""Where mappings begin, downwards, without random addresses: mmap_base of arch/x86/mm/mmap.c leaves
128 MiB for the stack, and more only for one that may grow larger than that."""
_LARGEST_STACK = (128 << 20) - (1 << 20)
"""The largest RLIMIT_STACK with which that holds: the kernel adds its guard gap of 256 pages."""

_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_PHDR = struct.Struct("<IIQQQQQQ")
_ET_DYN, _EM_X86_64, _PT_LOAD, _PF_X = 3, 62, 1, 1
_SYSCALL = b"\x0f\x05"
_MOST_BETWEEN = 16
"""Bytes of code between the number of a call, moved to eax, and its SYSCALL."""


class Sites(NamedTuple):
    """Where ld.so goes on after its openat(2) and newfstatat(2), as addresses in a guest."""

    opens: tuple[int, ...]
    looks: tuple[int, ...]


NOWHERE = Sites((), ())


def sites(text: bytes, stack: int) -> Sites:
    """The places in a loader that is this file; `stack` is the soft RLIMIT_STACK, in bytes.

    NOWHERE for what is no loader, or cannot be told.
    """
    if not 0 <= stack <= _LARGEST_STACK:
        return NOWHERE
    try:
        segments = [*_segments(text)]
    except struct.error:
        return NOWHERE
    if not segments:
        return NOWHERE
    end = max(address + size for _, _, _, address, size in segments)
    base = _TOP - (-(-end // _PAGE) * _PAGE)
    opens: list[int] = []
    looks: list[int] = []
    for flags, offset, in_file, address, _ in segments:
        if flags & _PF_X:
            code = text[offset : offset + in_file]
            opens += (base + address + at for at in _ends_of(code, NR["openat"]))
            looks += (base + address + at for at in _ends_of(code, NR["newfstatat"]))
    return Sites(tuple(opens), tuple(looks))


def _segments(text: bytes) -> Iterator[tuple[int, int, int, int, int]]:
    """Flags, offset, size in the file, address and size of each that is loaded (elf(5))."""
    head = _EHDR.unpack_from(text)
    if head[0][:6] != b"\x7fELF\x02\x01" or head[1:3] != (_ET_DYN, _EM_X86_64):
        return
    for number in range(head[10]):
        kind, flags, offset, address, _, in_file, size, _ = _PHDR.unpack_from(
            text, head[5] + number * head[9]
        )
        if kind == _PT_LOAD:
            yield flags, offset, in_file, address, size


def _ends_of(code: bytes, number: int) -> Iterator[int]:
    """Behind each SYSCALL that makes call `number`, in bytes from the beginning of `code`."""
    move = b"\xb8" + struct.pack("<I", number)
    at = code.find(move)
    while at >= 0:
        start = at + len(move)
        call = code.find(_SYSCALL, start, start + _MOST_BETWEEN)
        if call >= 0:
            yield call + len(_SYSCALL)
        at = code.find(move, start)


def let_go(program: bytes, found: Sites) -> bytes:
    """The filter `program`, but allowing what it would notify of the loader's calls."""
    if not (found.opens and found.looks):
        return program
    notify = instruction(BPF_RET_K, SECCOMP_RET_USER_NOTIF)
    size = len(program) // SOCK_FILTER.size
    tail = _tail(found)
    if size + len(tail) > BPF_MAXINSNS:
        return program
    code = [program[at : at + SOCK_FILTER.size] for at in range(0, len(program), SOCK_FILTER.size)]
    for at, one in enumerate(code):
        if one == notify:
            code[at] = instruction(BPF_JMP_JA, size - at - 1)
    return b"".join((*code, *tail))


def _tail(found: Sites) -> list[bytes]:
    """What decides about a call that is to be notified."""
    opens = _from_there(found.opens, 2, os.O_RDONLY | os.O_CLOEXEC)
    looks = _from_there(found.looks, 3, AT_EMPTY_PATH)
    notify = instruction(BPF_RET_K, SECCOMP_RET_USER_NOTIF)
    return [
        instruction(BPF_LD_W_ABS, SECCOMP_DATA_ARCH),
        instruction(BPF_JMP_JEQ_K, AUDIT_ARCH_X86_64, 1, 0),
        notify,
        instruction(BPF_LD_W_ABS, SECCOMP_DATA_NR),
        instruction(BPF_JMP_JEQ_K, NR["openat"], 0, len(opens)),
        *opens,
        instruction(BPF_JMP_JEQ_K, NR["newfstatat"], 0, len(looks)),
        *looks,
        notify,
    ]


def _from_there(addresses: Iterable[int], argument: int, value: int) -> list[bytes]:
    """Decides about a call whose 32 bits of `argument` are to be `value`."""
    low = [address & 0xFFFFFFFF for address in addresses]
    (high,) = {address >> 32 for address in addresses}
    answers = [
        instruction(BPF_RET_K, SECCOMP_RET_USER_NOTIF),
        instruction(BPF_RET_K, SECCOMP_RET_ALLOW),
    ]
    checks = [
        instruction(BPF_JMP_JEQ_K, address, len(low) - number, 0)
        for number, address in enumerate(low)
    ]
    return [
        instruction(BPF_LD_W_ABS, SECCOMP_DATA_ARGS + 8 * argument),
        instruction(BPF_JMP_JEQ_K, value, 1, 0),
        answers[0],
        instruction(BPF_LD_W_ABS, SECCOMP_DATA_IP + 4),
        instruction(BPF_JMP_JEQ_K, high, 1, 0),
        answers[0],
        instruction(BPF_LD_W_ABS, SECCOMP_DATA_IP),
        *checks,
        *answers,
    ]
