"""The loader's own calls: found in its file, and let go where a filter would notify them."""

from __future__ import annotations

import os
import struct

from hypothesis import given
from hypothesis import strategies as st

from nsbuild import seccomp
from nsbuild.kernel.bpf import SECCOMP_RET_ALLOW, SECCOMP_RET_USER_NOTIF
from nsbuild.seccomp.loader import NOWHERE, Sites, let_go, sites
from tests.unit.filters import NOTIFY, X86_64, number, run

AT_EMPTY_PATH = 0x1000
TOP = 0x7FFF_F7FF_F000
STACK = 8 << 20
FOUND = Sites((TOP - 0x300, TOP - 0x200), (TOP - 0x100,))
DEFAULT = seccomp.compiled("default")
CALLS = ["openat", "newfstatat", "open", "stat", "openat2", "read", "clone3", "getrandom", "mmap"]
FLAGS = [0, os.O_CLOEXEC, os.O_WRONLY | os.O_CLOEXEC, os.O_CLOEXEC | os.O_CREAT, AT_EMPTY_PATH]


def as_the_loader(nr: int, args: tuple[int, ...], ip: int) -> bool:
    if nr == number("openat"):
        return ip in FOUND.opens and args[2] & 0xFFFFFFFF == os.O_CLOEXEC
    return (
        nr == number("newfstatat") and ip in FOUND.looks and args[3] & 0xFFFFFFFF == AT_EMPTY_PATH
    )


@given(
    st.sampled_from(CALLS).map(number),
    st.tuples(*[st.sampled_from([*FLAGS, 1 << 32 | os.O_CLOEXEC])] * 6),
    st.sampled_from([*FOUND.opens, *FOUND.looks, 0, TOP, FOUND.looks[0] & 0xFFFFFFFF]),
    st.sampled_from([X86_64, 0x40000003]),
)
def test_only_what_would_be_notified_is_let_go(
    nr: int, args: tuple[int, ...], ip: int, arch: int
) -> None:
    before = run(DEFAULT, nr, args, arch, ip).action
    after = run(let_go(DEFAULT, FOUND), nr, args, arch, ip).action
    if before == SECCOMP_RET_USER_NOTIF and arch == X86_64 and as_the_loader(nr, args, ip):
        assert after == SECCOMP_RET_ALLOW
    else:
        assert after == before


def test_who_is_let_go() -> None:
    program = let_go(DEFAULT, FOUND)
    openat, look = number("openat"), number("newfstatat")
    for ip in FOUND.opens:
        assert run(program, openat, (0, 0, os.O_CLOEXEC), ip=ip).action == SECCOMP_RET_ALLOW
        assert run(program, look, (3, 0, 0, AT_EMPTY_PATH), ip=ip).action == NOTIFY
    ip = FOUND.looks[0]
    assert run(program, look, (3, 0, 0, AT_EMPTY_PATH), ip=ip).action == SECCOMP_RET_ALLOW
    assert run(program, look, (3, 0, 0, 0), ip=ip).action == NOTIFY
    assert run(program, openat, (0, 0, os.O_CLOEXEC), ip=ip + 1).action == NOTIFY


def test_a_call_that_only_needs_its_number_still_does() -> None:
    """For these the kernel runs no filter at all (seccomp_cache_prepare of kernel/seccomp.c)."""
    program = let_go(DEFAULT, FOUND)
    assert run(program, number("read")).loads == run(DEFAULT, number("read")).loads


def test_without_both_nothing_is_changed() -> None:
    assert let_go(DEFAULT, NOWHERE) == DEFAULT
    assert let_go(DEFAULT, Sites(FOUND.opens, ())) == DEFAULT


def loader(code: bytes, kind: int = 3) -> bytes:
    """A shared object whose second segment is this code, 0x1000 behind the first."""
    head = struct.pack(
        "<16sHHIQQQIHHHHHH",
        *(b"\x7fELF\x02\x01\x01", kind, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0),
    )
    offset = len(head) + 2 * 56
    first = struct.pack("<IIQQQQQQ", 1, 4, 0, 0, 0, offset, offset, 0x1000)
    second = struct.pack("<IIQQQQQQ", 1, 5, offset, 0x1000, 0, len(code), len(code), 0x1000)
    return head + first + second + code


def call(name: str, between: bytes = b"") -> bytes:
    return b"\xb8" + struct.pack("<I", number(name)) + between + b"\x0f\x05"


def test_calls_are_found_where_they_will_be() -> None:
    code = b"\x90" * 3 + call("openat") + call("read") + call("newfstatat", b"\x48\x89\xfe")
    base = TOP - 0x2000
    start = base + 0x1000
    assert sites(loader(code), STACK) == Sites((start + 10,), (start + len(code),))
    twice = sites(loader(code + call("openat")), STACK)
    assert twice.opens == (start + 10, start + len(code) + 7)


def test_a_number_without_a_call_is_none() -> None:
    code = call("openat")[:5] + b"\x90" * 20 + b"\x0f\x05"
    assert sites(loader(code), STACK) == NOWHERE


def test_what_is_mapped_elsewhere_is_not_looked_for() -> None:
    code = call("openat") + call("newfstatat")
    assert sites(loader(code), STACK) != NOWHERE
    assert sites(loader(code), 127 << 20) != NOWHERE
    assert sites(loader(code), 128 << 20) == NOWHERE
    assert sites(loader(code), -1) == NOWHERE
    assert sites(loader(code, kind=2), STACK) == NOWHERE


@given(st.binary(max_size=300), st.integers(0, 400))
def test_any_file_will_do(garbage: bytes, length: int) -> None:
    text = loader(call("openat") + call("newfstatat"))
    assert sites(garbage, STACK) == NOWHERE
    found = sites(text[:length] + garbage, STACK)
    assert isinstance(let_go(DEFAULT, found), bytes)
