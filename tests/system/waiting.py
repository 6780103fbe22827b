"""What the tests of waiting share: two runs that must agree, and what a guest's lines say."""

from __future__ import annotations

import time

from tests.system.harness import Outcome, Runner, burn_pids, difference, load, next_second

LIBCS = ("", "-static", "-musl")


def again(ns: Runner, *argv: str) -> Outcome:
    """What two runs have in common, the second in another directory, later, on busy CPUs."""
    first = ns.exec(*argv)
    burn_pids()
    next_second(time.time())
    with load():
        second = ns.exec(*argv, cwd=ns.directory("other-"))
    assert first == second, difference(first, second)
    return first


def guests(name: str) -> list[str]:
    return [name + libc for libc in LIBCS]


def told(outcome: Outcome, separator: str) -> dict[str, int]:
    """The results that a guest prints, by call."""
    pairs = (line.split(separator)[0].rsplit(" ", 1) for line in outcome.ok().lines)
    return {name: int(result) for name, result in pairs}
