"""A profile compiled into the classic BPF that seccomp(2) takes.

libseccomp builds what it is good at, the binary tree from a call's number to its action. Conditions
on arguments are compiled here, for two reasons. libseccomp 2.5 forgets the conditional rules of a
call as soon as one without conditions is added, and where two rules overlap the order in which they
were added decides in no documented way. And it may merge 64-bit comparisons wrongly, up to 2.6.0
(GHSA-4q85-33p6-j5g6). So in libseccomp's tree a call with conditions ends in a placeholder, a
SECCOMP_RET_TRACE with a number, which is then replaced by a jump to the block of that number behind
the tree. Of the rules of one call the conditional ones are tried in the order of the profile, then
the one without conditions, then the default holds.

A call that is always allowed must reach its action through loads of `nr` and `arch` and jumps
alone: then the kernel finds that out at installation and never runs the filter for it
(seccomp_cache_prepare). The prologue, the tree and the jumps keep to this.
"""

from __future__ import annotations

import errno
import os

from nsbuild.errors import NsbuildError
from nsbuild.kernel import bpf
from nsbuild.kernel.libseccomp import NEWER_SYSCALLS_X86_64
from nsbuild.kernel.seccomp import NSBUILD_ERRNO, PR_NSBUILD
from nsbuild.kernel.x86_64 import NR
from nsbuild.seccomp.profile import Condition, Profile, Rule, closest
from nsbuild.tuples import NamedTuple

try:
    import pyseccomp
except (ImportError, RuntimeError) as error:
    # RuntimeError is the binding's way to say that the library itself is missing.
    raise NsbuildError(
        f"cannot load libseccomp's Python binding: {error}",
        hint="install libseccomp2 and the Python package pyseccomp",
    ) from error

_ENOSYS = bpf.SECCOMP_RET_ERRNO | errno.ENOSYS
_CTL_OPTIMIZE_BINARY_TREE = 2
_LOW = 0xFFFFFFFF


class _Call(NamedTuple):
    """The rules of one call, in the order in which they are tried, and what holds else."""

    conditional: list[Rule]
    otherwise: int


def compile_profile(profile: Profile, name: str) -> bytes:
    """The program of `profile`, `struct sock_filter[]`; `name` is what messages call it.

    Raises NsbuildError for names that no kernel has, for rules that contradict each other, and
    for a program that is too long for the kernel.
    """
    if pyseccomp.system_arch() != pyseccomp.Arch.X86_64:
        raise NsbuildError(f"no seccomp filter for this machine, {os.uname().machine}")
    blocks: list[bytes] = []
    actions: dict[int, int] = {}
    for number, call in sorted(_calls(profile, name).items()):
        actions[number] = call.otherwise
        if call.conditional:
            block = _block(call)
            if block not in blocks:
                blocks.append(block)
            actions[number] = bpf.SECCOMP_RET_TRACE | blocks.index(block)
    try:
        tree = _tree(profile.default_action, actions)
    except OSError as error:
        raise NsbuildError.from_os(f"libseccomp cannot build profile {name}", error) from error
    program = _prologue() + _link(tree, blocks)
    length = len(program) // bpf.SOCK_FILTER.size
    if length > bpf.BPF_MAXINSNS:
        raise NsbuildError(
            f"profile {name} is too long: {length} instructions, "
            f"and the kernel takes {bpf.BPF_MAXINSNS}"
        )
    return program


def _calls(profile: Profile, name: str) -> dict[int, _Call]:
    """The rules sorted by the number of their call."""
    conditional: dict[int, list[Rule]] = {}
    plain: dict[int, int] = {}
    for rule in profile.rules:
        for call in rule.names:
            number = _number(call, name)
            if number is None:
                continue
            if rule.conditions:
                conditional.setdefault(number, []).append(rule)
            elif plain.setdefault(number, rule.action) != rule.action:
                raise NsbuildError(
                    f"profile {name}: two rules for every {call} call, with different actions"
                )
    return {
        number: _Call(conditional.get(number, []), plain.get(number, profile.default_action))
        for number in conditional.keys() | plain.keys()
    }


