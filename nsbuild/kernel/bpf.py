"""Classic BPF as seccomp(2) runs it: opcodes, return values and the data that a filter sees.

The names are those of <linux/bpf_common.h>, <linux/seccomp.h> and <linux/audit.h>; the layout is
`struct seccomp_data` on a little-endian machine. Nothing here decides what a filter does.
"""

from __future__ import annotations

import struct

BPF_LD_W_ABS = 0x20
BPF_ALU_AND_K = 0x54
BPF_JMP_JA = 0x05
BPF_JMP_JEQ_K = 0x15
BPF_JMP_JGT_K = 0x25
BPF_JMP_JGE_K = 0x35
BPF_JMP_JSET_K = 0x45
BPF_RET_K = 0x06

BPF_MAXINSNS = 4096
"""The longest program that the kernel takes, in instructions."""

SOCK_FILTER = struct.Struct("<HBBI")
"""`struct sock_filter`: code, jt, jf, k."""

SECCOMP_DATA_NR = 0
SECCOMP_DATA_ARCH = 4
SECCOMP_DATA_IP = 8
"""Where the caller goes on; 8 bytes, the low half first."""
SECCOMP_DATA_ARGS = 16
"""Offset of args[0]; each argument has 8 bytes, the low half first."""

SECCOMP_RET_KILL_PROCESS = 0x80000000
SECCOMP_RET_KILL_THREAD = 0x00000000
SECCOMP_RET_TRAP = 0x00030000
SECCOMP_RET_ERRNO = 0x00050000
SECCOMP_RET_USER_NOTIF = 0x7FC00000
SECCOMP_RET_TRACE = 0x7FF00000
SECCOMP_RET_LOG = 0x7FFC0000
SECCOMP_RET_ALLOW = 0x7FFF0000
SECCOMP_RET_ACTION_FULL = 0xFFFF0000
SECCOMP_RET_DATA = 0x0000FFFF

MAX_ERRNO = 4095
"""The kernel lowers a larger SECCOMP_RET_ERRNO value to this one."""

AUDIT_ARCH_I386 = 0x40000003
AUDIT_ARCH_X86_64 = 0xC000003E
X32_SYSCALL_BIT = 0x40000000
"""Set in `nr` by x32 programs, which share AUDIT_ARCH_X86_64."""


def instruction(code: int, k: int, jt: int = 0, jf: int = 0) -> bytes:
    """One `struct sock_filter`; `jt` and `jf` count the instructions to skip (0 to 255)."""
    return SOCK_FILTER.pack(code, jt, jf, k)
