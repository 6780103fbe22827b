"""The OCI seccomp profile: its JSON read, checked, and turned into plain values.

The format is that of the OCI runtime specification, config-linux.md, section "Seccomp". A profile
is security and correctness at once, so anything that is not understood is an error that says
where; nothing is skipped. Whether a call's name exists is for the compiler to find out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TypeVar

from nsbuild.errors import NsbuildError
from nsbuild.kernel import bpf
from nsbuild.tuples import NamedTuple

_T = TypeVar("_T")
EPERM = 1
_U64 = (1 << 64) - 1

ACTIONS = {
    "SCMP_ACT_ALLOW": bpf.SECCOMP_RET_ALLOW,
    "SCMP_ACT_ERRNO": bpf.SECCOMP_RET_ERRNO,
    "SCMP_ACT_KILL": bpf.SECCOMP_RET_KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": bpf.SECCOMP_RET_KILL_PROCESS,
    "SCMP_ACT_KILL_THREAD": bpf.SECCOMP_RET_KILL_THREAD,
    "SCMP_ACT_LOG": bpf.SECCOMP_RET_LOG,
    "SCMP_ACT_NOTIFY": bpf.SECCOMP_RET_USER_NOTIF,
    "SCMP_ACT_TRAP": bpf.SECCOMP_RET_TRAP,
}
OPERATORS = ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")
_OPERATORS = {f"SCMP_CMP_{name}": name for name in OPERATORS}

_NATIVE = "SCMP_ARCH_X86_64"
_REFUSED_ARCHITECTURES = ("SCMP_ARCH_X86", "SCMP_ARCH_X32")
_FOREIGN_ARCHITECTURES = tuple(
    f"SCMP_ARCH_{name}"
    for name in (
        *("AARCH64", "ARM", "LOONGARCH64", "M68K", "PARISC", "PARISC64", "PPC", "PPC64"),
        *("PPC64LE", "RISCV64", "S390", "S390X", "SH", "SHEB", "MIPS", "MIPS64", "MIPS64N32"),
        *("MIPSEL", "MIPSEL64", "MIPSEL64N32"),
    )
)

_COMMENTS = ("comment", "_comment")
_PROFILE_KEYS = ("defaultAction", "defaultErrnoRet", "architectures", "syscalls", *_COMMENTS)
_RULE_KEYS = ("names", "action", "errnoRet", "args", *_COMMENTS)
_ARGUMENT_KEYS = ("index", "value", "valueTwo", "op", *_COMMENTS)
# Keys that others read, and what to say to who expects the same of nsbuild.
_ELSEWHERE = {
    "archMap": "Podman's and Docker's own format, not OCI's: list the calls without it",
    "includes": "Podman's and Docker's own format, not OCI's: keep only the rules that apply",
    "excludes": "Podman's and Docker's own format, not OCI's: keep only the rules that apply",
    "defaultErrno": "Podman's own format, not OCI's: write defaultErrnoRet, a number",
    "errno": "Podman's own format, not OCI's: write errnoRet, a number",
    "name": "Docker's old format, not OCI's: write names, a list",
    "flags": "nsbuild installs the filter and chooses the flags itself",
    "listenerPath": "nsbuild is the listener",
    "listenerMetadata": "nsbuild is the listener",
}


class Condition(NamedTuple):
    """A comparison of one 64-bit argument.

    `operator` is one of OPERATORS. For MASKED_EQ it is (argument & value) == value_two; the
    others compare with `value` alone.
    """

    argument: int
    operator: str
    value: int
    value_two: int = 0


class Rule(NamedTuple):
    """What happens on the calls `names` when all `conditions` hold.

    `action` is the value that the filter returns, SECCOMP_RET_* with its data.
    """

    names: tuple[str, ...]
    action: int
    conditions: tuple[Condition, ...] = ()


class Profile(NamedTuple):
    """A whole profile; `default_action`, as Rule.action, is for the calls that no rule fits."""

    default_action: int
    rules: tuple[Rule, ...]


class _Invalid(Exception):
    """Something in the profile is wrong: where (a path such as syscalls[3].args[0]), and what."""

    def __init__(self, where: str, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.where = where
        self.what = what
        self.hint = hint


def parse(text: bytes, name: str) -> Profile:
    """Read the profile `text`; `name` is what messages call it. Raises NsbuildError."""
    try:
        return _profile(_load(text))
    except _Invalid as error:
        where = f"{error.where}: " if error.where else ""
        raise NsbuildError(f"profile {name}: {where}{error.what}", hint=error.hint) from None


def closest(word: str, known: Iterable[str]) -> str:
    """A hint that names the one of `known` that `word` may have been meant to be, or ""."""
    import difflib

    found = difflib.get_close_matches(word, list(known), 1)
    return f"did you mean {found[0]}?" if found else ""


def _load(text: bytes) -> object:
    try:
        return json.loads(text.decode(), object_pairs_hook=_unique)
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise _Invalid(f"line {line}", "not UTF-8 text") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise _Invalid(place, f"not JSON: {error.msg}") from None
    except RecursionError:
        raise _Invalid("", "not a profile: nested too deeply") from None
    except ValueError as error:
        # Python's limit on the digits of a number; the message has the numbers.
        raise _Invalid("", f"not JSON that can be read: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON leaves open which of two equal keys counts, so there must not be two."""
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result and key not in _COMMENTS:
            raise _Invalid("", f"key {key!r} twice in one object")
        result[key] = value
    return result


