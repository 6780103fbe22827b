"""Under SCHED_FIFO nobody overtakes whom the machine holds up (nsbuild/supervisor/turns.py)."""

from __future__ import annotations

from tests.system.harness import Runner

_TURNS = 60
_SCRIPT = f"""
import os, time
child = os.fork()
file = os.open("file", os.O_CREAT | os.O_WRONLY) if child else -1
for turn in range({_TURNS}):
    if child:
        os.write(file, bytes(10000))
        os.fsync(file)
    time.monotonic()
if child:
    os.wait()
"""


def test_who_waits_for_a_disk_is_not_overtaken(root: Runner) -> None:
    """The child makes its next call only after its parent has, though that takes a disk's time.

    Where the directory is a tmpfs fsync(2) does not sleep, and nothing is shown.
    """
    directory = root.directory()
    trace = directory / "trace"
    options = ["--sched=fifo", "--trace", str(trace)]
    root.exec("/usr/bin/python3", "-c", _SCRIPT, options=options, cwd=directory).ok()
    lines = trace.read_text().splitlines()
    born = next(number for number, line in enumerate(lines) if "birth of 1.1 " in line)
    turns = [line.split()[0] for line in lines[born:] if " clock_gettime(" in line]
    assert turns.count("1") >= _TURNS
    ahead = [turns[:end].count("1.1") - turns[:end].count("1") for end in range(2 * _TURNS)]
    assert max(ahead) <= 3
    assert not any("overtaken" in line for line in lines)
