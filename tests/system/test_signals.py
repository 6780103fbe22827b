"""Signals while notified calls are made: nothing hangs, nothing fails, nothing ticks twice."""

from __future__ import annotations

import pytest

from tests.system.capabilities import needs
from tests.system.harness import Outcome, Runner

LIBCS = ("", "-static", "-musl")
TIMEOUT = 180
PIPES = (
    "i=0; while [ $i -lt 1000 ]; do x=$(echo $i | cat | cat); "
    '[ "$x" = $i ] || echo "$i: $x"; i=$((i+1)); done; echo "$i done"; date +%s'
)


def values(lines: list[str]) -> dict[str, str]:
    return dict(line.split(" ", 1) for line in lines)


@pytest.mark.parametrize("guest", ["storm" + libc for libc in LIBCS], indirect=True)
def test_alarms_at_5_khz(ns: Runner, guest: str) -> None:
    """libc's clock calls never fail, and what was read does not depend on the alarms."""
    seen = values(ns.twice(guest, "alarm", "8000", timeout=TIMEOUT).ok().lines)
    assert seen["signals"] == "came"
    assert seen["failed"] == "0"


@pytest.mark.parametrize("sched", ["fifo", "other"])
def test_alarms_interrupt_no_call(root: Runner, sched: str) -> None:
    """Not even raw ones, whose EINTR nobody hides: a virtual timer raises no interrupt."""
    command = (root.guest("storm"), "alarm", "8000", "count")
    seen = values(root.exec(*command, options=[f"--sched={sched}"], timeout=TIMEOUT).ok().lines)
    assert seen["signals"] == "came"
    assert seen["interrupted"] == "0"


def test_the_alarms_change_nothing(ns: Runner) -> None:
    """The same reads without a single signal give the same values; a timer is set all the same."""
    script = """
import sys, time, os
for _ in range(300):
    sys.stdout.write(f"{time.time_ns()} {time.monotonic_ns()} {os.getrandom(24).hex()}\\n")
"""
    storm = "import signal\nsignal.signal(signal.SIGALRM, lambda *_: None)\n"
    start = "signal.setitimer(signal.ITIMER_REAL, {})\n"
    stop = "signal.setitimer(signal.ITIMER_REAL, 0)\n"

    def run(times: str) -> Outcome:
        program = storm + start.format(times) + script + stop
        return ns.exec("/usr/bin/python3", "-Ic", program, options=["-e", "PYTHONHASHSEED=0"]).ok()

    assert run("1e-3, 2e-4") == run("3600")


def test_thousands_of_sigchld(ns: Runner) -> None:
    seen = ns.twice(ns.guest("storm"), "child", "1500", timeout=TIMEOUT).ok()
    assert values(seen.lines)["failed"] == "0"


def test_sigchld_interrupts_no_call_under_fifo(root: Runner) -> None:
    """With the supervisor above the guest on one CPU, no child can run between call and answer."""
    command = (root.guest("storm"), "child", "1500", "count")
    seen = values(root.exec(*command, options=["--sched=fifo"], timeout=TIMEOUT).ok().lines)
    assert seen["signals"] == "came"
    assert seen["interrupted"] == "0"


def test_jobs_end_while_others_start(ns: Runner) -> None:
    """Without SCHED_FIFO a SIGCHLD may come before a fork is received; dash gives up then."""
    script = (
        "j=0; while [ $j -lt 120 ]; do for i in 1 2 3 4 5 6 7 8; do "
        "sh -c 'date +%s%N' >$i & done; wait; j=$((j+1)); done; echo $j"
    )
    seen = ns.exec("dash", "-c", script, options=["--sched=other"], timeout=TIMEOUT)
    assert seen.ok().lines == ["120"]


def test_a_brother_that_sends_signals(ns: Runner) -> None:
    seen = ns.exec(ns.guest("storm"), "kill", "3000", timeout=TIMEOUT).ok()
    assert values(seen.lines)["failed"] == "0"
    again = ns.exec(ns.guest("storm"), "kill", "3000", options=["--sched=other"], timeout=TIMEOUT)
    assert again.ok().lines[-1] == seen.lines[-1]


@pytest.mark.parametrize(
    ("ns", "shell"), [("root", "dash"), ("root", "bash"), ("user", "dash")], indirect=["ns"]
)
def test_a_thousand_pipelines(ns: Runner, shell: str) -> None:
    lines = ns.twice(shell, "-c", PIPES, timeout=TIMEOUT).ok().lines
    assert lines[0] == "1000 done"
    assert len(lines) == 2


def test_go_with_its_preemption_signals(root: Runner) -> None:
    """Go sends itself SIGURG every ten milliseconds of work."""
    needs("a compiler for the guest gopure", root.has("gopure"))
    root.twice(root.guest("gopure"), options=["--sched=fifo"]).ok()


def test_go_without_fifo_comes_to_its_end(ns: Runner) -> None:
    """Its values may differ: its threads share a clock, and take turns as the host has it."""
    needs("a compiler for the guest gopure", ns.has("gopure"))
    for _ in range(5):
        assert len(ns.exec(ns.guest("gopure"), options=["--sched=other"]).ok().lines) == 8


@pytest.mark.parametrize("signal", [1, 2, 3, 9, 13, 15, 6, 11])
def test_the_commands_own_signal_is_its_exit_code(ns: Runner, signal: int) -> None:
    """dash's, since bash ignores SIGQUIT."""
    assert ns.exec("dash", "-c", f"ulimit -c 0; kill -{signal} $$").code == 128 + signal
