"""The calls about files that nsbuild answers give what the kernel gives: errors, modes, effects.

The guests calls_* make each call in many situations and print a line for each. All groups of them
run once bare, in namespaces alike, and once under nsbuild, for each place: as whom and where. What
nsbuild changes on purpose (times, inode and device numbers, the order and sizes of directories) is
not in the lines, or stands in KNOWN and CHANGED.
"""

from __future__ import annotations

import difflib
import itertools
import json
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from nsbuild.kernel.x86_64 import NR
from tests.system.account import CHECKOUT
from tests.system.capabilities import needs_tools
from tests.system.harness import Runner

MATRIX = (
    *("stat paths", "stat numbers", "stat buffers", "open open", "open openat2"),
    *("change paths", "change numbers", "change arguments"),
    *("names make", "names remove", "names move"),
)
"""Guest and group: those whose situations make sense everywhere."""
SINGLE = (
    *("dirs errors", "dirs buffers", "dirs positions", "dirs changes", "dirs numbers"),
    *("inodes same", "odd gone", "odd moved", "odd mounts", "odd threads", "odd limits"),
    *("odd waits", "odd persons", "odd passed", "odd regained"),
)
PLACES = ("plain", "nobody", "chroot", "userns")
"""As root, as somebody else, in a jail, in a user namespace of its own."""
ROOTS_PLACES = (
    *("fsuid", "capless", "suid", "leaky", "mounts", "bind", "thread", "vfork", "deep"),
)
"""Places that are tried as root of the host alone, to save time."""
OTHER_ENDS = ("odd passed", "odd regained")
"""Groups that end in another program."""
OVERLAY = (
    *("stat paths nobody", "open open plain", "change paths userns", "change numbers plain"),
    *("names make nobody", "names remove chroot", "names move vfork", "dirs positions plain"),
    *("dirs changes plain", "inodes same plain", "odd gone plain", "odd moved plain"),
    *("odd mounts plain", "odd limits plain"),
)
"""Guest, group and place for the container's own root, where only nsbuild itself can compare."""
ENTRIES = 100_000
LINES = 24
FILE_CALL = re.compile(
    r"newfstatat|statx|[fl]?stat(fs)?|[fl]?ch(mod|own)(at)?|f?truncate|futimesat"
    r"|getdents(64)?|open(at2?)?|creat|(un|sym)?link(at)?|(mk|rm)dir(at)?|mknod(at)?"
    r"|rename(at2?)?|utime(s|nsat)?|[fl]?(set|remove)xattr|chroot|pivot_root|u?mount2?|move_mount"
    r"|setns|unshare|capset|set(fs|re|res)?[ug]id|setgroups"
)
"""The calls that are answered, or taken notice of, because of files."""


class Known(NamedTuple):
    """A difference that is there: lines of `group` that `line` matches, and why."""

    group: str
    line: str
    reason: str


MIDDLE = "whether a link amid a path that names none of it leads to /proc/self is not looked for"
KNOWN = (Known("names move", "renameat2-exchange link-to-(fd|cwd): now full/x", MIDDLE),)


def report(groups: tuple[str, ...], place: str, guests: Path) -> str:
    """A script that runs each group in a directory of its own."""
    steps = []
    for number, words in enumerate(groups):
        guest, group = words.split()
        program = f"timeout -s KILL 50 {guests}/calls_{guest} {group} {place}"
        steps.append(f"echo '== {words}'; mkdir {number}; (cd {number} && exec {program})")
    return "; ".join(steps)


def sections(lines: list[str]) -> dict[str, list[str]]:
    """What each group printed."""
    found: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("== "):
            found[line[3:]] = []
        else:
            found[list(found)[-1]].append(line)
    return found


def bare(ns: Runner, *argv: str) -> list[str]:
    """The lines that ARGV prints as root of namespaces like nsbuild's."""
    enter = [ns.guest("calls_bare")]
    if not ns.is_root:
        needs_tools("unshare", "newuidmap")
        options = "--user --map-root-user --map-auto --mount --pid --fork --mount-proc"
        enter = ["unshare", *options.split()]
    outcome = ns.bare(*enter, *argv, timeout=120)
    assert outcome.stderr == b"", outcome
    return outcome.lines


def inside(ns: Runner, *argv: str) -> list[str]:
    """The lines that ARGV prints under nsbuild."""
    outcome = ns.exec(*argv, timeout=120)
    assert outcome.stderr == b"", outcome
    return outcome.lines


@cache
def both(ns: Runner, place: str) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """What all groups print in `place`, bare and under nsbuild."""
    groups = (*MATRIX, *SINGLE) if place == "plain" else MATRIX
    script = report(groups, place, ns.guests)
    return sections(bare(ns, "sh", "-c", script)), sections(inside(ns, "sh", "-c", script))


def parts(ns: Runner, words: str, place: str) -> tuple[list[str], list[str]]:
    """The lines of one group, bare and under nsbuild; each must have come to its end."""
    plain, answered = (seen[words] for seen in both(ns, place))
    assert len(plain) > 1, plain
    assert plain[-1] == "end" or words in OTHER_ENDS, f"stopped: {plain[-2:]}"
    assert answered[-1:] == plain[-1:], f"stopped under nsbuild: {answered[-2:]}"
    return plain, answered


def differing(plain: list[str], answered: list[str]) -> list[str]:
    """The lines that only one of the two has, marked as diff(1) does."""
    changes = difflib.unified_diff(plain, answered, lineterm="", n=0)
    return [line for line in itertools.islice(changes, 2, None) if line[0] in "+-"]


