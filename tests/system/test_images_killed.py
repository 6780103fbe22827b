"""The store under kill -9 at any moment and under many hands at once: whole, and nothing lost."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.capabilities import needs_tools
from tests.system.harness import Runner
from tests.system.imagebox import ImageBox
from tests.system.registry import registry, rootfs_tarball

KILLS = 12
FILES = 400
"""In the layer that is being unpacked: enough for a kill to come in the middle."""


@pytest.fixture
def box(ns: Runner) -> ImageBox:
    """A store with an image `keep`, and the archive `big` and tarball `big.tar` of another."""
    needs_tools("skopeo", "busybox")
    box = ImageBox(ns)
    path = box.give(rootfs_tarball(box.work / "keep.tar"))
    box.ok("import", "-q", path, "keep")
    path = box.give(rootfs_tarball(box.work / "big.tar", filler=FILES))
    box.ok("import", "-q", path, "big")
    box.ok("save", "-o", "big", "big")
    box.ok("save", "--format=oci-archive", "-o", "big.oci", "big")
    return box


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    needs_tools("docker-registry")
    with registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


def took(box: ImageBox, *arguments: str) -> float:
    """Seconds that nsbuild needs for it when nobody kills it."""
    begin = time.monotonic()
    box.ok(*arguments)
    return time.monotonic() - begin


def kill_at(box: ImageBox, moment: float, *arguments: str) -> bool:
    """Start it and kill it after `moment` seconds; whether it was still there."""
    process = box.start(*arguments)
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        # setpriv(1), which makes us a user, becomes nsbuild itself: the number is the same.
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True
    return False


def check_whole(box: ImageBox) -> None:
    """Everything that is listed can be used, and `keep` is listed."""
    assert "localhost/keep:latest" in box.names()
    box.ok("image", "verify")


def spools() -> set[str]:
    """What skopeo by itself takes archives apart in, outside of any store."""
    return {name for name in os.listdir("/var/tmp") if name.startswith(("oci", "docker-tar"))}


def check_swept(box: ImageBox) -> None:
    """After one more change nothing is left of those who were killed."""
    box.ok("tag", "keep", "again")
    assert box.leftovers() == set()


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["load", "load-oci", "import", "pull", "rmi", "tag"])
def test_killed_at_any_moment(box: ImageBox, shop: str, verb: str) -> None:
    name = f"{shop}/{box.ns.account.name}/big"
    box.ok("push", "-q", "--tls-verify=false", "big", name)
    commands = {
        "load": ("load", "-q", "-i", "big"),
        "load-oci": ("load", "-q", "-i", "big.oci"),
        "import": ("import", "-q", "big.tar", "big"),
        "pull": ("pull", "-q", "--tls-verify=false", name),
        "rmi": ("rmi", "big"),
        "tag": ("tag", "keep", "other"),
    }
    begin_with = {"rmi": ("load", "-q", "-i", "big")}
    command = commands[verb]
    if verb != "rmi":
        box.ok("rmi", "-i", "big")
    span = took(box, *command)
    before = spools()
    chance = random.Random(verb)
    killed = 0
    for _ in range(KILLS):
        if verb == "rmi":
            box.ok(*begin_with["rmi"])
        else:
            box.ok("rmi", "-i", "big", name, "other")
        killed += kill_at(box, chance.uniform(0.02, span), *command)
        check_whole(box)
    assert killed, "nothing was killed in time"
    assert spools() == before
    check_swept(box)
    if verb != "rmi":
        box.ok(*command)
    box.ok("image", "verify")
    assert box.leftovers() == set()


def test_many_at_once(box: ImageBox, shop: str) -> None:
    """Pulls of one image, loads, imports and removals side by side.

    What is removed shares its layer with the others and is another image all the same: to remove an
    image by force takes all its names.
    """
    name = f"{shop}/{box.ns.account.name}/big"
    box.ok("push", "-q", "--tls-verify=false", "big", name)
    big = box.inspect("big")["Id"]
    box.ok("rmi", "big")
    started = [
        *(box.start("pull", "-q", "--tls-verify=false", name) for _ in range(4)),
        *(box.start("load", "-q", "-i", "big") for _ in range(2)),
        *(
            box.start(
                "import", "-q", "--change", f"LABEL made={number}", "big.tar", f"made{number}"
            )
            for number in range(2)
        ),
        *(box.start("rmi", "-f", "made0") for _ in range(2)),
    ]
    codes = [process.wait(120) for process in started]
    assert codes[:8] == [0] * 8
    assert set(codes[8:]) <= {0, 1}
    assert box.inspect(name)["Id"] == box.inspect("big")["Id"] == big
    check_whole(box)
    check_swept(box)


def test_a_tree_that_is_gone_is_made_again_by_one_of_many(box: ImageBox) -> None:
    """Ten processes want the layers of one image at once."""
    script = (
        "import sys; from nsbuild.images.store import Store; store = Store.default(); "
        "print(*store.unpacked(store.image('big')))"
    )
    trees = Path(box.inspect("big")["GraphDriver"]["Data"]["LowerDir"])
    aside = box.work / "aside"
    trees.parent.rename(aside)
    nsbuild = box.command("x")
    python = [*nsbuild[: nsbuild.index("-m")], "-c", script]
    started = [
        subprocess.Popen(
            python, stdout=subprocess.PIPE, env=box.environment(), cwd=box.work, text=True
        )
        for _ in range(10)
    ]
    said = {process.communicate(timeout=120)[0] for process in started}
    assert said == {f"{trees}\n"}
    assert len(os.listdir(trees / "home/user")) == FILES + 2
    check_whole(box)
    check_swept(box)


def test_an_image_that_a_container_needs_stays(box: ImageBox) -> None:
    pin = (
        "from nsbuild.images.store import Store; store = Store.default(); "
        "store.pin(store.image('big'), 'c' * 64)"
    )
    unpin = "from nsbuild.images.store import Store; Store.default().unpin('c' * 64)"
    nsbuild = box.command("x")
    python = nsbuild[: nsbuild.index("-m")]
    environment = {"NSBUILD_STORE": str(box.store)}
    box.ns.outside([*python, "-c", pin], env=environment).ok()
    failed = box.run("rmi", "big")
    assert failed.code == 2
    assert failed.stderr.startswith(b"Error: image used by " + b"c" * 64)
    box.ok("image", "prune", "-af")
    assert box.names() == {"localhost/big:latest"}
    assert json.loads(box.ok("images", "--format", "json"))[0]["Containers"] == 1
    box.ns.outside([*python, "-c", unpin], env=environment).ok()
    box.ok("rmi", "big")
    assert box.leftovers() == set()
