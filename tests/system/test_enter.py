"""Commands let into a container that runs: its namespaces, its supervisor, clocks of their own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

from tests.system.containerbox import IMAGE, ContainerBox, box
from tests.system.harness import burn_pids, load, next_second
from tests.system.leftovers import children

__all__ = ["box"]

PROBE = """\
date; date; echo $$; od -An -N8 -tx1 /dev/urandom; (echo child; date; od -An -N4 -tx1 /dev/urandom)
echo x > /made; stat -c '%n %i %Y' /made /etc; sh -c 'echo $PPID'; uname -a; hostname
"""


def test_each_repeats_and_none_is_another(box: ContainerBox) -> None:
    seen = []
    for busy in (False, True):
        box.waiting("--name=c", "--replace")
        if busy:
            burn_pids()
            next_second(time.time())
            with load():
                seen.append([box.ok("exec", "c", "sh", "-c", PROBE).text for _ in range(2)])
        else:
            seen.append([box.ok("exec", "c", "sh", "-c", PROBE).text for _ in range(2)])
    assert seen[0] == seen[1]
    first, second = (text.splitlines() for text in seen[0])
    assert first[:2] == ["Tue Dec 22 15:26:18 UTC 2015", "Tue Dec 22 15:26:19 UTC 2015"]
    assert second[0] > max(first[1], first[5]), "the second came before the first had ended"
    assert first[2] != second[2], "the same process number"
    assert first[3] != second[3], "the same random bytes"
    plain = [box.ns.bare("sh", "-c", "date +%N; echo $$").text for _ in range(2)]
    assert plain[0] != plain[1]


def test_who_comes_later_writes_later(box: ContainerBox) -> None:
    """What a command does is no older than what one did that had ended before it came."""
    box.waiting("--name=c")
    wait = "for i in 1 2 3 4 5 6 7 8 9; do date; done"
    box.ok("exec", "c", "sh", "-c", f"echo a > /source; ({wait}); (sleep 100); echo b > /object")
    box.ok("exec", "c", "sh", "-c", "echo c >> /source")
    compare = "[ /source -nt /object ] && echo to be made; stat -c %Y /source /object; date +%s"
    seen = box.ok("exec", "c", "sh", "-c", compare).lines
    assert seen[0] == "to be made"
    assert int(seen[2]) < int(seen[1]) < int(seen[3])


def test_it_sees_the_container(box: ContainerBox) -> None:
    box.waiting("--name=c", "-h", "inside", "-e", "A=b", "-w", "/home", first="echo x > /there")
    script = "cat /there; hostname; echo $A; pwd; id -u; kill -0 2 && echo alive"
    lines = box.ok("exec", "c", "sh", "-c", script).lines
    assert lines == ["x", "inside", "b", "/home", "0", "alive"]
    options = ["-e", "A=c", "-w", "/etc", "-u", "somebody"]
    lines = box.ok("exec", *options, "c", "sh", "-c", "echo $A; pwd; id -un").lines
    assert lines == ["c", "/etc", "somebody"]
    box.ok("exec", "c", "touch", "/new")
    assert "A /new" in box.ok("diff", "c").lines


def test_one_supervisor_and_one_filter(box: ContainerBox) -> None:
    box.waiting("--name=c")
    front = int(box.ok("inspect", "--format={{.State.Pid}}", "c").text)
    assert len(children(front)) == 1
    status = box.ok("exec", "c", "grep", "-E", "Seccomp:|CapBnd", "/proc/self/status").lines
    assert status == ["CapBnd:\t00000000800405fb", "Seccomp:\t2"]
    held = subprocess.Popen(
        box.ns.command("exec", "-i", "c", "cat"),
        env=box.ns.environment() | box.environment(),
        cwd=box.ns.directory(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        box.until(lambda: "cat" in box.ok("top", "c").text)
        assert len(children(front)) == 1
    finally:
        held.communicate(timeout=20)
    assert held.returncode == 0


def test_exit_codes_and_errors(box: ContainerBox) -> None:
    box.waiting("--name=c")
    assert box("exec", "c", "sh", "-c", "exit 7").code == 7
    assert box("exec", "c", "sh", "-c", "kill -9 $$").code == 137
    assert box("exec", "c", "nosuch").code == 127
    assert box("exec", "c", "/etc").code == 126
    assert box("exec", "-w", "/nosuch", "c", "true").code == 125
    seen = box("exec", "-u", "nosuch", "c", "true")
    assert (seen.code, b"no user 'nosuch'" in seen.stderr) == (125, True)
    seen = box("exec", "--seed=3", "c", "true")
    assert b"--seed cannot be given for the container c, which runs already" in seen.stderr
    assert box.ok("exec", "c", "echo", "still there").text == "still there\n"
    seen = box("exec", "nosuch", "true")
    wanted = b'Error: no container with name or ID "nosuch" found: no such container (nor is there '
    assert seen.stderr == wanted + b"a directory nosuch; TARGET / is the host's own root)\n"
    # Whoever has forgotten TARGET is not told about a container that runs.
    assert box("exec", "--epoch=2020-01-01", "nosuch", "-c", "true").stderr == seen.stderr
    box.ok("kill", "c")
    box.ok("wait", "c")
    assert box("exec", "c", "true").code == 255


def test_standard_files(box: ContainerBox) -> None:
    box.waiting("--name=c")
    data = os.urandom(1 << 20)
    assert box.ok("exec", "-i", "c", "cat", stdin=data).stdout == data
    assert box.ok("exec", "c", "cat", stdin=b"lost").stdout == b""
    seen = box("exec", "c", "sh", "-c", "echo out; echo err >&2")
    assert (seen.stdout, seen.stderr) == (b"out\n", b"err\n")
    said = box.ok("exec", "-d", "c", "sh", "-c", "echo done > /done")
    assert re.fullmatch("[0-9a-f]{64}\n", said.text)
    box.until(lambda: box("exec", "c", "cat", "/done").stdout == b"done\n")


def _client(box: ContainerBox, script: str) -> subprocess.Popen[bytes]:
    """`nsbuild exec` of a shell in the container c, while it runs."""
    return subprocess.Popen(
        box.ns.command("exec", "c", "sh", "-c", script),
        env=box.ns.environment() | box.environment(),
        cwd=box.ns.directory(),
        stdout=subprocess.PIPE,
    )


def test_signals_are_passed_on(box: ContainerBox) -> None:
    box.waiting("--name=c")
    script = "trap 'echo got; exit 4' TERM; echo ready; read x < /wait"
    with _client(box, script) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"ready\n"
        client.send_signal(signal.SIGTERM)
        assert client.stdout.read() == b"got\n"
        assert client.wait(timeout=20) == 4


def test_the_end_of_the_container_ends_it(box: ContainerBox) -> None:
    box.waiting("--name=c")
    with _client(box, "echo ready; read x < /wait") as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"ready\n"
        box.ok("kill", "c")
        assert client.wait(timeout=20) == 137


def test_time_passes_at_once_for_it_too(box: ContainerBox) -> None:
    box.waiting("--name=c")
    start = time.monotonic()
    lines = box.ok("exec", "c", "sh", "-c", "date +%s; sleep 3600 & wait; date +%s").lines
    assert int(lines[1]) - int(lines[0]) > 3600
    assert time.monotonic() - start < 60


def test_many_at_once(box: ContainerBox) -> None:
    box.waiting("--name=c")
    script = "for i in 1 2 3 4 5; do (date; od -N4 /dev/urandom) > /dev/null; done; echo $$"
    running = [
        subprocess.Popen(
            box.ns.command("exec", "c", "sh", "-c", script),
            env=box.ns.environment() | box.environment(),
            cwd=box.ns.directory(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(8)
    ]
    seen = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0] * 8
    assert {errors for _, errors in seen} == {b""}
    assert len({output for output, _ in seen}) == 8, "two have one number"


def test_attach(box: ContainerBox) -> None:
    script = "echo ready; while read line; do echo got $line; done; exit 3"
    box.ok("run", "-d", "-i", "--name=c", IMAGE, "sh", "-c", script)
    seen = box("attach", "c", stdin=b"one\ntwo\n")
    assert seen.code == 3
    assert seen.text.removeprefix("ready\n") == "got one\ngot two\n"
    assert box.ok("logs", "c").lines == ["ready", "got one", "got two"]
    seen = box("attach", "c")
    assert seen.stderr == b"Error: you can only attach to running containers\n"


def test_a_directory_is_still_a_directory(box: ContainerBox) -> None:
    directory = box.ns.directory()
    for name in ("proc", "sys", "dev", "tmp", "run"):
        (directory / name).mkdir()
    seen = box("exec", str(directory), "nosuch")
    assert seen.code == 127
    seen = box("exec", "-d", "/", "true")
    assert b"--detach is for a container that runs" in seen.stderr
    assert Path(directory).is_dir()