def is_known(words: str, line: str) -> bool:
    return any(re.fullmatch(known.group, words) and re.match(known.line, line) for known in KNOWN)


def compare(ns: Runner, words: str, place: str) -> None:
    """Fail unless the lines of both, without the known ones, are equal."""
    plain, answered = (
        [line for line in lines if not is_known(words, line)] for lines in parts(ns, words, place)
    )
    changes = differing(plain, answered)
    shown = "\n".join(changes[:LINES])
    assert not changes, f"{len(changes)} lines (-: bare, +: under nsbuild), first:\n{shown}"


@pytest.mark.parametrize("words", MATRIX)
@pytest.mark.parametrize("place", PLACES)
def test_as_the_kernel_does(ns: Runner, words: str, place: str) -> None:
    compare(ns, words, place)


@pytest.mark.parametrize("words", MATRIX)
@pytest.mark.parametrize("place", ROOTS_PLACES)
def test_as_the_kernel_does_elsewhere(root: Runner, words: str, place: str) -> None:
    compare(root, words, place)


@pytest.mark.parametrize("words", SINGLE)
def test_as_the_kernel_does_in_odd_cases(ns: Runner, words: str) -> None:
    compare(ns, words, "plain")


@pytest.fixture(scope="session")
def unanswered(stage: Path) -> Path:
    """A profile that leaves every call about files to the kernel."""
    profile = json.loads((CHECKOUT / "seccomp_profiles/default.json").read_text())
    answered = [name for name in NR if FILE_CALL.fullmatch(name)]
    for rule in profile["syscalls"]:
        if rule["action"] == "SCMP_ACT_NOTIFY":
            rule["names"] = [name for name in rule["names"] if name not in answered]
    rules = [rule for rule in profile["syscalls"] if rule["names"]]
    named = {name for rule in rules if "args" not in rule for name in rule["names"]}
    left = [name for name in answered if name not in named]
    profile["syscalls"] = [*rules, {"names": left, "action": "SCMP_ACT_ALLOW"}]
    path = stage / "unanswered.json"
    path.write_text(json.dumps(profile))
    path.chmod(0o644)
    return path


@cache
def on_overlay(ns: Runner, *options: str) -> dict[str, list[str]]:
    """What the groups of OVERLAY print below the container's /srv."""
    steps = []
    for number, case in enumerate(OVERLAY):
        guest, group, place = case.split()
        program = f"timeout -s KILL 50 {ns.guests}/calls_{guest} {group} {place}"
        steps.append(f"echo '== {case}'; mkdir /srv/{number}; (cd /srv/{number} && exec {program})")
    outcome = ns.exec("sh", "-c", "; ".join(steps), options=options, timeout=120)
    assert outcome.stderr == b"", outcome
    return sections(outcome.lines)


@pytest.mark.parametrize("case", OVERLAY)
def test_as_the_kernel_does_on_an_overlay(ns: Runner, unanswered: Path, case: str) -> None:
    plain, answered = (
        [line for line in seen[case] if not is_known(case.rpartition(" ")[0], line)]
        for seen in (on_overlay(ns, f"--profile={unanswered}"), on_overlay(ns))
    )
    assert plain[-1:] == ["end"], plain
    changes = differing(plain, answered)
    assert not changes, "\n".join(changes[:LINES])


@pytest.mark.parametrize(
    "known",
    [
        pytest.param(known, marks=pytest.mark.xfail(strict=True, reason=known.reason))
        for known in KNOWN
    ],
    ids=[known.group for known in KNOWN],
)
def test_known_differences(ns: Runner, known: Known) -> None:
    """Fails as long as each of them is there; when one is gone, its line in KNOWN must go."""
    plain, answered = (
        [line for line in lines if re.match(known.line, line)]
        for lines in parts(ns, known.group, "plain")
    )
    assert plain, "no such line"
    assert plain == answered


@pytest.fixture(scope="session")
def large(stage: Path) -> Path:
    """A directory of 100,000 entries, made once and only read."""
    directory = stage / "large"
    directory.mkdir()
    for number in range(ENTRIES):
        (directory / f"{number * 7919 % ENTRIES:x}-entry").touch()
    directory.chmod(0o755)
    return directory


def test_a_large_directory(ns: Runner, large: Path) -> None:
    words = (ns.guest("calls_dirs"), "many", str(large))
    seen = inside(ns, *words)
    assert len(seen) == 2
    assert all(f" {ENTRIES + 2} entries" in line for line in seen), seen
    assert seen == bare(ns, *words)


def test_names_come_in_the_order_of_bytes(ns: Runner) -> None:
    words = (ns.guest("calls_dirs"), "order", "plain")
    ordered = [line.endswith("in order 1") for line in inside(ns, *words)[:-1]]
    unordered = [line.endswith("in order 0") for line in bare(ns, *words)[:-1]]
    assert len(ordered) == len(unordered) == 6
    assert all(unordered), "the file system sorts by itself, so that this test says nothing"
    assert all(ordered)


def test_a_number_is_not_given_twice(ns: Runner) -> None:
    """ext4 gives a number that became free to the next file; others do not, so nothing bare."""
    seen = inside(ns, ns.guest("calls_inodes"), "reuse", "plain")
    assert [line.rpartition(" ")[2] for line in seen] == ["two", "two", "two", "end"], seen
