"""What is written into programs: the vDSO's replacement and Go's counter, on images made here."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from nsbuild.kernel.x86_64 import (
    ENOSYS_STUB,
    NR,
    VDSO_CALLS,
    far_jump,
    jump,
    personality_stub,
    syscall_stub,
)
from nsbuild.supervisor import gotsc, vdso


def vdso_image(symbols: dict[str, tuple[int, int]]) -> bytes:
    """A 64-bit ELF image as a kernel maps it: one segment, a symbol table with DT_HASH."""
    names = b"\0" + b"\0".join(name.encode() for name in symbols) + b"\0"
    table = bytes(24)
    for name, (start, size) in symbols.items():
        place = names.index(b"\0" + name.encode() + b"\0") + 1
        table += struct.pack("=IBBHQQ", place, 0x12, 0, 12, start, size)
    layout = {"symtab": 0x400, "strtab": 0x200, "hash": 0x180, "dynamic": 0x100}
    dynamic = b"".join(
        struct.pack("=QQ", tag, layout[name])
        for tag, name in ((5, "strtab"), (6, "symtab"), (4, "hash"))
    )
    image = bytearray(b"\xcc" * 0x2000)
    header = (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + struct.pack("=HHIQQQIHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 2)
    )
    image[0 : len(header)] = header
    load = struct.pack("=IIQQQQQQ", 1, 5, 0, 0, 0, 0x2000, 0x2000, 0x1000)
    dyn = struct.pack("=IIQQQQQQ", 2, 4, 0x100, 0x100, 0, 0x40, 0x40, 8)
    image[64 : 64 + 112] = load + dyn
    image[0x100 : 0x100 + len(dynamic) + 16] = dynamic + bytes(16)
    image[0x180:0x188] = struct.pack("=II", 1, len(symbols) + 1)
    image[0x200 : 0x200 + len(names)] = names
    image[0x400 : 0x400 + len(table)] = table
    return bytes(image)


ORDINARY = {
    "__vdso_gettimeofday": (0x810, 683),
    "__vdso_clock_gettime": (0xAF0, 902),
    "__vdso_time": (0xAC0, 40),
    "__vdso_clock_getres": (0xE80, 127),
    "__vdso_getrandom": (0xF40, 913),
    "__vdso_something_new": (0x1400, 100),
}


def test_each_function_is_replaced_at_its_start() -> None:
    patch = vdso.Patch(vdso_image(ORDINARY))
    for name, number in VDSO_CALLS.items():
        start = ORDINARY[name][0] - patch.offset
        stub = syscall_stub(number)
        assert patch.code[start : start + len(stub)] == stub
    assert patch.code.endswith(ENOSYS_STUB)
    assert patch.offset == 0x810
    assert len(patch.code) == 0xF40 + len(ENOSYS_STUB) - 0x810
    assert patch.code.startswith(patch.mark)


def test_what_lies_between_is_left_alone() -> None:
    image = vdso_image(ORDINARY)
    patch = vdso.Patch(image)
    changed = {i for i, byte in enumerate(patch.code) if image[patch.offset + i] != byte}
    allowed = {
        start - patch.offset + i
        for start, _ in ORDINARY.values()
        for i in range(len(ENOSYS_STUB) + 6)
    }
    assert changed <= allowed


def test_a_function_without_room_jumps_to_a_stub_in_spare_room() -> None:
    """As the 5-byte thunks that some kernels have."""
    patch = vdso.Patch(vdso_image(ORDINARY | {"__vdso_time": (0xAC0, 5)}))
    start = 0xAC0 - patch.offset
    code = patch.code[start : start + 5]
    assert code[:1] == b"\xe9"
    target = start + 5 + int.from_bytes(code[1:], "little", signed=True)
    stub = syscall_stub(NR["time"])
    assert patch.code[target : target + len(stub)] == stub
    assert jump(0xAC0, target + patch.offset) == code


def test_no_room_at_all_is_no_silent_leak() -> None:
    with pytest.raises(AssertionError, match="no room"):
        vdso.Patch(vdso_image({"__vdso_time": (0xAC0, 3), "__vdso_clock_gettime": (0xAF0, 20)}))
    with pytest.raises(AssertionError, match="none of the functions"):
        vdso.Patch(vdso_image({"__vdso_other": (0xAC0, 30)}))


def test_this_kernels_vdso_is_understood() -> None:
    patch = vdso.Patch.of_this_kernel()
    assert syscall_stub(NR["clock_gettime"]) in patch.code


def test_a_detour_fits_behind_all_stubs() -> None:
    patch = vdso.Patch(vdso_image(ORDINARY | {"__vdso_time": (0xAC0, 5)}))
    size = len(personality_stub(0, 0))
    # In the largest function, which lies within: nothing of ours may be there.
    assert 0xF40 + len(ENOSYS_STUB) <= patch.room <= 0xF40 + 913 - size
    end = patch.offset + len(patch.code)
    assert patch.room >= end or b"\xcc" * size == patch.code[patch.room - patch.offset :][:size]


def test_no_room_for_a_detour_is_no_silent_leak() -> None:
    with pytest.raises(AssertionError, match="detour"):
        vdso.Patch(vdso_image({"__vdso_clock_gettime": (0xAF0, 40)}))


def test_code_of_a_detour() -> None:
    """Both calls as they are decoded, and all but rcx, r11 and the result is as before."""
    code = personality_stub(0x4040000, 0x7FFFF7D00123)
    assert code.hex() == (
        "488d642480"  # lea rsp,[rsp-128]
        "57"  # push rdi
        "bf00000404"  # mov edi,0x4040000
        "b887000000"  # mov eax,135
        "0f05"
        "5f"  # pop rdi
        "488da42480000000"  # lea rsp,[rsp+128]
        "b89e000000"  # mov eax,158
        "0f05"
        "49bb2301d0f7ff7f0000"  # movabs r11,0x7ffff7d00123
        "41ffe3"  # jmp r11
    )
    assert code.endswith(far_jump(0x7FFFF7D00123))


COUNTER = bytes.fromhex("0f01f948c1e2204801d04889442408c30faef00faee80f31ebe9")


def program(text: bytes, go: bool) -> bytes:
    """A static ELF program at 0x400000 with `text` at 0x1000 of the file."""
    note = struct.pack("=III4s", 4, 4, 4, b"Go\0\0" if go else b"GNU\0") + b"abcd"
    header = (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + struct.pack("=HHIQQQIHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, 1)
    )
    load = struct.pack("=IIQQQQQQ", 1, 5, 0, 0x400000, 0, 0x1000 + len(text), 0, 0x1000)
    return (header.ljust(64, b"\0") + load + note).ljust(0x1000, b"\0") + text


def test_gos_counter_is_found_where_the_program_lies(tmp_path: Path) -> None:
    file = tmp_path / "program"
    file.write_bytes(program(b"\x90" * 100 + COUNTER + b"\x90" * 100, go=True))
    found = dict(gotsc._search(str(file)))
    # Offsets count from the program headers, which follow the ELF header.
    place = 0x1000 + 100 - 64
    assert found == {place: bytes.fromhex("31c099"), place + 19: bytes.fromhex("31c031d290")}


def test_other_programs_are_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "program"
    file.write_bytes(program(COUNTER, go=False))
    assert gotsc._search(str(file)) == []
    assert not gotsc.is_go(b"")


def test_replacements_keep_the_length_of_what_they_replace() -> None:
    assert len(gotsc._ZERO_RDTSCP) == 3
    assert len(gotsc._ZERO_RDTSC) == len(gotsc._LFENCE_RDTSC)


@pytest.mark.skipif(shutil.which("go") is None, reason="no Go compiler here")
def test_a_real_go_program(tmp_path: Path) -> None:
    (tmp_path / "main.go").write_text("package main\n\nfunc main() { println(1) }\n")
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GO111MODULE": "off"}
    subprocess.run(
        ["go", "build", "-o", "main", "main.go"], cwd=tmp_path, env=environment, check=True
    )
    assert gotsc.is_go((tmp_path / "main").read_bytes()[:4096])
    assert len(gotsc._search(str(tmp_path / "main"))) == 2