def _profile(value: object) -> Profile:
    top = _object(value, "", _PROFILE_KEYS)
    action = _action(top, "defaultAction", "defaultErrnoRet", "")
    if action == bpf.SECCOMP_RET_USER_NOTIF:
        raise _Invalid(
            "defaultAction",
            "SCMP_ACT_NOTIFY cannot be the default",
            "the supervisor must know every call that it is asked about",
        )
    _architectures(top.get("architectures", []))
    rules = [
        _rule(rule, f"syscalls[{index}]")
        for index, rule in enumerate(_list(top.get("syscalls", []), "syscalls"))
    ]
    return Profile(action, tuple(rules))


def _rule(value: object, where: str) -> Rule:
    rule = _object(value, where, _RULE_KEYS)
    names = _list(_required(rule, "names", where), f"{where}.names")
    if not names:
        raise _Invalid(f"{where}.names", "no names")
    for index, name in enumerate(names):
        _string(name, f"{where}.names[{index}]")
    conditions = [
        _condition(item, f"{where}.args[{index}]")
        for index, item in enumerate(_list(rule.get("args", []), f"{where}.args"))
    ]
    # libseccomp refuses it, runc takes it for "or", and the specification is silent.
    if len({condition.argument for condition in conditions}) < len(conditions):
        raise _Invalid(f"{where}.args", "two conditions on one argument", "write one rule for each")
    return Rule(tuple(names), _action(rule, "action", "errnoRet", where), tuple(conditions))


def _condition(value: object, where: str) -> Condition:
    argument = _object(value, where, _ARGUMENT_KEYS)
    index = _number(_required(argument, "index", where), f"{where}.index", 5)
    first = _number(_required(argument, "value", where), f"{where}.value", _U64)
    second = _number(argument.get("valueTwo", 0), f"{where}.valueTwo", _U64)
    operator = _choice(_required(argument, "op", where), f"{where}.op", _OPERATORS, "operator")
    if operator != "MASKED_EQ" and second:
        raise _Invalid(f"{where}.valueTwo", "only SCMP_CMP_MASKED_EQ has a second value")
    if operator == "MASKED_EQ" and not first:
        raise _Invalid(f"{where}.value", "a mask of 0 holds for every argument")
    if operator == "MASKED_EQ" and second & ~first:
        raise _Invalid(
            f"{where}.valueTwo",
            f"{second:#x} has bits that the mask {first:#x} clears, so it is never equal",
            "value is the mask, valueTwo what is left of the argument",
        )
    return Condition(index, operator, first, second)


def _action(table: dict[str, Any], key: str, errno_key: str, where: str) -> int:
    place = f"{where}.{key}" if where else key
    name = _required(table, key, where)
    if name == "SCMP_ACT_TRACE":
        raise _Invalid(place, "SCMP_ACT_TRACE is not possible: nsbuild does not trace")
    action = _choice(name, place, ACTIONS, "action")
    errno_place = f"{where}.{errno_key}" if where else errno_key
    if action == bpf.SECCOMP_RET_ERRNO:
        return action | _number(table.get(errno_key, EPERM), errno_place, bpf.MAX_ERRNO)
    if errno_key in table:
        raise _Invalid(errno_place, f"{name} returns no errno", "only SCMP_ACT_ERRNO does")
    return action


def _architectures(value: object) -> None:
    names = _list(value, "architectures")
    for index, item in enumerate(names):
        where = f"architectures[{index}]"
        name = _string(item, where)
        if name in _REFUSED_ARCHITECTURES:
            raise _Invalid(
                where,
                f"{name} is not possible: nsbuild refuses 32-bit and x32 programs",
                "their clocks and calls are others; remove the entry",
            )
        if name != _NATIVE and name not in _FOREIGN_ARCHITECTURES:
            known = (_NATIVE, *_FOREIGN_ARCHITECTURES)
            raise _Invalid(where, f"unknown architecture {name!r}", closest(name, known))
    if names and _NATIVE not in names:
        raise _Invalid("architectures", f"{_NATIVE} is missing", "nsbuild runs on x86-64")


def _object(value: object, where: str, known: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Invalid(where, f"must be an object, not {_kind(value)}")
    for key in value:
        if key not in known:
            hint = _ELSEWHERE.get(key) or closest(key, known)
            raise _Invalid(where, f"unknown key {key!r}", hint)
    return value


def _required(table: dict[str, Any], key: str, where: str) -> object:
    if key not in table:
        raise _Invalid(where, f"{key} is missing")
    return table[key]


def _list(value: object, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise _Invalid(where, f"must be a list, not {_kind(value)}")
    return value


def _string(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise _Invalid(where, f"must be a string, not {_kind(value)}")
    return value


def _number(value: object, where: str, largest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _Invalid(where, f"must be a whole number, not {_kind(value)}")
    if not 0 <= value <= largest:
        raise _Invalid(where, f"{value} is not in 0..{largest}")
    return value


def _choice(value: object, where: str, known: dict[str, _T], what: str) -> _T:
    name = _string(value, where)
    if name not in known:
        raise _Invalid(where, f"unknown {what} {name!r}", closest(name, known))
    return known[name]


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a fraction", str: "a string"}
    return names.get(type(value), "an object" if isinstance(value, dict) else "a list")
