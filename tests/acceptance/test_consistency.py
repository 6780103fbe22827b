"""What build tools conclude from file times holds inside as it does on bare Linux.

The scripts in consistency/ check each step themselves. Here they are run bare, which shows that
they ask for nothing that Linux does not do, and twice inside, where their lists of times and
numbers must be the same as well.
"""

from __future__ import annotations

import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.system.capabilities import needs_tools
from tests.system.harness import EPOCH, Outcome, Runner, difference, load, next_second

SCRIPTS = Path(__file__).resolve().parent / "consistency"
TOOLS = {
    "autotools": ("autoreconf", "gcc"),
    "cmake": ("cmake", "gcc"),
    "git": ("git",),
    "make": ("make",),
    "newer": ("find",),
    "ninja": ("ninja", "gcc"),
    "python": ("python3",),
    "rsync": ("rsync",),
    "tar": ("tar",),
}

POLLS = frozenset({"rsync"})
"""Scripts of programs that sleep until another is done; how often repeats under SCHED_FIFO only."""


def script(name: str) -> str:
    """The text of a script with what all of them begin with."""
    return (SCRIPTS / "lib.sh").read_text() + (SCRIPTS / f"{name}.sh").read_text()


def passed(done: Outcome) -> None:
    """The script came to its end; else it has said what is wrong."""
    if done.code != 0:
        words = [line for line in done.lines if line.startswith("FAIL")] or [str(done)]
        pytest.fail("\n".join(words), pytrace=False)


def test_every_script_is_run() -> None:
    assert {path.stem for path in SCRIPTS.glob("*.sh")} == {"lib", *TOOLS}


@pytest.mark.parametrize("name", sorted(TOOLS))
def test_bare_linux_does_what_the_script_wants(root: Runner, name: str) -> None:
    """And lists other times and numbers than the next run."""
    needs_tools(*TOOLS[name])

    def bare(_: int) -> Outcome:
        command = ["bash", "-c", script(name)]
        return root.outside(command, env={"BARE": "1"}, cwd=root.directory())

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(bare, range(2)))
    for done in outcomes:
        passed(done)
    assert outcomes[0].stdout != outcomes[1].stdout


def run_inside(ns: Runner, name: str) -> Outcome:
    """The script in a new directory of the host, which has the same path inside each time."""
    options = ("-v", f"{ns.directory()}:/build", "-w", "/build")
    return ns.exec("bash", "-c", script(name), options=options, timeout=120)


@pytest.mark.parametrize("name", sorted(TOOLS))
def test_tools_agree_with_file_times(ns: Runner, name: str) -> None:
    needs_tools(*TOOLS[name])
    first = run_inside(ns, name)
    passed(first)
    next_second(time.time())
    # Without SCHED_FIFO busy processes have their share of the CPU, and then it takes minutes.
    with load() if ns.is_root else nullcontext():
        second = run_inside(ns, name)
    passed(second)
    if ns.is_root or name not in POLLS:
        assert first == second, difference(first, second)


def test_a_second_run_finds_nothing_to_do(ns: Runner) -> None:
    """Its clock starts again at the epoch, and what the first has left is no later than that."""
    needs_tools("make", "ninja", "git")
    work = ns.directory()
    (work / "Makefile").write_text("made: source\n\tcp $< $@\n")
    (work / "build.ninja").write_text("rule cp\n command = cp $in $out\nbuild copy: cp source\n")
    (work / "source").write_text("text\n")
    for path in work.iterdir():
        os.chown(path, ns.account.uid, ns.account.gid)
    # Of the host's own /root an ordinary user can read nothing, which git would say.
    home = ("-e", "HOME=/tmp")
    git = "git -c user.name=A -c user.email=a@example.org"
    first = f"make && ninja && git init -q && {git} add . && {git} commit -q -m first"
    done = ns.exec("sh", "-c", first, options=home, cwd=work)
    assert done.code == 0, done
    then = "make; ninja; git status --porcelain"
    again = ns.exec("sh", "-c", then, options=home, cwd=work)
    assert again.lines == ["make: 'made' is up to date.", "ninja: no work to do."], again
    assert again.stderr == b""


LEAVE_FILES = r"""
set -e
cat input >/dev/null
mkdir -p new/sub
echo text >new/written
echo more >>new/written
echo other >appended
cp -p input new/kept
touch -d 2001-02-03T04:05:06.789012345 new/explicit
touch -d 2040-01-01 new/future
touch new/touched
ln new/written new/sub/hard
ln -s written new/sub/symbolic
ln -s nowhere new/sub/symbolic-2
touch -h -d 2002-02-02 new/sub/symbolic-2
truncate -s 5 shortened
mv renamed new/sub/renamed
chmod 600 new/touched
mkfifo new/fifo
rm removed
python3 -c '
import mmap
with open("mapped", "r+b") as file:
    mmap.mmap(file.fileno(), 0)[0] = 65
'
find . -printf '%P %T@\n' | LC_ALL=C sort
"""


def test_files_left_behind_carry_their_virtual_times(ns: Runner) -> None:
    """When all is over the host sees the times that the build has seen, also those of inputs that
    were written to. What was only read keeps its own time, and so may what was only renamed."""
    work = ns.directory()
    real = 1_700_000_000
    for name in ("input", "appended", "shortened", "renamed", "removed", "mapped"):
        path = work / name
        path.write_text("some text\n")
        os.chown(path, ns.account.uid, ns.account.gid)
        os.utime(path, (real, real))
    done = ns.exec("sh", "-c", LEAVE_FILES, cwd=work)
    assert done.code == 0, done
    inside = dict(line.rsplit(" ", 1) for line in done.text.splitlines())
    assert len(inside) >= 17

    def on_host(path: Path) -> str:
        nanoseconds = os.lstat(path).st_mtime_ns
        return f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09}0"

    assert inside["input"] == inside["new/kept"] == f"{EPOCH}.0000000000"
    assert on_host(work / "input") == f"{real}.0000000000"
    left = set(inside) - {"input", "new/sub/renamed"}
    host = {name: on_host(work / name) for name in left}
    assert host == {name: inside[name] for name in left}
    assert stat.S_ISFIFO(os.lstat(work / "new/fifo").st_mode)
