"""Debian's Podman and nsbuild: each loads what the other saves, and they answer alike."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.capabilities import needs_tools
from tests.system.harness import Outcome, Runner
from tests.system.imagebox import ImageBox, Podman
from tests.system.registry import rootfs_tarball

FORMATS = ("docker-archive", "oci-archive", "oci-dir", "docker-dir")


@pytest.fixture
def box(root: Runner) -> ImageBox:
    """An archive does not depend on who makes it, so root's is enough (see test_images)."""
    needs_tools("skopeo", "busybox")
    return ImageBox(root)


@pytest.fixture
def podman() -> Iterator[Podman]:
    """Podman with an empty store."""
    needs_tools("podman")
    # Podman takes no paths of more than 50 characters.
    with tempfile.TemporaryDirectory(prefix="nsbuild-", dir="/var/tmp") as directory:
        yield Podman(Path(directory))


@pytest.mark.parametrize("form", FORMATS[:2])
def test_podman_loads_what_we_save(box: ImageBox, podman: Podman, form: str) -> None:
    box.small()
    box.ok("save", "--format", form, "-o", "saved", "small:1")
    assert "localhost/small:1" in podman.ok("load", "-q", "-i", str(box.work / "saved"))
    theirs = json.loads(podman.ok("image", "inspect", "localhost/small:1"))[0]
    ours = box.inspect("small:1")
    for field in ("Id", "Config", "Architecture", "Os", "RootFS", "Created", "RepoTags", "Labels"):
        assert theirs[field] == ours[field], field


@pytest.mark.parametrize("form", FORMATS)
def test_we_load_what_podman_saves(
    box: ImageBox, podman: Podman, form: str, tmp_path: Path
) -> None:
    tarball = rootfs_tarball(tmp_path / "rootfs.tar")
    podman.ok("import", "-q", "-c", "CMD=/bin/sh", str(tarball), "theirs:3")
    podman.ok("save", "-q", "--format", form, "-o", str(box.work / "saved"), "theirs:3")
    theirs = json.loads(podman.ok("image", "inspect", "theirs:3"))[0]
    box.ok("load", "-q", "-i", "saved")
    ours = box.inspect(theirs["Id"])
    for field in ("Id", "Config", "Architecture", "Os", "RootFS", "Created"):
        assert ours[field] == theirs[field], field
    box.ok("image", "verify")


SESSION = """\
load -q -i ARCHIVE
images
images --noheading
images -q
images -q --no-trunc
images small
images small:1
images nothing
images --format {{.ID}}|{{.Repository}}|{{.Tag}}|{{.Names}}|{{.CreatedSince}}
images --format "table {{.Repository}}\\t{{.Tag}}"
images --filter dangling=true
images --filter label=kind=small --format {{.Tag}}
images --filter label=kind=big --format {{.Tag}}
images --filter reference=*small* --format {{.Tag}}
images --filter label!=kind=big --format {{.Tag}}
images --filter nonsense
image exists small:1
image exists nothing
image ls -q
tag small:1 other quay.io/x/y:2
tag nothing other
tag small:1
images --sort repository --format {{.Repository}}:{{.Tag}}
inspect --format {{.Id}} small:1
inspect --format {{.Config.Cmd}} small:1
inspect --format "{{json .Config.Env}} {{len .RepoTags}}" small:1
inspect --format "{{range .RepoTags}}<{{.}}>{{end}}" other
inspect --format "{{if .Labels}}{{.Labels.kind}}{{else}}none{{end}}" other
image inspect --format "{{.Architecture}}/{{.Os}}" other
image inspect -f {{.RootFS.Type}} other
inspect nothing
image inspect nothing
history small:1
history -q small:1
history --no-trunc --format {{.CreatedBy}} small:1
history nothing
save nothing
push nothing
untag other quay.io/x/y:2
untag other localhost/never:1
untag nothing
rmi nothing
rmi
rmi -i nothing
rmi small:1
images --format {{.Repository}}:{{.Tag}}
untag other
images
image prune -f
images -q
load -i /nothing/here
"""

_SIZE = re.compile(r"\b\d+(\.\d+)? [kM]?B\b")


def _compared(outcome: Outcome) -> tuple[int, str, str]:
    """What has to be the same: exit code, stdout without sizes, and the last complaint."""
    lines = outcome.stderr.decode().splitlines()
    said = _SIZE.sub("SIZE", re.sub(r" +$", "", outcome.text, flags=re.MULTILINE))
    return outcome.code, re.sub(r" +", " ", said), lines[-1] if outcome.code and lines else ""


def test_a_session(box: ImageBox, podman: Podman) -> None:
    """The same commands give the same answers; the archive is ours, so ids and times are too."""
    import shlex

    box.small()
    box.ok("save", "-o", "archive", "small:1")
    box.ok("rmi", "small:1")
    different = []
    for line in SESSION.splitlines():
        words = shlex.split(line.replace("ARCHIVE", str(box.work / "archive")))
        theirs, ours = _compared(podman.run(*words)), _compared(box.run(*words))
        if theirs != ours:
            different.append(f"{line}\n  podman:  {theirs}\n  nsbuild: {ours}")
    assert not different, "\n".join(different)
