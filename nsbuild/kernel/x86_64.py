"""All that is peculiar to x86-64: syscall numbers, the audit architecture, and machine code.

Numbers are those of arch/x86/entry/syscalls/syscall_64.tbl. A second architecture is a second file
like this one.
"""

from __future__ import annotations

AUDIT_ARCH = 0xC000003E
"""AUDIT_ARCH_X86_64 of linux/audit.h, as seccomp_data.arch shows it."""

NR = {
    "read": 0,
    "write": 1,
    "open": 2,
    "stat": 4,
    "fstat": 5,
    "lstat": 6,
    "poll": 7,
    "pread64": 17,
    "pwrite64": 18,
    "readv": 19,
    "writev": 20,
    "select": 23,
    "nanosleep": 35,
    "getitimer": 36,
    "alarm": 37,
    "setitimer": 38,
    "sendfile": 40,
    "connect": 42,
    "accept": 43,
    "sendto": 44,
    "recvfrom": 45,
    "sendmsg": 46,
    "recvmsg": 47,
    "bind": 49,
    "listen": 50,
    "setsockopt": 54,
    "getsockopt": 55,
    "clone": 56,
    "fork": 57,
    "vfork": 58,
    "wait4": 61,
    "uname": 63,
    "semctl": 66,
    "fsync": 74,
    "fdatasync": 75,
    "truncate": 76,
    "ftruncate": 77,
    "getdents": 78,
    "rename": 82,
    "mkdir": 83,
    "rmdir": 84,
    "creat": 85,
    "link": 86,
    "unlink": 87,
    "symlink": 88,
    "readlink": 89,
    "chmod": 90,
    "fchmod": 91,
    "chown": 92,
    "fchown": 93,
    "lchown": 94,
    "gettimeofday": 96,
    "getrusage": 98,
    "sysinfo": 99,
    "times": 100,
    "ptrace": 101,
    "setuid": 105,
    "setgid": 106,
    "setreuid": 113,
    "setregid": 114,
    "setgroups": 116,
    "setresuid": 117,
    "setresgid": 119,
    "setfsuid": 122,
    "setfsgid": 123,
    "capset": 126,
    "rt_sigtimedwait": 128,
    "utime": 132,
    "mknod": 133,
    "personality": 135,
    "statfs": 137,
    "fstatfs": 138,
    "getpriority": 140,
    "sched_getparam": 143,
    "sched_rr_get_interval": 148,
    "pivot_root": 155,
    "prctl": 157,
    "arch_prctl": 158,
    "adjtimex": 159,
    "chroot": 161,
    "mount": 165,
    "umount2": 166,
    "setxattr": 188,
    "lsetxattr": 189,
    "fsetxattr": 190,
    "removexattr": 197,
    "lremovexattr": 198,
    "fremovexattr": 199,
    "time": 201,
    "futex": 202,
    "sched_getaffinity": 204,
    "io_getevents": 208,
    "io_submit": 209,
    "getdents64": 217,
    "semtimedop": 220,
    "timer_create": 222,
    "timer_settime": 223,
    "timer_gettime": 224,
    "timer_getoverrun": 225,
    "timer_delete": 226,
    "clock_gettime": 228,
    "clock_getres": 229,
    "clock_nanosleep": 230,
    "exit_group": 231,
    "epoll_wait": 232,
    "utimes": 235,
    "mq_timedsend": 242,
    "mq_timedreceive": 243,
    "waitid": 247,
    "openat": 257,
    "mkdirat": 258,
    "mknodat": 259,
    "fchownat": 260,
    "futimesat": 261,
    "newfstatat": 262,
    "unlinkat": 263,
    "renameat": 264,
    "linkat": 265,
    "symlinkat": 266,
    "readlinkat": 267,
    "fchmodat": 268,
    "pselect6": 270,
    "ppoll": 271,
    "unshare": 272,
    "splice": 275,
    "utimensat": 280,
    "epoll_pwait": 281,
    "timerfd_create": 283,
    "timerfd_settime": 286,
    "timerfd_gettime": 287,
    "accept4": 288,
    "rt_tgsigqueueinfo": 297,
    "recvmmsg": 299,
    "clock_adjtime": 305,
    "sendmmsg": 307,
    "setns": 308,
    "getcpu": 309,
    "sched_setattr": 314,
    "sched_getattr": 315,
    "renameat2": 316,
    "seccomp": 317,
    "getrandom": 318,
    "preadv2": 327,
    "pwritev2": 328,
    "statx": 332,
    "io_pgetevents": 333,
    "pidfd_send_signal": 424,
    "move_mount": 429,
    "close_range": 436,
    "openat2": 437,
    "pidfd_getfd": 438,
    "epoll_pwait2": 441,
    "futex_waitv": 449,
}
"""The syscalls that we answer or make ourselves, by name."""

