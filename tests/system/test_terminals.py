"""Containers with a terminal: what run, exec and attach do with the caller's own one."""

from __future__ import annotations

import shlex
import termios
import time

import pytest

from tests.system.containerbox import IMAGE, ContainerBox, box
from tests.system.terminal import Terminal

__all__ = ["box"]

WAYS = ("run", "exec", "attach")
SIZE = "trap 'busybox stty size; echo shown' WINCH; busybox stty size; echo begun; "
SPIN = "while :; do :; done"
"""A trap is run in it at once, which nothing that waits can promise."""
ECHO = 'echo begun; while read line; do echo "<$line>"; done; exit 3'


def words(box: ContainerBox, way: str, script: str) -> list[str]:
    """The command line that has `script` on our terminal, by run, exec or attach."""
    shell = ("sh", "-c", script)
    if way == "run":
        return box.ns.command("run", "-it", "--name=c", IMAGE, *shell)
    if way == "exec":
        box.waiting("--name=c")
        return box.ns.command("exec", "-it", "c", *shell)
    box.ok("run", "-dit", "--name=c", IMAGE, *shell)
    box.until(lambda: "begun" in box.ok("logs", "c").text)
    return box.ns.command("attach", "c")


def terminal(box: ContainerBox, command: list[str]) -> Terminal:
    """That command on a terminal of 33 lines by 101."""
    env = box.ns.environment() | box.environment() | {"TERM": "vt100"}
    return Terminal(command, env, str(box.ns.directory()))


def raw(pty: Terminal) -> None:
    """Wait until what is typed is passed on as it is."""
    end = time.monotonic() + 20
    while termios.tcgetattr(pty.master)[3] & termios.ICANON:
        assert time.monotonic() < end, "the terminal is not raw"
        time.sleep(0.02)


@pytest.mark.parametrize("way", WAYS)
def test_the_size_of_the_window_is_passed_on(box: ContainerBox, way: str) -> None:
    with terminal(box, words(box, way, SIZE + SPIN)) as pty:
        # One that is attached to gets the size when somebody comes.
        pty.expect(r"33 101\r\n" + ("shown" if way == "attach" else "begun"))
        for rows, columns in ((50, 132), (24, 80)):
            pty.resize(rows, columns)
            pty.expect(rf"{rows} {columns}\r\nshown\r\n")
        pty.send("\x03")
        assert pty.wait() == 130


@pytest.mark.parametrize("way", WAYS)
def test_control_c_reaches_the_command(box: ContainerBox, way: str) -> None:
    """And nobody else: we go on to show what the command says of it."""
    script = f"trap 'echo caught; exit 7' INT; echo begun; {SPIN}"
    with terminal(box, words(box, way, script)) as pty:
        if way != "attach":
            pty.expect("begun\r\n")
        raw(pty)
        pty.send("\x03")
        pty.expect(r"\^Ccaught\r\n")
        assert pty.wait() == 7


@pytest.mark.parametrize("way", WAYS)
def test_what_is_typed_is_echoed_once_and_ends_with_control_d(box: ContainerBox, way: str) -> None:
    with terminal(box, words(box, way, ECHO)) as pty:
        if way != "attach":
            pty.expect("begun\r\n")
        raw(pty)
        pty.send("one\r")
        assert pty.expect("one\r\n<one>\r\n").start() == 0
        pty.send("\x04")
        assert pty.wait() == 3


def test_the_keys_that_leave_it(box: ContainerBox) -> None:
    """Ctrl-P Ctrl-Q, in one piece or in two; Ctrl-P alone is the command's."""
    command = words(box, "attach", ECHO)
    for keys in (("\x10\x11",), ("\x10", "\x11")):
        with terminal(box, command) as pty:
            raw(pty)
            pty.send("a\x10b\r")
            pty.expect("<a\x10b>\r\n")
            for key in keys:
                pty.send(key)
                if key == "\x10":
                    pty.expect(r"\^P")
            assert pty.wait() == 0
        assert box.state("c") == "running"
    # The Ctrl-P that came alone has been typed.
    with terminal(box, command) as pty:
        raw(pty)
        pty.send("b\r")
        pty.expect("<\x10?b>\r\n")
        pty.send("\x04")
        assert pty.wait() == 3


@pytest.mark.parametrize("end", ["\x04", "\x10\x11", "kill"])
@pytest.mark.parametrize("way", WAYS)
def test_the_callers_terminal_is_as_before(box: ContainerBox, way: str, end: str) -> None:
    """However it ends: by itself, by the keys that leave it, or by `kill` from elsewhere."""
    command = shlex.join(words(box, way, ECHO))
    inner = f"stty -a > before; {command}; echo ended $?; stty -a | diff before - && echo as before"
    with terminal(box, ["sh", "-c", inner]) as pty:
        raw(pty)
        pty.send("x\r")
        pty.expect("<x>\r\n")
        if end == "kill":
            box.ok("kill", "-s", "KILL", "c")
        elif end == "\x10\x11" and way != "attach":
            # There they are the command's, which goes on.
            pty.send(f"{end}\x04\x04")
        else:
            pty.send(end)
        pty.expect(r"ended \d+\r\n")
        pty.expect(r"as before\r\n")
        assert pty.wait() == 0
