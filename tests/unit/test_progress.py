"""What long work says: lines, nothing, or on a terminal one line that changes."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from nsbuild.cli.progress import Progress
from tests.system.capabilities import needs

SCRIPT = """
from nsbuild.cli.progress import Progress
with Progress() as progress:
    progress.say("Unpacking")
    progress.advance(5000)
print("done")
"""


def test_lines_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress() as progress:
        progress.say("Unpacking")
        progress.advance(5)
    assert capsys.readouterr() == ("", "Unpacking\n")


def test_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(quiet=True) as progress:
        progress.say("Unpacking")
    assert capsys.readouterr() == ("", "")


def on_terminal(**more: str) -> str:
    """What the script shows on a terminal; its stdout is none."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", **more}
    environment.pop("NO_COLOR", None) if "NO_COLOR" not in more else None
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(
        command, stderr=follower, stdout=subprocess.PIPE, env=environment, timeout=60, check=True
    )
    os.close(follower)
    assert done.stdout == b"done\n"
    shown = b""
    try:
        while data := os.read(leader, 4096):
            shown += data
    except OSError:
        # EIO: nobody has it open any more.
        pass
    os.close(leader)
    return shown.decode()


def has_rich() -> bool:
    return subprocess.run([sys.executable, "-c", "import rich"], check=False).returncode == 0


def test_one_line_on_a_terminal() -> None:
    needs("Python's rich", has_rich())
    shown = on_terminal()
    assert "Unpacking 5 kB" in shown
    assert "\x1b[32m" in shown
    # Removed in the end, as nothing of it is of use then.
    assert shown.endswith("\x1b[2K")


def test_no_colours() -> None:
    needs("Python's rich", has_rich())
    shown = on_terminal(NO_COLOR="1")
    assert "Unpacking 5 kB" in shown
    assert "\x1b[32m" not in shown


def test_a_terminal_that_knows_nothing() -> None:
    assert on_terminal(TERM="dumb") == "Unpacking\r\n"