ARCH_SET_FS = 0x1002

USER_RESULT, USER_CALL = 80, 120
"""Where ptrace(2) finds what a call returns and which one it is: rax and orig_rax of sys/user.h."""

VDSO_CALLS = {
    "__vdso_clock_gettime": NR["clock_gettime"],
    "__vdso_gettimeofday": NR["gettimeofday"],
    "__vdso_time": NR["time"],
    "__vdso_clock_getres": NR["clock_getres"],
}
"""vDSO functions that become their own system call."""

JUMP_SIZE = 5
FAR_JUMP_SIZE = 13

ENOSYS_STUB = bytes.fromhex("48c7c0daffffffc3")
"""mov rax,-38; ret"""

GETCPU_STUB = bytes.fromhex("4885ff7406c707000000004885f67406c7060000000031c0c3")
"""unsigned *cpu (rdi) and *node (rsi), each perhaps NULL, become 0; returns 0."""


def syscall_stub(number: int) -> bytes:
    """A function that makes system call `number` with its own arguments and returns the result.

    It retries EINTR: a signal that lands between syscall entry and the supervisor's RECV aborts the
    call, and no caller of a vDSO function is prepared for that. rdi and rsi survive a syscall.
    """
    return b"\xb8" + number.to_bytes(4, "little") + bytes.fromhex("0f054883f8fc74f3c3")


RANDOM_WORD_STUB = (
    bytes.fromhex("f30f1efa50b8")
    + NR["getrandom"].to_bytes(4, "little")
    + bytes.fromhex("4889e7be0400000031d20f054883f8fc74e958c3")
)
"""A function that returns 4 bytes of getrandom(2) as an unsigned int, and retries EINTR.

endbr64; push rax; again: mov eax,NR; mov rdi,rsp; mov esi,4; xor edx,edx; syscall; cmp rax,-4;
je again; pop rax; ret
"""


def jump(source: int, target: int) -> bytes:
    """A near jump at address `source` to `target`."""
    return b"\xe9" + (target - source - JUMP_SIZE).to_bytes(4, "little", signed=True)


def far_jump(target: int) -> bytes:
    """A jump to the absolute address `target`; like a system call, it spoils r11.

    movabs r11,target; jmp r11
    """
    return b"\x49\xbb" + target.to_bytes(8, "little") + b"\x41\xff\xe3"


def personality_stub(persona: int, back: int) -> bytes:
    """Code for behind ARCH_SET_FS: personality(persona), the same arch_prctl again, jump to `back`.

    rdi and rsi still hold that call's arguments; the red zone below rsp is kept.
    lea rsp,[rsp-128]; push rdi; mov edi,persona; mov eax,NR; syscall; pop rdi; lea rsp,[rsp+128];
    mov eax,NR; syscall
    """
    return (
        bytes.fromhex("488d64248057bf")
        + persona.to_bytes(4, "little")
        + b"\xb8"
        + NR["personality"].to_bytes(4, "little")
        + bytes.fromhex("0f055f488da42480000000b8")
        + NR["arch_prctl"].to_bytes(4, "little")
        + b"\x0f\x05"
        + far_jump(back)
    )


PERSONALITY_STUB_SIZE = len(personality_stub(0, 0))