def _number(call: str, name: str) -> int | None:
    """The call's number, or None for a call that only other architectures have."""
    if call in NEWER_SYSCALLS_X86_64:
        return NEWER_SYSCALLS_X86_64[call]
    # The library reads a C string: a NUL or a stray surrogate must not get that far.
    if call.isascii() and call.isidentifier():
        number: int = pyseccomp.resolve_syscall(pyseccomp.Arch.X86_64, call)
        if number >= 0:
            return number
        # -1 is "unknown"; what lies below are pseudo numbers, for socketcall and its like.
        if number < -1:
            return None
    raise NsbuildError(
        f"profile {name}: unknown syscall {call!r}", hint=closest(call, _known_names())
    )


def _known_names() -> list[str]:
    names = list(NEWER_SYSCALLS_X86_64)
    for number in range(max(NEWER_SYSCALLS_X86_64.values())):
        try:
            names.append(pyseccomp.resolve_syscall(pyseccomp.Arch.X86_64, number).decode())
        except ValueError:
            # A gap in the table.
            continue
    return names


def _tree(default: int, actions: dict[int, int]) -> bytes:
    """libseccomp's program from a call's number to its action."""
    tree = pyseccomp.SyscallFilter(default)
    tree.set_attr(pyseccomp.Attr.ACT_BADARCH, _ENOSYS)
    tree.set_attr(pyseccomp.Attr.CTL_OPTIMIZE, _CTL_OPTIMIZE_BINARY_TREE)
    for number, action in actions.items():
        # libseccomp answers EACCES to a rule that says what the default says.
        if action != default:
            tree.add_rule_exactly(action, number)
    with open(os.memfd_create("nsbuild-bpf", os.MFD_CLOEXEC), "w+b") as file:
        tree.export_bpf(file)
        file.seek(0)
        return file.read()


def _link(tree: bytes, blocks: list[bytes]) -> bytes:
    """Put `blocks` behind `tree` and replace the placeholders by jumps to them."""
    starts = []
    end = len(tree) // bpf.SOCK_FILTER.size
    for block in blocks:
        starts.append(end)
        end += len(block) // bpf.SOCK_FILTER.size
    linked = []
    for here, (code, jt, jf, k) in enumerate(bpf.SOCK_FILTER.iter_unpack(tree)):
        if code == bpf.BPF_RET_K and k & bpf.SECCOMP_RET_ACTION_FULL == bpf.SECCOMP_RET_TRACE:
            distance = starts[k & bpf.SECCOMP_RET_DATA] - here - 1
            linked.append(bpf.instruction(bpf.BPF_JMP_JA, distance))
        else:
            linked.append(bpf.instruction(code, k, jt, jf))
    return b"".join(linked + blocks)


def _prologue() -> bytes:
    """What holds before any profile: which programs may make calls at all.

    i386 calls are notified, whatever they are, so that the supervisor can say why the program
    is refused. x32 calls do not exist. -1 is what a tracer makes of a call that it skips: no
    call happens, and the tracer's result must not be overwritten. One prctl, which no kernel has,
    tells who asks that we are here.
    """
    return b"".join(
        (
            bpf.instruction(bpf.BPF_LD_W_ABS, bpf.SECCOMP_DATA_ARCH),
            bpf.instruction(bpf.BPF_JMP_JEQ_K, bpf.AUDIT_ARCH_X86_64, jt=3),
            bpf.instruction(bpf.BPF_JMP_JEQ_K, bpf.AUDIT_ARCH_I386, jt=1),
            bpf.instruction(bpf.BPF_RET_K, _ENOSYS),
            bpf.instruction(bpf.BPF_RET_K, bpf.SECCOMP_RET_USER_NOTIF),
            bpf.instruction(bpf.BPF_LD_W_ABS, bpf.SECCOMP_DATA_NR),
            bpf.instruction(bpf.BPF_JMP_JGE_K, bpf.X32_SYSCALL_BIT, jf=3),
            bpf.instruction(bpf.BPF_JMP_JEQ_K, 0xFFFFFFFF, jt=1),
            bpf.instruction(bpf.BPF_RET_K, _ENOSYS),
            bpf.instruction(bpf.BPF_RET_K, bpf.SECCOMP_RET_ALLOW),
            bpf.instruction(bpf.BPF_JMP_JEQ_K, NR["prctl"], jf=4),
            bpf.instruction(bpf.BPF_LD_W_ABS, bpf.SECCOMP_DATA_ARGS),
            bpf.instruction(bpf.BPF_JMP_JEQ_K, PR_NSBUILD, jf=1),
            bpf.instruction(bpf.BPF_RET_K, bpf.SECCOMP_RET_ERRNO | NSBUILD_ERRNO),
            bpf.instruction(bpf.BPF_LD_W_ABS, bpf.SECCOMP_DATA_NR),
        )
    )


