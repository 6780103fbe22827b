"""A process has a number, a clock and a stream that follow from its descent, not the schedule."""

from __future__ import annotations

import os

import pytest

from tests.system.capabilities import needs_tools
from tests.system.harness import Runner, load

LIBCS = ("", "-static", "-musl")
MODES = ("tree", "race", "threads", "double", "parent", "vfork", "spawn", "clone", "clone3", "exec")

RACING = (
    "for i in 1 2 3 4 5 6; do (n=0; while [ $n -lt 5 ]; do n=$((n+1)); "
    'echo "shell $i: $(sh -c "echo \\$\\$") $(date +%s.%N) $(od -An -N8 -tx1 /dev/urandom)"; '
    "done) & done; wait; date +%s; echo $$ $!"
)
"""Six shells at once; each process says its number, its time and eight bytes of entropy."""
RUNS = int(os.environ.get("NSBUILD_RUNS", "20"))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("guest", ["processes" + libc for libc in LIBCS], indirect=True)
def test_each_way_to_make_a_process(ns: Runner, guest: str, mode: str) -> None:
    seen = ns.twice(guest, mode).ok().lines
    numbers = [line.split(" pid ")[1].split()[0] for line in seen if " pid " in line]
    assert len(numbers) >= 2 or mode == "exec"


@pytest.mark.parametrize("mode", ["race", "double", "threads"])
def test_the_schedule_does_not_matter(ns: Runner, mode: str) -> None:
    """Without SCHED_FIFO, in several runs on a loaded machine."""
    program = ns.guest("processes")
    with load():
        runs = {ns.exec(program, mode, options=["--sched=other"]).ok() for _ in range(6)}
    assert len(runs) == 1


def test_a_parent_and_its_child_may_end_at_once(ns: Runner) -> None:
    """Without SCHED_FIFO, on a loaded machine, we hear of both ends in one breath."""
    script = "i=0; while [ $i -lt 300 ]; do (: & ); i=$((i+1)); done; echo done"
    with load():
        for _ in range(3):
            seen = ns.exec("sh", "-c", script, options=["--sched=other"]).ok()
            assert seen.text == "done\n"


def test_racing_shells(ns: Runner) -> None:
    """The order of the lines is a matter of the schedule; what they say is not."""
    options = ["--sched=other"]
    first = sorted(ns.exec("sh", "-c", RACING, options=options).ok().lines)
    assert len(first) == 32
    assert len({line.split(": ")[1] for line in first if ": " in line}) == 30
    with load():
        for _ in range(RUNS):
            seen = ns.exec("sh", "-c", RACING, options=options).ok().lines
            assert sorted(seen) == first
    bare = [sorted(ns.bare("sh", "-c", RACING).lines) for _ in range(2)]
    assert bare[0] != bare[1]


def test_the_command_is_process_2(ns: Runner) -> None:
    assert ns.exec("sh", "-c", "echo $$ $PPID").ok().text == "2 1\n"
    bare = {ns.bare("sh", "-c", "echo $$").text for _ in range(2)}
    assert len(bare) == 2


def test_orphans_belong_to_process_1(ns: Runner) -> None:
    seen = ns.exec(ns.guest("processes"), "double").ok().lines
    orphan = next(line for line in seen if line.startswith("orphan pid"))
    assert " ppid 1 " in orphan


def test_orphans_do_not_outlive_the_command(ns: Runner) -> None:
    """PID 1 ends with the command, and the kernel ends the rest with PID 1."""
    seen = ns.exec("sh", "-c", "sleep 1000000000000 & cat /dev/zero >/dev/null & echo done")
    assert seen.ok().text == "done\n"


def test_zombies_are_reaped(ns: Runner) -> None:
    script = "for i in $(seq 50); do sh -c 'true & exit'; done; sleep 0.1; ps -eo stat= | grep -c Z"
    assert ns.exec("sh", "-c", script).text == "0\n"


@pytest.mark.parametrize("options", [[], ["--sched=other"]], ids=["default", "other"])
def test_a_nested_pid_namespace(ns: Runner, options: list[str]) -> None:
    needs_tools("unshare")
    script = "echo $$; sh -c 'echo $$; date +%s'; od -An -N4 -tx1 /dev/urandom"
    seen = ns.twice("unshare", "-Urpf", "sh", "-c", script, options=options).ok()
    assert seen.lines[0] == "1"


def test_ps(ns: Runner) -> None:
    """Not the times: when a process began is the kernel's own reckoning in /proc/PID/stat."""
    ns.twice("sh", "-c", "sleep 0; ps -eo pid,ppid,comm").ok()


def test_many_processes_have_different_numbers(ns: Runner) -> None:
    script = "for i in $(seq 200); do sh -c 'echo $$' & done; wait"
    numbers = ns.exec("dash", "-c", script).ok().lines
    assert len(numbers) == 200
    # Two may have the same number one after the other; by chance that is less than one pair.
    assert len(set(numbers)) > 190
    again = ns.exec("dash", "-c", script, options=["--sched=other"]).ok().lines
    # Where two of the same preference live at the same time, the schedule says who gets the next.
    assert len(set(again) & set(numbers)) > 190


def test_a_fork_bomb_within_reason(ns: Runner) -> None:
    """A few thousand forks in a row: numbers go round without two alike at one time."""
    script = "i=0; while [ $i -lt 3000 ]; do (:); i=$((i+1)); done; (echo $i; sh -c 'echo $$')"
    assert ns.twice("dash", "-c", script, timeout=180).ok().lines[0] == "3000"


def test_make_runs_one_job_at_a_time(ns: Runner) -> None:
    """-j1 by MAKEFLAGS, and the same values even when a makefile asks for more."""
    needs_tools("make")
    rules = "all: a b c d e f\na b c d e f:\n\t@date +$@%s.%N; sh -c 'echo $$$$'\n"
    ns.twice("make", "-f", "-", stdin=rules.encode()).ok()
    many = ns.exec("make", "-j6", "-Otarget", "-f", "-", stdin=rules.encode())
    again = ns.exec("make", "-j6", "-Otarget", "-f", "-", stdin=rules.encode())
    assert sorted(many.ok().lines) == sorted(again.ok().lines)
