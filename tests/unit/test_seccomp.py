"""Seccomp profiles: what a compiled program does, and what is refused.

What a program does is found out by running it, in a small interpreter of classic BPF and once in
the kernel, and compared with what a few lines of plain Python say that the profile means.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyseccomp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nsbuild import seccomp
from nsbuild.errors import NsbuildError
from nsbuild.kernel.libseccomp import NEWER_SYSCALLS_X86_64
from nsbuild.seccomp.compile import compile_profile
from nsbuild.seccomp.profile import OPERATORS, parse
from tests.unit.filters import ALLOW, LOG, NOTIFY, failing, number, run

I386 = 0x40000003
AARCH64 = 0xC00000B7

ENOSYS = failing(errno.ENOSYS)
EPERM = failing(errno.EPERM)
SUCCEED = failing(0)


def compiled(profile: object) -> bytes:
    return compile_profile(parse(json.dumps(profile).encode(), "test"), "test")


def profile(*rules: dict[str, Any], **more: object) -> dict[str, Any]:
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno.ENOSYS,
        "syscalls": list(rules),
        **more,
    }


def rule(
    names: str, action: str = "ALLOW", *args: dict[str, Any], **more: object
) -> dict[str, Any]:
    return {"names": names.split(), "action": f"SCMP_ACT_{action}", "args": list(args), **more}


def arg(index: int, op: str, value: int, two: int = 0) -> dict[str, Any]:
    return {"index": index, "op": f"SCMP_CMP_{op}", "value": value, "valueTwo": two}


@pytest.fixture(scope="module")
def shipped() -> dict[str, Any]:
    """The default profile as JSON."""
    loaded: dict[str, Any] = json.loads(Path(seccomp.locate("default")).read_text())
    return loaded


@pytest.fixture(scope="module")
def default(shipped: dict[str, Any]) -> bytes:
    return compiled(shipped)


# The default profile


def each(names: str, action: int) -> list[tuple[str, tuple[int, ...], int]]:
    return [(name, (), action) for name in names.split()]


def opens(action: int, *flags: int) -> list[tuple[str, tuple[int, ...], int]]:
    calls = (("openat", (AT_FDCWD, 0)), ("open", (0,)))
    return [(name, (*args, flag), action) for name, args in calls for flag in flags]


AT_FDCWD = 0xFFFFFF9C

EXPECTED = [
    *each("read write close execve ptrace access wait4 prctl futex", ALLOW),
    *each("mount unshare setns chroot pivot_root setuid capset", NOTIFY),
    *each("stat lstat fstat newfstatat statx getdents64 statfs", NOTIFY),
    *each("creat openat2 rename unlinkat mkdir symlink utimensat chmod", NOTIFY),
    *opens(NOTIFY, 0, *(os.O_NOCTTY | flag for flag in (os.O_CLOEXEC, os.O_RDWR, os.O_CREAT))),
    *opens(NOTIFY, os.O_CLOEXEC, os.O_WRONLY, os.O_TRUNC, os.O_CREAT, os.O_CREAT | os.O_EXCL),
    *opens(ALLOW, os.O_PATH, os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW, os.O_NOCTTY),
    *each("seccomp sendfile splice exit_group bind connect listen", NOTIFY),
    *(("sendto", (3, 9, 9, 9, to), NOTIFY if to else ALLOW) for to in (0, 1 << 40)),
    *(("prctl", (option,), NOTIFY) for option in (22, 22 | 1 << 40)),
    ("prctl", (23,), ALLOW),
    *each("clock_gettime gettimeofday time times clock_getres getrusage getrandom getcpu", NOTIFY),
    *each("uname sysinfo fork vfork adjtimex clock_adjtime nanosleep clock_nanosleep", NOTIFY),
    *each("sched_getaffinity sched_getattr sched_getparam getpriority", NOTIFY),
    *each("sched_setaffinity sched_setscheduler sched_setattr sched_getscheduler", SUCCEED),
    *each("setpriority ioprio_set", SUCCEED),
    *each("clock_settime settimeofday bpf kexec_load acct open_by_handle_at", EPERM),
    *each("init_module swapon iopl syslog", EPERM),
    *each("clone3 rseq io_uring_setup get_mempolicy nfsservctl fchmodat2 statmount", ENOSYS),
    *each("keyctl add_key request_key kcmp", ENOSYS),
    *(("clone", (flags,), NOTIFY) for flags in (0x11, 0x01200011, 0x003D0F00)),
    ("arch_prctl", (0x1002, 0x7FFF00000000), NOTIFY),
    # The kernel's option is an int: the upper half is not looked at, so a filter must not either.
    ("arch_prctl", (0xDEADBEEF00001002,), NOTIFY),
    *(("arch_prctl", (code,), ALLOW) for code in (0x11002, 0x1012, 0x1003)),
    ("ioctl", (0, 0x5401), ALLOW),
    ("ioctl", (0, 0x5412), EPERM),
    ("ioctl", (0x5412, 0x5413), ALLOW),
    *(("ioctl", (0, request), EPERM) for request in (0xFFFFFFFF00005412, 0x541C)),
    ("getsockopt", (57, 1 << 32 | 1, 1 << 32 | 57), failing(errno.ENOPROTOOPT)),
    *(("setsockopt", (3, 1, option), NOTIFY) for option in (20, 21, 66, 67, 5 << 32 | 20)),
    *(("getsockopt", (3, 6 << 32 | 1, option), NOTIFY) for option in (20, 21, 66, 67)),
    *(("setsockopt", (3, level, option), ALLOW) for level, option in ((1, 19), (1, 22), (6, 20))),
    *(("getsockopt", (3, level, option), ALLOW) for level, option in ((1, 65), (1, 68), (6, 66))),
    ("socket", (1, 1), ALLOW),
    ("socket", (38, 5), failing(errno.EAFNOSUPPORT)),
    ("socket", (1 << 32 | 40, 1), failing(errno.EAFNOSUPPORT)),
]


@pytest.mark.parametrize(("name", "args", "action"), EXPECTED)
def test_default_profile(default: bytes, name: str, args: tuple[int, ...], action: int) -> None:
    assert run(default, number(name), args).action == action


def test_every_call_of_the_default_profile(shipped: dict[str, Any], default: bytes) -> None:
    """With arguments that no condition fits, each call does what its one plain rule says."""
    plain: dict[str, int] = {}
    for item in shipped["syscalls"]:
        if "args" not in item:
            for name in item["names"]:
                assert name not in plain, f"{name} has two rules"
                plain[name] = action_of(item)
    # No open for writing; calls that wait with a timeout; no sendto with an address.
    args = {name: (~0 % 2**32, 0xFFFFFC3C, 0x7FFFFC3C, 1, name != "sendto") for name in plain}
    assert {name: run(default, number(name), args[name]).action for name in plain} == plain


def test_the_default_profile_decides_about_every_call(shipped: dict[str, Any]) -> None:
    """A new libseccomp with names that nobody has thought about is worth a look."""
    decided = {name for item in shipped["syscalls"] for name in item["names"]}
    assert decided >= set(library_names())
    assert decided >= set(NEWER_SYSCALLS_X86_64)


def test_the_lists_are_sorted(shipped: dict[str, Any]) -> None:
    for item in shipped["syscalls"]:
        assert item["names"] == sorted(set(item["names"]))


def library_names() -> Iterator[str]:
    for nr in range(600):
        try:
            yield pyseccomp.resolve_syscall(pyseccomp.Arch.X86_64, nr).decode()
        except ValueError:
            continue


@given(nr=st.integers(0, 0x3FFFFFFF), args=st.tuples(*[st.integers(0, 2**64 - 1)] * 6))
def test_a_number_that_is_in_no_rule(default: bytes, nr: int, args: tuple[int, ...]) -> None:
    known = {*map(number, library_names()), *NEWER_SYSCALLS_X86_64.values()}
    if nr not in known:
        assert run(default, nr, args).action == ENOSYS


@given(nr=st.integers(0, 2**32 - 2))
def test_other_abis(default: bytes, nr: int) -> None:
    assert run(default, nr, arch=I386).action == NOTIFY
    assert run(default, nr, arch=AARCH64).action == ENOSYS
    assert run(default, nr | 0x40000000).action == ENOSYS


def test_a_call_that_a_tracer_skips(default: bytes) -> None:
    """ptrace(2): a tracer writes -1 for the number, and its own result must survive."""
    assert run(default, -1).action == ALLOW


def test_allowed_calls_cost_nothing(shipped: dict[str, Any], default: bytes) -> None:
    """kernel/seccomp.c, seccomp_is_const_allow: what reads only nr and arch is not run again."""
    conditional = {name for item in shipped["syscalls"] if "args" in item for name in item["names"]}
    allowed = next(item for item in shipped["syscalls"] if item["action"] == "SCMP_ACT_ALLOW")
    for name in set(allowed["names"]) - conditional:
        outcome = run(default, number(name))
        assert outcome.loads <= {0, 4}, name
        assert outcome.steps < 32, name


def test_the_kernel_takes_it(default: bytes, checkout: Path) -> None:
    """As any user: NO_NEW_PRIVS. The listener is closed, so what is notified fails with ENOSYS."""
    script = """if True:
        import errno, fcntl, os, prctl, sys
        from nsbuild.kernel.seccomp import Program
        program = Program(sys.stdin.buffer.read())
        prctl.set_no_new_privs(1)
        os.close(program.install())
        def error(function, *args):
            try:
                function(*args)
            except OSError as failure:
                return errno.errorcode[failure.errno]
            return "none"
        print(error(os.sched_setaffinity, 0, {4095}), error(os.uname), error(os.getpgid, 0),
              error(fcntl.ioctl, 0, 0x5412, b"x"), error(os.setpriority, 0, 0, 19))
    """
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=checkout,
        input=default,
        stdout=subprocess.PIPE,
        check=True,
    )
    assert done.stdout.decode().split() == ["none", "ENOSYS", "none", "EPERM", "none"]


# What rules mean

CALLS = ("getppid", "socket", "ioctl", "mseal")
EDGES = [0, 1, 0xFFFFFFFF, 1 << 32, (1 << 32) + 1, 0x5412, 2**63, 2**64 - 1]
words = st.sampled_from(EDGES) | st.integers(0, 2**64 - 1)


@st.composite
def conditions(draw: st.DrawFn) -> list[dict[str, Any]]:
    chosen = []
    for index in draw(st.lists(st.integers(0, 5), unique=True, max_size=6)):
        op = draw(st.sampled_from(OPERATORS))
        value = draw(words.filter(bool) if op == "MASKED_EQ" else words)
        chosen.append(arg(index, op, value, draw(words) & value if op == "MASKED_EQ" else 0))
    return chosen


@st.composite
def rules(draw: st.DrawFn) -> list[dict[str, Any]]:
    actions = ("ALLOW", "NOTIFY", "ERRNO", "KILL_PROCESS", "KILL_THREAD", "TRAP", "LOG")
    chosen, plain = [], set()
    for _ in range(draw(st.integers(0, 6))):
        name = draw(st.sampled_from(CALLS))
        found = draw(conditions())
        if not found and name in plain:
            continue
        if not found:
            plain.add(name)
        chosen.append(rule(name, draw(st.sampled_from(actions)), *found))
    return chosen


def action_of(item: dict[str, Any]) -> int:
    name = item["action"].removeprefix("SCMP_ACT_")
    return {
        "ALLOW": ALLOW,
        "NOTIFY": NOTIFY,
        "ERRNO": failing(item.get("errnoRet", errno.EPERM)),
        "KILL_PROCESS": 0x80000000,
        "KILL_THREAD": 0,
        "KILL": 0,
        "TRAP": 0x00030000,
        "LOG": LOG,
    }[name]


def holds(item: dict[str, Any], args: tuple[int, ...]) -> bool:
    for condition in item["args"]:
        got, value = args[condition["index"]], condition["value"]
        if not {
            "NE": got != value,
            "LT": got < value,
            "LE": got <= value,
            "EQ": got == value,
            "GE": got >= value,
            "GT": got > value,
            "MASKED_EQ": got & value == condition["valueTwo"],
        }[condition["op"].removeprefix("SCMP_CMP_")]:
            return False
    return True


def meaning(chosen: list[dict[str, Any]], name: str, args: tuple[int, ...]) -> int:
    """Conditional rules in order, then the plain one, then the default."""
    mine = [item for item in chosen if name in item["names"]]
    for item in sorted(mine, key=lambda item: not item["args"]):
        if holds(item, args):
            return action_of(item)
    return ENOSYS


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(chosen=rules(), data=st.data())
def test_rules_mean_what_they_say(chosen: list[dict[str, Any]], data: st.DataObject) -> None:
    program = compiled(profile(*chosen))
    named = [item["value"] for each in chosen for item in each["args"]]
    near = sorted({value + step & 2**64 - 1 for value in [*EDGES, *named] for step in (-1, 0, 1)})
    for name in CALLS:
        for _ in range(10):
            args = data.draw(st.tuples(*[st.sampled_from(near) | words] * 6))
            assert run(program, number(name), args).action == meaning(chosen, name, args)


def test_a_plain_rule_does_not_swallow_a_condition() -> None:
    """It does in libseccomp 2.5, whichever comes first."""
    condition = rule("arch_prctl", "NOTIFY", arg(0, "EQ", 0x1002))
    for order in ([condition, rule("arch_prctl")], [rule("arch_prctl"), condition]):
        program = compiled(profile(*order))
        assert run(program, number("arch_prctl"), (0x1002,)).action == NOTIFY
        assert run(program, number("arch_prctl"), (0x1003,)).action == ALLOW


def test_a_condition_may_lead_back_to_the_default() -> None:
    program = compiled(
        profile(rule("socket", "ERRNO", arg(0, "EQ", 2), errnoRet=38), rule("socket"))
    )
    assert run(program, number("socket"), (2,)).action == ENOSYS
    assert run(program, number("socket"), (1,)).action == ALLOW


def test_long_programs_jump_far() -> None:
    names = sorted(library_names())[:120]
    chosen = [
        rule(name, "ERRNO", *[arg(index, "EQ", place) for index in range(4)], errnoRet=place)
        for place, name in enumerate(names)
    ]
    program = compiled(profile(*chosen))
    for place, name in enumerate(names):
        assert run(program, number(name), (place,) * 4).action == failing(place)
        assert run(program, number(name), (place,) * 3).action == (ENOSYS if place else SUCCEED)


def test_defaults_and_comments() -> None:
    assert run(compiled({"defaultAction": "SCMP_ACT_ALLOW", "_comment": [1]}), 0).action == ALLOW
    assert run(compiled({"defaultAction": "SCMP_ACT_ERRNO"}), 0).action == EPERM
    commented = rule("read", comment="x", _comment=None)
    assert run(compiled(profile(commented, comment="y")), 0).action == ALLOW
    portable = profile(rule("read"), architectures=["SCMP_ARCH_AARCH64", "SCMP_ARCH_X86_64"])
    assert run(compiled(portable), 0).action == ALLOW


def test_names_that_the_library_may_not_know() -> None:
    program = compiled(profile(rule(" ".join(NEWER_SYSCALLS_X86_64))))
    for nr in NEWER_SYSCALLS_X86_64.values():
        assert run(program, nr).action == ALLOW
    for name, nr in NEWER_SYSCALLS_X86_64.items():
        assert pyseccomp.resolve_syscall(pyseccomp.Arch.X86_64, name) in {nr, -1}


def test_names_of_other_architectures_are_no_error() -> None:
    assert compiled(profile(rule("socketcall fstat64 read"))) == compiled(profile(rule("read")))


# What is refused

BAD = [
    (b"", "line 1, column 1: not JSON"),
    (
        b'{\n  "defaultAction": "SCMP_ACT_ALLOW",\n  "syscalls": [,]\n}',
        "line 3, column 16: not JSON",
    ),
    (b'{"a": 1, "a": 2}', "key 'a' twice"),
    (b'{"defaultAction": "\xff"}', "line 1: not UTF-8"),
    (b"[" * 200_000, "nested too deeply"),
    (b'{"defaultErrnoRet": ' + b"1" * 5000 + b"}", "not JSON that can be read"),
    ([], "must be an object, not a list"),
    ({}, "defaultAction is missing"),
    ({"defaultAction": 1}, "defaultAction: must be a string, not a number"),
    ({"defaultAction": "SCMP_ACT_ALOW"}, "'SCMP_ACT_ALOW' (did you mean SCMP_ACT_ALLOW?)"),
    ({"defaultAction": "SCMP_ACT_NOTIFY"}, "SCMP_ACT_NOTIFY cannot be the default"),
    ({"defaultAction": "SCMP_ACT_TRACE"}, "SCMP_ACT_TRACE is not possible"),
    ({"defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 1}, "SCMP_ACT_KILL returns no errno"),
    (profile(defaultErrnoRet=4096), "defaultErrnoRet: 4096 is not in 0..4095"),
    (profile(defaultErrnoRet=True), "defaultErrnoRet: must be a whole number, not a boolean"),
    (profile(defaultErrnoRet=1.5), "defaultErrnoRet: must be a whole number, not a fraction"),
    (profile(syscals=[]), "unknown key 'syscals' (did you mean syscalls?)"),
    (profile(archMap=[]), "unknown key 'archMap' (Podman's and Docker's own format"),
    (
        profile(architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]),
        "architectures[1]: SCMP_ARCH_X86",
    ),
    (profile(architectures=["SCMP_ARCH_X32"]), "nsbuild refuses 32-bit and x32 programs"),
    (profile(architectures=["SCMP_ARCH_AARCH46"]), "did you mean SCMP_ARCH_AARCH64?"),
    (profile(architectures=["SCMP_ARCH_ARM"]), "SCMP_ARCH_X86_64 is missing"),
    (profile(architectures="SCMP_ARCH_ARM"), "architectures: must be a list, not a string"),
    (profile(syscalls={}), "syscalls: must be a list, not an object"),
    (profile(None), "syscalls[0]: must be an object, not null"),  # type: ignore[arg-type]
    (profile({"names": ["read"]}), "syscalls[0]: action is missing"),
    (profile({"action": "SCMP_ACT_ALLOW"}), "syscalls[0]: names is missing"),
    (profile(rule("")), "syscalls[0].names: no names"),
    (
        profile(rule("read") | {"names": [7]}),
        "syscalls[0].names[0]: must be a string, not a number",
    ),
    (profile(rule("read", errnoRet=1)), "syscalls[0].errnoRet: SCMP_ACT_ALLOW returns no errno"),
    (profile(rule("read", "ERRNO", errnoRet=-1)), "syscalls[0].errnoRet: -1 is not in 0..4095"),
    (profile(rule("read", includes={})), "unknown key 'includes'"),
    (profile(rule("read", "ALLOW", arg(6, "EQ", 0))), "args[0].index: 6 is not in 0..5"),
    (profile(rule("read", "ALLOW", arg(0, "EQ", 2**64))), "args[0].value: 18446744073709551616 is"),
    (profile(rule("read", "ALLOW", arg(0, "EQ", 1, 1))), "only SCMP_CMP_MASKED_EQ has a second"),
    (profile(rule("read", "ALLOW", arg(0, "MASKED_EQ", 0))), "a mask of 0 holds for every"),
    (profile(rule("read", "ALLOW", arg(0, "MASKED_EQ", 1, 2))), "so it is never equal"),
    (profile(rule("read", "ALLOW", arg(0, "MASKEDEQ", 1))), "did you mean SCMP_CMP_MASKED_EQ?"),
    (profile(rule("read", "ALLOW", {"index": 0, "op": "SCMP_CMP_EQ"})), "value is missing"),
    (profile(rule("read", "ALLOW", arg(0, "GE", 1), arg(0, "LE", 2))), "two conditions on one"),
    (profile(rule("read opena")), "unknown syscall 'opena' (did you mean openat?)"),
    (profile(rule("x") | {"names": ["read\0x"]}), "unknown syscall 'read\\x00x'"),
    (profile(rule("x") | {"names": ["\ud800"]}), "unknown syscall '\\ud800'"),
    (profile(rule("read"), rule("write read", "LOG")), "two rules for every read call"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_bad_profiles(tmp_path: Path, text: object, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(text if isinstance(text, bytes) else json.dumps(text).encode())
    with pytest.raises(NsbuildError) as caught:
        seccomp.compiled(str(path))
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"profile {path}: ")
    assert "\n" not in str(caught.value)
    assert caught.value.code == 125


def test_a_profile_that_the_kernel_would_not_take() -> None:
    chosen = [
        rule(name, "ALLOW", *[arg(index, "GT", place) for index in range(6)])
        for place, name in enumerate(library_names())
    ]
    with pytest.raises(NsbuildError, match=r"too long: [0-9]+ instructions.* takes 4096"):
        compiled(profile(*chosen))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/nonexistent/p.json", "cannot read seccomp profile /nonexistent/p.json: No such file"),
        ("/", "Is a directory"),
        ("/proc/self/mem", "Input/output error"),
        ("/dev/zero", "larger than 1 MiB"),
        ("defualt", "no seccomp profile named 'defualt' (nsbuild has: default, qubes-builder;"),
        ("", "no seccomp profile named ''"),
        ("missing.json", "cannot read seccomp profile missing.json: No such file"),
    ],
)
def test_files_that_are_no_profiles(name: str, message: str) -> None:
    with pytest.raises(NsbuildError) as caught:
        seccomp.compiled(name)
    assert message in str(caught.value)