def _block(call: _Call) -> bytes:
    """The code of a call with conditions, wherever it is put: it jumps only within itself."""
    rules = [_rule(rule) for rule in call.conditional]
    return b"".join(rules) + bpf.instruction(bpf.BPF_RET_K, call.otherwise)


def _rule(rule: Rule) -> bytes:
    """Return the rule's action if all conditions hold, else go on behind."""
    code = bpf.instruction(bpf.BPF_RET_K, rule.action)
    # From the last condition to the first, so that the distance to the end is known. At most
    # 6 conditions of 6 instructions: within the 255 of a conditional jump.
    for condition in reversed(rule.conditions):
        code = _condition(condition, len(code) // bpf.SOCK_FILTER.size) + code
    return code


class _Step(NamedTuple):
    """An instruction whose jumps are still by name: NEXT, PASS (it holds) or FAIL."""

    code: int
    k: int
    true: str = "NEXT"
    false: str = "NEXT"


def _condition(condition: Condition, behind: int) -> bytes:
    """Fall through where the condition holds, else skip the `behind` instructions that follow."""
    low = bpf.SECCOMP_DATA_ARGS + 8 * condition.argument
    if condition.operator == "MASKED_EQ":
        steps = _masked_equal(low, condition.value, condition.value_two)
    else:
        steps = _compare(low, condition.operator, condition.value)
    code = []
    for place, step in enumerate(steps):
        to_end = len(steps) - place - 1
        distance = {"NEXT": 0, "PASS": to_end, "FAIL": to_end + behind}
        code.append(bpf.instruction(step.code, step.k, distance[step.true], distance[step.false]))
    return b"".join(code)


def _masked_equal(low: int, mask: int, value: int) -> list[_Step]:
    """(argument & mask) == value, looking only at the halves that the mask has bits in."""
    steps = []
    for offset, shift in ((low + 4, 32), (low, 0)):
        half = mask >> shift & _LOW
        if half:
            steps.append(_Step(bpf.BPF_LD_W_ABS, offset))
            if half != _LOW:
                steps.append(_Step(bpf.BPF_ALU_AND_K, half))
            steps.append(_Step(bpf.BPF_JMP_JEQ_K, value >> shift & _LOW, "NEXT", "FAIL"))
    return steps


def _compare(low: int, operator: str, value: int) -> list[_Step]:
    """A comparison of the whole 64 bits: the high half, and where that is equal the low one."""
    # LT is "not GE", LE "not GT", NE "not EQ".
    negated = {"LT": "GE", "LE": "GT", "NE": "EQ"}.get(operator)
    holds, fails = ("FAIL", "PASS") if negated else ("PASS", "FAIL")
    operator = negated or operator
    high, low_half = value >> 32, value & _LOW
    steps = [_Step(bpf.BPF_LD_W_ABS, low + 4)]
    if operator != "EQ":
        steps.append(_Step(bpf.BPF_JMP_JGT_K, high, holds, "NEXT"))
    steps.append(_Step(bpf.BPF_JMP_JEQ_K, high, "NEXT", fails))
    steps.append(_Step(bpf.BPF_LD_W_ABS, low))
    final = {"EQ": bpf.BPF_JMP_JEQ_K, "GE": bpf.BPF_JMP_JGE_K, "GT": bpf.BPF_JMP_JGT_K}[operator]
    steps.append(_Step(final, low_half, holds, fails))
    return steps
