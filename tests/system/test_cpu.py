"""Everything says that there is one processor, number 0, whichever it is."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from nsbuild.supervisor.spin import SpinGuard
from tests.system.capabilities import needs
from tests.system.harness import TIMEOUT, Runner


@pytest.fixture
def several() -> None:
    """Bare, a machine with one processor says the same: the tests would prove nothing."""
    needs("two processors", (os.cpu_count() or 1) > 1)


@pytest.mark.usefixtures("several")
@pytest.mark.parametrize("cpu", ["auto", "0", "1"])
def test_calls(ns: Runner, cpu: str) -> None:
    seen = ns.exec(ns.guest("cpu"), "values", options=[f"--cpu={cpu}"]).ok().lines
    assert seen == [
        "configured 1 online 1",
        "sched_getaffinity 0 count 1 first 1",
        "raw sched_getaffinity 1 mask 1",
        "sched_getcpu 0",
        "raw getcpu 0 0 0",
        "vdso getcpu 0 0 0",
    ]
    assert ns.bare(ns.guest("cpu"), "values").lines[:3] != seen[:3]


def test_rseq_is_refused(ns: Runner) -> None:
    """An rseq area shows the real CPU number without a call, so nobody gets one."""
    assert ns.exec(ns.guest("cpu"), "rseq").ok().text == "rseq -1 38\n"
    assert ns.bare(ns.guest("cpu"), "rseq").text != "rseq -1 38\n"


@pytest.mark.usefixtures("several")
@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("nproc", "1"),
        ("nproc --all", "1"),
        ("getconf _NPROCESSORS_ONLN", "1"),
        ("getconf _NPROCESSORS_CONF", "1"),
        ("grep -c ^processor /proc/cpuinfo", "1"),
        ("grep ^processor /proc/cpuinfo | tr -dc 0-9", "0"),
        ("cat /sys/devices/system/cpu/online", "0"),
        ("cat /sys/devices/system/cpu/possible", "0"),
        ("cat /sys/devices/system/cpu/present", "0"),
        (
            "/usr/bin/python3 -c 'import os; print(os.cpu_count(), os.sched_getaffinity(0))'",
            "1 {0}",
        ),
        ("ls -d /sys/devices/system/cpu/cpu[0-9]*", "/sys/devices/system/cpu/cpu0"),
    ],
)
def test_commands(ns: Runner, command: str, answer: str) -> None:
    """On CPU 1, so that the number 0 is no accident."""
    seen = ns.exec("sh", "-c", command, options=["--cpu=1"]).ok()
    assert seen.text.strip() == answer
    assert ns.bare("sh", "-c", command).text.strip() != answer


@pytest.mark.usefixtures("several")
def test_the_mask_in_proc_status(root: Runner) -> None:
    command = "grep Cpus_allowed_list /proc/self/status | tr -dc 0-9"
    assert root.exec("sh", "-c", command, options=["--cpu=1"]).ok().text == "0"


def test_files_about_the_processor_do_not_change(ns: Runner) -> None:
    seen = ns.exec("cat", "/proc/cpuinfo", "/proc/stat", "/proc/loadavg", options=["--cpu=0"])
    again = ns.exec("cat", "/proc/cpuinfo", "/proc/stat", "/proc/loadavg", options=["--cpu=1"])
    assert seen.ok() == again.ok()


def test_asking_for_another_place_succeeds_and_changes_nothing(ns: Runner) -> None:
    seen = ns.exec(ns.guest("cpu"), "set", options=["--cpu=0"]).ok().lines
    assert all(line.endswith(" 0 0") for line in seen[:-2]), seen
    assert seen[-2:] == ["sched_getaffinity 0 count 1 first 1", "sched_getcpu 0"]


def test_taskset_nice_and_chrt(ns: Runner) -> None:
    script = "taskset -c 1 nice -n 5 chrt -f 10 nproc; taskset -c 0 true; echo $?"
    assert ns.exec("sh", "-c", script).ok().lines == ["1", "0"]


def test_a_spinning_guest_cannot_hang_the_container(ns: Runner) -> None:
    """One spins for ever; the other, behind it on the same CPU, gets its turn and ends it."""
    script = "while :; do :; done & spinner=$!; sleep 1; echo waited; kill $spinner; wait; echo end"
    seen = ns.exec("dash", "-c", script, options=["--spin-bound", "0.2"])
    assert seen.lines == ["waited", "end"]
    assert seen.code == 0


def test_two_spinners_do_not_cost_the_others_each_call(ns: Runner) -> None:
    """`find` makes thousands of calls; to lose the CPU at each would take it an hour."""
    spinners = "while :; do :; done & a=$!; while :; do :; done & b=$!"
    script = f"{spinners}; sleep 1; find /usr/share/doc | wc -l >/dev/null; echo found; kill $a $b"
    seen = ns.exec("dash", "-c", script, options=["--spin-bound", "0.2"])
    assert seen.lines == ["found"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root sets SCHED_FIFO everywhere")
def test_a_spinner_steps_back_until_its_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    pid = os.fork()
    if pid == 0:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
        while True:
            pass
    monkeypatch.chdir("/proc")
    try:
        guard = SpinGuard(os.stat("self/ns/pid").st_ino, 0.1, 10)
        watcher = guard.watcher()
        end = time.monotonic() + TIMEOUT
        while pid not in guard.back:
            assert time.monotonic() < end
            watcher.send(b"?")
            guard.judge()
        assert os.sched_getparam(pid).sched_priority == 9
        guard.called(pid)
        assert os.sched_getparam(pid).sched_priority == 10
        assert not guard.back
        watcher.close()
        os.wait()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_the_host_keeps_running_while_a_guest_spins(ns: Runner) -> None:
    """Three spinners and, on their CPU, this process, which still gets its turns."""
    script = "for i in 1 2; do (while :; do :; done) & done; while :; do :; done"
    defaults = () if ns.is_root else ("--sched=other",)
    command = ns.command("exec", *defaults, "--cpu=0", "/", "dash", "-c", script)
    mine = os.sched_getaffinity(0)
    process = subprocess.Popen(command, env=ns.environment(), cwd=ns.directory())
    try:
        os.sched_setaffinity(0, {0})
        end = time.monotonic() + TIMEOUT
        for _ in range(20):
            time.sleep(0.1)
            assert time.monotonic() < end
        assert process.poll() is None
    finally:
        os.sched_setaffinity(0, mine)
        process.terminate()
    assert process.wait(TIMEOUT) == 128 + signal.SIGTERM


@pytest.mark.parametrize("policy", ["fifo", "other", "auto"])
def test_scheduling_policies_as_root(root: Runner, policy: str) -> None:
    assert root.exec("echo", "ran", options=[f"--sched={policy}"]).ok().text == "ran\n"


def test_auto_without_an_allowance_warns_once_and_works(user: Runner) -> None:
    """SCHED_FIFO needs RLIMIT_RTPRIO; the warning says how to get it."""
    command = ("prlimit", "--rtprio=0", *user.command("exec", "--sched=auto", "/", "echo", "ran"))
    seen = user.outside(command)
    assert (seen.code, seen.text) == (0, "ran\n")
    assert "RTPRIO" in seen.complaint.upper()


def test_fifo_with_an_allowance(user: Runner) -> None:
    """CAP_SYS_NICE allows it as RLIMIT_RTPRIO does, and not every root may raise that limit."""
    needs("CAP_SYS_NICE to hand on", os.getuid() == 0)
    prefix = user.account.prefix
    python = user.command("exec", "--sched=fifo", "/", "echo", "ran")[len(prefix) :]
    raised = ("--inh-caps=+sys_nice", "--ambient-caps=+sys_nice", "--")
    assert user.outside((*prefix[:-1], *raised, *python)).ok().text == "ran\n"


def test_fifo_without_an_allowance_is_refused(user: Runner) -> None:
    command = ("prlimit", "--rtprio=0", *user.command("exec", "--sched=fifo", "/", "echo", "ran"))
    seen = user.outside(command)
    assert seen.code == 125
    assert seen.stdout == b""
    assert "RTPRIO" in seen.complaint.upper()
