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
    """A Ctrl-C that comes while a child of bash is ending is lost, so bash itself says when."""
    script = "trap 'stty size; echo shown' WINCH; stty size; echo begun; while :; do :; done"
    with terminal(ns, "bash", "-c", script) as pty:
        pty.expect(r"33 101\r\nbegun\r\n")
        pty.resize(50, 132)
        pty.expect(r"50 132\r\nshown\r\n")
        pty.send("\x03")
        assert pty.wait() == 130


def shell(pty: Terminal) -> None:
    """Wait until bash reads its first command; what it prints itself is never typed like that."""
    pty.send("PS1='> '; echo re''ady\n")
    assert "no job control" not in pty.expect(r"ready\r\n.*> $").string


def start(pty: Terminal, command: str) -> None:
    """Type `command` to bash, and wait until bash has left the terminal to it."""
    pty.send(f"echo be''gun; {command}\n")
    pty.expect(r"begun\r\n")


def test_control_c_interrupts_the_command_only(ns: Runner) -> None:
    with terminal(ns, "bash", "--norc", "-i") as pty:
        shell(pty)
        start(pty, "while :; do :; done")
        pty.send("\x03")
        pty.expect("> $")
        pty.send("echo still $?''\n")
        pty.expect(r"still 130\r\n.*> $")
        pty.send("exit 5\n")
        assert pty.wait() == 5


def test_job_control(ns: Runner) -> None:
    with terminal(ns, "bash", "--norc", "-i") as pty:
        shell(pty)
        start(pty, "cat")
        pty.send("echoed\n")
        pty.expect(r"echoed\r\nechoed\r\n")
        pty.send("\x1a")
        pty.expect(r"Stopped.*\r\n.*> $")
        pty.send("jobs\n")
        pty.expect(r"Stopped\s+cat\r\n.*> $")
        start(pty, "fg")
        pty.expect(r"cat\r\n")
        pty.send("again\n")
        pty.expect(r"again\r\nagain\r\n")
        pty.send("\x04")
        pty.expect("> $")
        pty.send("echo c''ode $?\n")
        pty.expect(r"code 0\r\n.*> $")
        pty.send("exit 0\n")
        assert pty.wait() == 0


def test_typing_ahead_and_end_of_file(ns: Runner) -> None:
    """What is typed before nsbuild has even started to read is not lost."""
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
