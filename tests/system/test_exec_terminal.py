"""nsbuild exec -t: a pty of the container's own, its size, and job control."""

from __future__ import annotations

import re

from tests.system.harness import Runner
from tests.system.terminal import Terminal


def terminal(ns: Runner, *argv: str, options: tuple[str, ...] = ("-i", "-t")) -> Terminal:
    arguments = () if ns.is_root else ("--sched=other",)
    command = ns.command("exec", *arguments, *options, "/", *argv)
    env = ns.environment() | {"TERM": "vt100"}
    return Terminal(command, env, str(ns.directory()))


def test_the_command_has_a_terminal_of_its_own(ns: Runner) -> None:
    with terminal(ns, "sh", "-c", "tty; test -t 0 && test -t 1 && test -t 2 && echo yes") as pty:
        pty.expect(r"/dev/pts/\d+\r\nyes\r\n")
        assert pty.wait() == 0


def test_without_t_there_is_none(ns: Runner) -> None:
    """The caller's own pty is handed on as it is, byte-exact; no second one is made."""
    with terminal(ns, "sh", "-c", "tty; test -e /dev/pts/0; echo made $?", options=()) as pty:
        pty.expect(r"made 1\r\n")
        assert pty.wait() == 0


def test_term_comes_in_with_a_terminal(ns: Runner) -> None:
    with terminal(ns, "sh", "-c", "echo term $TERM") as pty:
        pty.expect(r"term vt100\r\n")


def test_exit_code_through_a_terminal(ns: Runner) -> None:
    with terminal(ns, "sh", "-c", "exit 42") as pty:
        assert pty.wait() == 42


def test_window_size_and_resize(ns: Runner) -> None:
    script = "trap 'stty size' WINCH; stty size; while :; do sleep 0.1; done"
    with terminal(ns, "bash", "-c", script) as pty:
        pty.expect(r"33 101\r\n")
        pty.resize(50, 132)
        pty.expect(r"50 132\r\n")
        pty.send("\x03")
        assert pty.wait() == 130


def test_control_c_interrupts_the_command_only(ns: Runner) -> None:
    with terminal(ns, "bash", "--norc", "-i") as pty:
        pty.send("PS1='> '; echo re''ady\n")
        pty.expect("ready")
        pty.send("while :; do :; done\n")
        pty.send("\x03")
        pty.send("echo still $?''\n")
        pty.expect(r"still 130")
        pty.send("exit 5\n")
        assert pty.wait() == 5


def test_job_control(ns: Runner) -> None:
    with terminal(ns, "bash", "--norc", "-i") as pty:
        pty.send("PS1='> '; echo re''ady\n")
        pty.expect("ready")
        pty.send("cat\n")
        pty.send("echoed\n")
        pty.expect(r"echoed\r\nechoed")
        pty.send("\x1a")
        pty.expect("Stopped")
        pty.send("jobs; bg >/dev/null; fg\n")
        pty.expect(r"Stopped\s+cat")
        pty.send("again\n")
        pty.expect(r"again\r\nagain")
        pty.send("\x04")
        pty.send("echo c''ode $?\n")
        pty.expect(r"code 0")
        pty.send("exit 0\n")
        assert pty.wait() == 0
        assert not re.search(rb"no job control", pty.seen)


def test_end_of_file(ns: Runner) -> None:
    with terminal(ns, "cat") as pty:
        pty.send("line\n")
        pty.expect(r"line\r\nline\r\n")
        pty.send("\x04")
        assert pty.wait() == 0


def test_the_callers_terminal_is_as_before(ns: Runner) -> None:
    """The outer terminal is raw meanwhile, and sane again afterwards."""
    arguments = "" if ns.is_root else "--sched=other"
    command = " ".join(ns.command("exec", arguments, "-it", "/", "true").copy())
    script = f'before=$(stty -g); {command}; test "$before" = "$(stty -g)"; echo same $?'
    with Terminal(["sh", "-c", script], ns.environment(), str(ns.directory())) as pty:
        pty.expect(r"same 0")


def test_a_terminal_needs_one(ns: Runner) -> None:
    """-t with stdin not a terminal: a pty for the output all the same, or one clear line."""
    seen = ns.exec("tty", options=["-t"])
    if seen.code == 125:
        assert seen.complaint
    else:
        assert re.fullmatch(rb"/dev/pts/\d+\r?\n", seen.stdout)
