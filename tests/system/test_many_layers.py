"""More layers than one mount option can name: run, build, commit and look at what was changed."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from tests.system.capabilities import needs_tools
from tests.system.containerbox import ContainerBox, box
from tests.system.harness import Runner

__all__ = ["box"]

LAYERS = 120


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """A file of that name and content."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def layer(number: int) -> bytes:
    """A tar with one file that no other layer has, and one that all have."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        add(archive, f"f{number}", b"%d\n" % number)
        add(archive, "last", b"%d\n" % number)
    return out.getvalue()


def write_image(path: Path, first: Path, count: int) -> None:
    """An archive of Docker's with the tar `first` and `count` layers above it."""
    layers = [first.read_bytes(), *map(layer, range(count))]
    digests = [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in layers]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": digests},
    }
    names = [f"{number}.tar" for number in range(len(layers))]
    about = [{"Config": "config.json", "RepoTags": ["localhost/many:latest"], "Layers": names}]
    with tarfile.open(path, "w") as archive:
        add(archive, "manifest.json", json.dumps(about).encode())
        add(archive, "config.json", json.dumps(config).encode())
        for name, data in zip(names, layers, strict=True):
            add(archive, name, data)


@pytest.fixture
def many(box: ContainerBox) -> ContainerBox:
    """The box with the image `many` of so many layers above its own one."""
    needs_tools("skopeo")
    path = box.store.parent / "many.tar"
    write_image(path, box.store.parent / "image.tar", LAYERS)
    path.chmod(0o644)
    box.ok("load", "-q", "-i", str(path))
    return box


def test_run_commit_and_build(many: ContainerBox) -> None:
    box = many
    seen = f"cat /f0 /f{LAYERS - 1} /last; ls / | grep -c '^f[0-9]'"
    wanted = ["0", str(LAYERS - 1), str(LAYERS - 1), str(LAYERS)]
    box.ok("run", "--name", "one", "many", "sh", "-c", f"{seen}; echo new > /f7; rm /f8")
    assert box.ok("logs", "one").lines == wanted
    assert box.ok("diff", "one").lines == ["C /f7", "D /f8"]
    box.ok("commit", "-q", "one", "more")
    said = box.ok(
        "run", "--rm", "more", "sh", "-c", "cat /f7 /last; test -e /f8 || echo gone"
    ).lines
    assert said == ["new", str(LAYERS - 1), "gone"]
    context = box.ns.directory("context-")
    steps = ("FROM more", "RUN cat /f7 > /f9", "COPY Containerfile /last")
    (context / "Containerfile").write_text("\n".join(steps))
    (context / "Containerfile").chmod(0o644)
    box.ok("build", "-q", "-t", "built", str(context))
    assert box.ok("run", "--rm", "built", "cat", "/f9").text == "new\n"
    layers = json.loads(box.ok("image", "inspect", "built").text)[0]["RootFS"]["Layers"]
    assert len(layers) == 1 + LAYERS + 1 + 2


TOO_MANY = """\
import errno, os, sys, tempfile
from nsbuild.container import layers
from nsbuild.errors import NsbuildError
from nsbuild.kernel.asroot import as_root

def refuse(fstype, options, attributes=0):
    raise OSError(errno.EINVAL, "", "lowerdir+=3")

top = tempfile.mkdtemp()
names = [f"{top}/{number}" for number in range(int(sys.argv[1]))]
for name in names:
    os.mkdir(name)

def mount():
    layers.read_only_overlay(*(os.open(name, os.O_PATH) for name in names))

if sys.argv[2] == "old":
    layers.new_mount = refuse
try:
    as_root(mount, mounts=True)
except NsbuildError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("count", "kernel", "complaint"),
    [
        (500, "this", ""),
        (501, "this", "an overlay of 501 layers: overlayfs has 500 at most"),
        (200, "old", "an overlay of 200 layers: this kernel takes some sixty (Linux 6.8"),
        (40, "this", ""),
    ],
)
def test_what_cannot_be_is_said(ns: Runner, count: int, kernel: str, complaint: str) -> None:
    nsbuild = ns.command("x")
    python = [*nsbuild[: nsbuild.index("-m")], "-c", TOO_MANY, str(count), kernel]
    said = ns.outside(python).ok().text
    assert complaint in said
    assert said.count("\n") == bool(complaint)
