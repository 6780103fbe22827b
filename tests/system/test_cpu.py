"""Everything says that there is one processor, number 0, whichever it is."""

from __future__ import annotations

import os
import signal
import socket
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


def test_two_spinners_do_not_cost_the_others_each_call(root: Runner) -> None:
    """`find` makes thousands of calls; to lose the CPU at each would take it an hour."""
    spinners = "while :; do :; done & a=$!; while :; do :; done & b=$!"
    find = "find /usr/bin /usr/lib -maxdepth 3 | wc -l >/dev/null"
    script = f"{spinners}; sleep 1; {find}; echo found; kill $a $b; wait; exit 3"
    seen = root.exec("dash", "-c", script, options=["--spin-bound", "0.2"])
    assert seen.lines == ["found"]
    assert seen.code == 3


@pytest.mark.parametrize("wait", ["sleep 1", ":", "date >/dev/null"])
def test_who_waits_by_asking_does_not_keep_the_spinner_from_its_work(
    root: Runner, wait: str
) -> None:
    """The one computes and makes a file; the other looks for it again and again."""
    work = "i=0; while [ $i -lt 3000000 ]; do i=$((i+1)); done; >done"
    script = f"({work}) & until [ -e done ]; do {wait}; done; wait; echo end"
    seen = root.exec("dash", "-c", script, options=["--spin-bound", "0.2"]).ok()
    assert seen.lines == ["end"]


_GIVEN_BESIDE_A_SPINNER = """
import ctypes, os
libc = ctypes.CDLL(None)
# By hand, since os.fork makes calls in the child.
child = libc.fork()
while not child:
    pass
fd = libc.open(b"/proc/self/statm", os.O_RDONLY)
os.kill(child, 9)
print(fd > 2)
"""


def test_who_is_given_a_descriptor_need_not_wait_for_a_spinner(root: Runner) -> None:
    """The supervisor waits in the kernel until it was taken, and so cannot see to the spinner."""
    options = ["--spin-bound", "0.2"]
    seen = root.exec("/usr/bin/python3", "-c", _GIVEN_BESIDE_A_SPINNER, options=options).ok()
    assert seen.lines == ["True"]


def test_a_spinner_steps_back_until_it_calls_or_for_a_while() -> None:
    """Of a watcher that says what it is told to."""
    sleeper = subprocess.Popen(["sleep", "600"])
    try:
        os.sched_setscheduler(sleeper.pid, os.SCHED_FIFO, os.sched_param(10))
    except PermissionError:
        sleeper.kill()
        sleeper.wait()
        needs("CAP_SYS_NICE", False)

    def priority() -> int:
        return os.sched_getparam(sleeper.pid).sched_priority

    watcher, answer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with watcher, answer:
        try:
            guard = SpinGuard(1, 1.0, 10, watcher)
            for ticks, received, stepped in ((0, 5, 0), (200, 6, 0), (200, 5, sleeper.pid)):
                guard.quiet(5)
                answer.send(b"%d %d 0 0 1 1" % (ticks, sleeper.pid))
                assert guard.judge(received) == stepped
            assert priority() == 8
            guard.called(sleeper.pid)
            assert priority() == 10
            answer.send(b"400 %d 0 0 1 1" % sleeper.pid)
            assert guard.judge(5) == sleeper.pid
            assert priority() == 8
            guard.release()
            assert priority() == 10
            assert not guard.back
            guard.lower([sleeper.pid, 1 << 22])
            assert priority() == 8
            guard.called(sleeper.pid)
            assert priority() == 10
        finally:
            sleeper.kill()
            sleeper.wait()


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


def _with_capability(user: Runner, sched: str) -> tuple[str, ...]:
    """The command line of something that forks, by a user with CAP_SYS_NICE and without a limit."""
    prefix = user.account.prefix
    python = user.command("exec", f"--sched={sched}", "/", "sh", "-c", "id -u; id -u; echo ran")
    raised = ("--inh-caps=+sys_nice", "--ambient-caps=+sys_nice", "--")
    return ("prlimit", "--rtprio=0", *prefix[:-1], *raised, *python[len(prefix) :])


def test_a_capability_is_no_allowance_where_it_counts_for_nothing(user: Runner) -> None:
    """In the user namespace, where init must be raised again; it was a traceback at a fork."""
    needs("CAP_SYS_NICE to hand on", os.getuid() == 0)
    refused = user.outside(_with_capability(user, "fifo"))
    assert (refused.code, refused.stdout) == (125, b"")
    assert "RTPRIO" in refused.complaint.upper()
    without = user.outside(_with_capability(user, "auto"))
    assert (without.code, without.text) == (0, "0\n0\nran\n")
    assert "no SCHED_FIFO here" in without.complaint


def test_fifo_without_an_allowance_is_refused(user: Runner) -> None:
    command = ("prlimit", "--rtprio=0", *user.command("exec", "--sched=fifo", "/", "echo", "ran"))
    seen = user.outside(command)
    assert seen.code == 125
    assert seen.stdout == b""
    assert "RTPRIO" in seen.complaint.upper()
