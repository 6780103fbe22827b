"""Containers and their store under kill -9 at any moment of `commit`, `rm` and `run --rm`."""

from __future__ import annotations

import os
import random
import subprocess
import time

import pytest

from tests.system.containerbox import IMAGE, ContainerBox, box
from tests.system.imagebox import leftovers

__all__ = ["box"]

KILLS = 12
FILL = "mkdir /made; for i in $(seq 300); do echo $i > /made/$i; done"
"""Enough files for a kill to come while they are packed or removed."""


def start(box: ContainerBox, *words: str) -> subprocess.Popen[bytes]:
    """`nsbuild WORDS`, not waited for."""
    return subprocess.Popen(
        box.ns.command(*words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=box.ns.environment() | box.environment(),
        cwd=box.ns.directory(),
    )


def kill_at(box: ContainerBox, moment: float, *words: str) -> bool:
    """Start it and kill it after `moment` seconds; whether it was still there."""
    process = start(box, *words)
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        # setpriv(1), which makes us a user, becomes nsbuild itself: the number is the same.
        process.kill()
        process.wait()
        return True
    return False


def took(box: ContainerBox, *words: str) -> float:
    """Seconds that it needs when nobody kills it."""
    begin = time.monotonic()
    box.ok(*words)
    return time.monotonic() - begin


def containers(box: ContainerBox) -> set[str]:
    """The names of all of them."""
    return set(box.ok("ps", "-a", "--format", "{{.Names}}").lines)


def check_swept(box: ContainerBox) -> None:
    """`prune`, and `rm` of what runs, leave nothing of containers, and the image can go."""
    box.ok("container", "prune", "-f")
    assert set(box.ok("ps", "-a", "--format", "{{.State}}").lines) <= {"running"}
    box.ok("rm", "-fa")
    assert containers(box) == set()
    assert box.left() == []
    assert os.listdir(box.store / "pins") == []
    box.ok("image", "verify")
    box.ok("tag", IMAGE, "again")
    assert leftovers(box.store) == set()
    box.ok("rmi", IMAGE, "again")


@pytest.mark.slow
def test_commit_killed_at_any_moment(box: ContainerBox) -> None:
    """Until it succeeds the image is not there; then it is whole, and the same as any other."""
    box.ok("run", "--name", "filled", IMAGE, "sh", "-c", FILL)
    span = took(box, "commit", "filled", "made")
    wanted = box.ok("image", "inspect", "--format", "{{.Id}}", "made").text
    changes = box.ok("diff", "filled").text
    chance = random.Random("commit")
    killed = 0
    for _ in range(KILLS):
        box.ok("rmi", "-i", "made")
        killed += kill_at(box, chance.uniform(0.02, span), "commit", "filled", "made")
        box.ok("image", "verify")
        found = box("image", "inspect", "--format", "{{.Id}}", "made")
        assert found.code or found.text == wanted
        assert box.ok("diff", "filled").text == changes
        assert len(box.ok("images", "-q").lines) == (1 if found.code else 2)
    assert killed, "nothing was killed in time"
    box.ok("commit", "filled", "made")
    assert box.ok("image", "inspect", "--format", "{{.Id}}", "made").text == wanted
    box.ok("rmi", "made")
    check_swept(box)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["rm", "rm -f", "run --rm", "run -d --rm"])
def test_killed_at_any_moment(box: ContainerBox, verb: str) -> None:
    """What is left can be listed and removed, and the image outlives it all."""
    waits = "mkfifo /wait; echo ready; read x < /wait"
    run = ("run", "--name", "one", IMAGE, "sh", "-c", FILL)
    make, command = {
        "rm": (run, ("rm", "one")),
        "rm -f": (("run", "-d", "--name", "one", IMAGE, "sh", "-c", waits), ("rm", "-f", "one")),
        "run --rm": ((), (*run[:1], "--rm", *run[1:])),
        "run -d --rm": ((), (*run[:1], "-d", "--rm", *run[1:])),
    }[verb]
    if make:
        box.ok(*make)
    span = took(box, *command) * 1.1
    chance = random.Random(verb)
    killed = 0
    for _ in range(KILLS):
        box.ok("rm", "-fi", "one")
        if make:
            box.ok(*make)
        killed += kill_at(box, chance.uniform(0.02, span), *command)
        box.ok("image", "verify")
        assert IMAGE in box.ok("images", "--format", "{{.Repository}}:{{.Tag}}").lines
        assert containers(box) <= {"one"}
    assert killed, "nothing was killed in time"
    check_swept(box)


@pytest.mark.parametrize("moment", ["unpin", "remove"])
def test_a_removal_that_is_cut_short(box: ContainerBox, moment: str) -> None:
    """Killed before either of the last two steps, it can be done again, and no pin stays."""
    box.ok("create", "--name", "one", IMAGE, "true")
    what = {"unpin": "nsbuild.images.store.Store", "remove": "nsbuild.container.records.Records"}
    script = (
        f"import os, signal, {what[moment].rpartition('.')[0]}\n"
        f"{what[moment]}.{moment} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from nsbuild.cli import rm; rm.main(['one'])"
    )
    nsbuild = box.ns.command("x")
    python = [*nsbuild[: nsbuild.index("-m")], "-c", script]
    assert box.ns.outside(python, env=box.environment()).code == 128 + 9
    box.ok("rm", "one")
    check_swept(box)


def test_force_meets_a_container_that_is_about_to_run(box: ContainerBox) -> None:
    """What is on record as created may run by the time that it is to go."""
    for _ in range(4):
        words = ("run", "-d", "--rm", "--name", "one", IMAGE, "cat")
        process = start(box, words[0], "-i", *words[1:])
        box.until(lambda: containers(box) == {"one"})
        box.ok("rm", "-f", "one")
        process.wait(60)
    check_swept(box)


def test_many_remove_one(box: ContainerBox) -> None:
    """Nobody sees anything but a container that is there, or that is not."""
    for _ in range(3):
        box.ok("run", "--name", "one", IMAGE, "sh", "-c", FILL)
        words = box.ns.command("rm", "one")
        environment = box.ns.environment() | box.environment()
        started = [
            subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
            for _ in range(4)
        ]
        said = [process.communicate(timeout=60)[1] for process in started]
        assert 0 in {process.returncode for process in started}
        assert {text for text in said if b"no such container" not in text} == {b""}
    check_swept(box)
