"""Cases in which a careless supervisor lets real values in, crashes, or takes its guest with it."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.system.harness import EPOCH, TIMEOUT, Runner
from tests.system.leftovers import children

THREE = "{0} >a & {0} >b & {0} >c & wait; cat a b c"


@pytest.mark.parametrize("policy", ["auto", "other"])
def test_threads_do_not_disturb_births(root: Runner, policy: str) -> None:
    """Numbers and streams of children are the same, however their births mix with threads'."""
    script = THREE.format(root.guest("threadfork"))
    outcome = root.twice("sh", "-c", script, options=[f"--sched={policy}"]).ok()
    assert len(outcome.lines) == len(set(outcome.lines)) == 120


def test_births_are_the_same_under_both_policies(root: Runner) -> None:
    script = THREE.format(root.guest("threadfork"))
    runs = [
        root.exec("sh", "-c", script, options=[f"--sched={policy}"]).ok()
        for policy in ("fifo", "other")
    ]
    assert runs[0] == runs[1]


def test_a_program_that_may_not_be_read_is_not_let_run(user: Runner) -> None:
    """Its memory is closed to an unprivileged supervisor, so its clock would be the real one."""
    if os.getuid():
        pytest.skip("needs root to make a program that its user may not read")
    directory = user.directory()
    for mode in (0o711, 0o755):
        program = directory / f"date-{mode:o}"
        shutil.copy("/bin/date", program)
        program.chmod(mode)
    # "; true" keeps the shell from becoming the program, so that it can report.
    script = "/f/date-{} +%s; echo $?"
    options = ["-v", f"{directory}:/f"]
    closed = user.exec("sh", "-c", script.format("711"), options=options)
    assert closed.lines == ["159"]
    assert b"killed date-711 (process " in closed.stderr
    assert user.exec("sh", "-c", script.format("755"), options=options).lines == [str(EPOCH), "0"]


@pytest.mark.parametrize("moment", range(6))
def test_no_call_fails_while_the_supervisor_dies(root: Runner, moment: int) -> None:
    """The kernel answers ENOSYS for a listener that nobody holds any more; somebody does."""
    cwd = root.directory()
    process = subprocess.Popen(
        root.command("exec", "/", root.guest("hammer")),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=root.environment(),
        cwd=cwd,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"running\n"
    (supervisor,) = children(process.pid)
    os.kill(supervisor, signal.SIGKILL)
    assert process.wait(TIMEOUT) == 125
    process.stdout.close()
    assert list(cwd.iterdir()) == [], moment


_SLEEPER = """
import ctypes, signal, time
class T(ctypes.Structure): _fields_ = [('s', ctypes.c_long), ('n', ctypes.c_long)]
libc = ctypes.CDLL(None, use_errno=True)
def sleep(s, n=0): return libc.nanosleep(ctypes.byref(T(s, n)), None), ctypes.get_errno()
signal.signal(signal.SIGALRM, lambda *_: None)
"""


def test_a_sleep_to_the_end_of_time(root: Runner) -> None:
    """Whoever sleeps longer than there is time waits for a signal; the alarms move the clock."""
    program = (
        "before = time.time()\n"
        "signal.alarm(1)\n"
        "print(sleep(2**62))\n"
        "signal.alarm(1)\n"
        "print(sleep(2**63 - 1, 999999999))\n"
        "print(time.time() - before)\n"
    )
    outcome = root.exec("/usr/bin/python3", "-c", _SLEEPER + program).ok()
    assert outcome.lines == [f"(-1, {errno.EINTR})", f"(-1, {errno.EINTR})", "3.0"]


def test_the_end_of_time(root: Runner) -> None:
    """The clock stops where the kernel's would, and nothing overflows."""
    program = (
        "print(sleep((2**63 - 1 - time.time_ns()) // 10**9 - 2))\n"
        "print([time.time_ns() == 2**63 - 1 for _ in range(6)][-3:])\n"
    )
    outcome = root.exec("/usr/bin/python3", "-c", _SLEEPER + program).ok()
    assert outcome.lines == ["(0, 0)", "[True, True, True]"]


def test_a_host_name_of_any_bytes(root: Runner) -> None:
    program = (
        "import os, socket\n"
        "socket.sethostname(b'\\xff\\xfe')\n"
        "print(os.fsencode(os.uname().nodename))\n"
    )
    assert root.exec("/usr/bin/python3", "-c", program).ok().lines == [r"b'\xff\xfe'"]


def test_an_empty_environment(root: Runner) -> None:
    command = ["env", "-i", f"PYTHONPATH={root.environment()['PYTHONPATH']}"]
    command += root.command("exec", "/", "date", "+%s")
    assert root.outside(command).ok().lines == [str(EPOCH)]


def test_init_shows_nothing_of_the_host(ns: Runner) -> None:
    assert ns.exec("cat", "/proc/1/cmdline").ok().stdout == b"init\0"
    seen = ns.exec("sh", "-c", "cat /proc/1/environ; readlink /proc/1/exe /proc/1/cwd")
    assert seen.stdout == b""


def test_the_callers_groups_stay_outside(root: Runner) -> None:
    command = ["setpriv", "--groups=4,27", *root.command("exec", "/", "id", "-G")]
    assert root.outside(command).ok().lines == ["0"]


def test_limits_are_the_same_whatever_the_callers_are(root: Runner) -> None:
    script = "ulimit -S -s; ulimit -S -n; ulimit -S -c"
    outcomes = []
    for stack in ("8192", "4096"):
        shell = f'ulimit -S -s {stack}; ulimit -S -c 100; exec "$@"'
        command = ["sh", "-c", shell, "sh", *root.command("exec", "/", "sh", "-c", script)]
        outcomes.append(root.outside(command).ok().lines)
    assert outcomes[0] == outcomes[1] == ["8192", "1024", "0"]


def test_the_epoch_of_a_root_is_read_inside_it(root: Runner, tmp_path: Path) -> None:
    """A link in there cannot make us read, or print, a file of the host."""
    directory = tmp_path / "etc/nsbuild"
    directory.mkdir(parents=True)
    (directory / "epoch").symlink_to("/etc/passwd")
    outcome = root.exec("true", target=str(tmp_path))
    assert outcome.code == 127
    assert b"root" not in outcome.stderr
    (directory / "epoch").unlink()
    os.mkfifo(directory / "epoch")
    assert root.exec("true", target=str(tmp_path)).code == 127


def test_a_working_directory_that_is_gone(root: Runner, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = ["sh", "-c", f'cd {gone} && rmdir {gone} && exec "$@"', "sh"]
    outcome = root.outside([*command, *root.command("exec", "/", "true")])
    assert outcome.code == 125
    assert "working directory" in outcome.complaint


def test_the_host_name_resolves(root: Runner) -> None:
    program = "import socket; print(socket.gethostbyname(socket.gethostname()))"
    assert root.exec("/usr/bin/python3", "-c", program).ok().lines == ["127.0.1.1"]
