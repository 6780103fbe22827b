"""Images from and to registries, archives and Podman, as root and as an ordinary user."""

from __future__ import annotations

import base64
import bz2
import gzip
import hashlib
import json
import lzma
import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.capabilities import needs_tools
from tests.system.harness import Runner
from tests.system.imagebox import SMALL, ImageBox
from tests.system.registry import PASSWORD, USER, registry, rootfs_tarball
from tests.system.terminal import Terminal

FORMATS = ("docker-archive", "oci-archive", "oci-dir", "docker-dir")


@pytest.fixture
def box(ns: Runner) -> ImageBox:
    needs_tools("skopeo", "busybox")
    return ImageBox(ns)


@pytest.fixture
def image(box: ImageBox) -> str:
    """The id of an image localhost/small:1 made of a root file system."""
    return box.small()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """HOST:PORT of a registry."""
    needs_tools("docker-registry")
    with registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="module")
def guarded_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """HOST:PORT of a registry that serves USER alone."""
    needs_tools("docker-registry")
    with registry(tmp_path_factory.mktemp("guarded"), guarded=True) as address:
        yield address


def test_an_image_is_the_same_for_root_and_a_user(
    root: Runner, user: Runner, tmp_path: Path
) -> None:
    needs_tools("skopeo", "busybox")
    digests = []
    for runner in (root, user):
        box = ImageBox(runner)
        path = box.give(rootfs_tarball(box.work / f"{runner.account.name}.tar"))
        box.ok("import", "-q", "-c", "CMD sh", "-m", "hello", path, "small")
        digests.append(box.inspect("small")["Digest"])
        box.ok("save", "-o", "saved.tar", "small")
        digests.append(hashlib.sha256((box.work / "saved.tar").read_bytes()).hexdigest())
    assert digests[:2] == digests[2:]


def test_owners_and_links_of_a_layer(box: ImageBox, image: str) -> None:
    """Seen from outside: root's own numbers, or those that the user namespace gives them."""
    shown = box.inspect(image)
    tree = Path(shown["GraphDriver"]["Data"]["LowerDir"])
    own = (tree / "home/user/own").lstat()
    assert stat.S_IMODE(own.st_mode) == 0o4750
    assert own.st_mtime == 1_000_000_000
    assert (tree / "bin/sh").lstat().st_ino == (tree / "bin/busybox").lstat().st_ino
    assert os.readlink(tree / "bin/link") == "/bin/busybox"
    if box.ns.is_root:
        assert (own.st_uid, own.st_gid) == (1000, 1000)
    else:
        lines = Path("/etc/subuid").read_text().splitlines()
        first = next(int(one.split(":")[1]) for one in lines if one.startswith(box.ns.account.name))
        assert own.st_uid == first + 999
        assert (tree / "bin/busybox").lstat().st_uid == box.ns.account.uid


@pytest.mark.parametrize("form", FORMATS)
def test_saved_and_loaded(box: ImageBox, image: str, form: str) -> None:
    box.ok("save", "-q", "--format", form, "-o", "saved", "small:1")
    box.ok("rmi", "small:1")
    assert box.names() == set()
    loaded = box.ok("load", "-q", "-i", "saved")
    named = form != "docker-dir"
    assert loaded == f"Loaded image: {'localhost/small:1' if named else f'sha256:{image}'}\n"
    assert box.inspect(image)["Id"] == image
    assert box.ok("image", "verify") == f"{image}\n"
    assert box.leftovers() == set()


def test_archives_have_no_times(box: ImageBox, image: str) -> None:
    for form in FORMATS[:2]:
        for name in ("first", "second"):
            box.ok("save", "--format", form, "-o", name, "small:1")
        assert (box.work / "first").read_bytes() == (box.work / "second").read_bytes()
        with tarfile.open(box.work / "first") as archive:
            assert {(member.mtime, member.uid) for member in archive} == {(0, 0)}


def test_several_images_in_one_archive(box: ImageBox, image: str) -> None:
    path = box.give(rootfs_tarball(box.work / "other.tar", filler=3))
    other = box.ok("import", "-q", path, "other").strip().removeprefix("sha256:")
    for form in FORMATS[:2]:
        box.ok("save", "-m", "--format", form, "-o", "both", "small:1", "other")
        box.ok("rmi", "-a")
        assert sorted(box.ok("load", "-q", "-i", "both").splitlines()) == [
            "Loaded image: localhost/other:latest",
            "Loaded image: localhost/small:1",
        ]
        assert (box.inspect("small:1")["Id"], box.inspect("other")["Id"]) == (image, other)


def test_stdin_and_stdout(box: ImageBox, image: str) -> None:
    saved = box.run("save", "small:1").stdout
    box.ok("rmi", "-f", image)
    assert box.ok("load", "-q", stdin=saved) == "Loaded image: localhost/small:1\n"
    tarball = (box.work / "rootfs.tar").read_bytes()
    assert box.ok("import", "-q", "-", "again", stdin=tarball).startswith("sha256:")


def test_pushed_and_pulled(box: ImageBox, image: str, shop: str) -> None:
    name = f"{shop}/{box.ns.account.name}/small:2"
    insecure = "--tls-verify=false"
    box.ok("push", "-q", insecure, "--digestfile", "digest", "small:1", name)
    digest = (box.work / "digest").read_text()
    box.ok("rmi", "-a")
    assert box.ok("pull", "-q", insecure, name) == f"{image}\n"
    shown = box.inspect(name)
    assert (shown["Id"], shown["Digest"], shown["RepoTags"]) == (image, digest, [name])
    assert box.ok("image", "verify", name) == f"{image}\n"
    by_digest = f"{name.rpartition(':')[0]}@{digest}"
    assert box.ok("pull", "-q", insecure, by_digest) == f"{image}\n"
    assert box.inspect(by_digest)["Id"] == image
    box.ok("rmi", "-a")
    other = "sha256:" + "0" * 64
    failed = box.run("pull", "-q", insecure, f"{name.rpartition(':')[0]}@{other}")
    assert (failed.code, failed.stdout) == (125, b"")
    assert failed.stderr.startswith(b"Error: ")
    assert b"manifest unknown" in failed.stderr
    assert box.leftovers() == set()


def test_pull_says_what_it_does(box: ImageBox, image: str, shop: str) -> None:
    name = f"{shop}/{box.ns.account.name}/said"
    box.ok("push", "-q", "--tls-verify=false", "small:1", name)
    done = box.run("pull", "--tls-verify=false", name)
    lines = done.stderr.decode().splitlines()
    assert (done.code, done.text) == (0, f"{image}\n")
    assert lines[0] == f"Trying to pull {name}:latest..."
    assert any(line.startswith("Copying blob sha256:") for line in lines)
    assert "\x1b" not in done.stderr.decode()


def test_a_registry_that_wants_to_know_who_it_is(
    box: ImageBox, image: str, guarded_shop: str
) -> None:
    name = f"{guarded_shop}/{box.ns.account.name}/small:3"
    insecure, creds = "--tls-verify=false", f"{USER}:{PASSWORD}"
    for refused in ((), ("--creds", f"{USER}:wrong")):
        failed = box.run("push", "-q", insecure, *refused, "small:1", name)
        assert (failed.code, failed.stdout) == (125, b"")
        assert b"unauthorized: authentication required" in failed.stderr
    box.ok("push", "-q", insecure, "--creds", creds, "small:1", name)
    box.ok("rmi", "-a")
    assert box.run("pull", "-q", insecure, name).code == 125
    assert box.ok("pull", "-q", insecure, "--creds", creds, name) == f"{image}\n"
    box.ok("rmi", "-a")
    auths = {guarded_shop: {"auth": base64.b64encode(creds.encode()).decode()}}
    authfile = box.work / "auth.json"
    authfile.write_text(json.dumps({"auths": auths}))
    authfile.chmod(0o644)
    told = ("--authfile", str(authfile))
    assert box.ok("pull", "-q", insecure, *told, name) == f"{image}\n"
    box.ok("rmi", "-a")
    ran = box.run("run", "-q", "--rm", insecure, *told, name, "/bin/sh", "-c", "echo it")
    assert (ran.code, ran.text) == (0, "it\n")


def test_a_password_is_asked_for(box: ImageBox, image: str, guarded_shop: str) -> None:
    name = f"{guarded_shop}/{box.ns.account.name}/small:4"
    push = ("push", "-q", "--tls-verify=false", "--creds", USER, "small:1", name)
    failed = box.run(*push)
    assert (failed.code, len(failed.stderr.splitlines())) == (125, 1)
    assert b"has no password" in failed.stderr
    with Terminal(box.command(*push), box.environment(), str(box.work)) as terminal:
        terminal.expect("Password: ")
        terminal.send(f"{PASSWORD}\n")
        assert terminal.wait() == 0
    assert PASSWORD.encode() not in terminal.seen


def test_nobody_is_asked_who_has_the_image(box: ImageBox, image: str) -> None:
    """But a file that is named must be there, as for Podman."""
    (box.work / "Containerfile").write_text("FROM small:1\nLABEL a=b\n")
    box.ok("build", "-q", "--creds", USER, "-f", str(box.work / "Containerfile"), ".")
    failed = box.run("run", "--rm", "--authfile", "nothing", "small:1", "/bin/sh", "-c", ":")
    assert failed.code == 125
    assert b"checking authfile: stat nothing: no such file" in failed.stderr


def test_a_registry_that_is_not_there(box: ImageBox) -> None:
    failed = box.run("pull", "-q", "--tls-verify=false", "127.0.0.1:1/nothing")
    assert failed.code == 125
    assert b"connection refused" in failed.stderr
    assert len(failed.stderr.splitlines()) == 1


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_packed_tarballs_are_the_same_image(
    box: ImageBox, image: str, pack: Callable[[bytes], bytes]
) -> None:
    (box.work / "packed").write_bytes(pack((box.work / "rootfs.tar").read_bytes()))
    box.give(box.work / "packed")
    assert box.ok("import", "-q", *SMALL, "packed", "packed") == f"sha256:{image}\n"


def test_a_hostile_tarball_leaves_nothing(box: ImageBox) -> None:
    with tarfile.open(box.work / "bad.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("../../../escaped"))
    failed = box.run("import", "-q", "bad.tar", "bad")
    assert failed.code == 125
    assert b"leads out of it" in failed.stderr
    assert len(failed.stderr.splitlines()) == 1
    assert box.names() == set()
    box.ok("image", "prune", "-f")
    assert not list(box.work.glob("**/escaped"))


@pytest.mark.parametrize("known", [True, False])
def test_a_promise_that_is_not_kept_is_refused(box: ImageBox, image: str, known: bool) -> None:
    """Also of a layer that the store has: the manifest that promises it would be kept."""
    box.ok("save", "-q", "--format=docker-dir", "-o", "small", image)
    if not known:
        box.ok("rmi", "-f", image)
    path = box.work / "small/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["layers"][0]["size"] += 512
    path.write_text(json.dumps(manifest))
    failed = box.run("load", "-q", "-i", "small")
    assert failed.code == 125
    assert len(failed.stderr.splitlines()) == 1
    assert bool(box.names()) == known
    assert box.leftovers() == set()


def test_damage_is_seen(box: ImageBox, image: str) -> None:
    shown = box.inspect(image)
    layer = shown["RootFS"]["Layers"][0].removeprefix("sha256:")
    blob = box.store / "blobs/sha256" / layer
    tree = Path(shown["GraphDriver"]["Data"]["LowerDir"])
    (tree / "etc/more").write_text("more")
    failed = box.run("image", "verify", image)
    assert failed.code == 1
    assert f"are not those of layer sha256:{layer}" in failed.stderr.decode()
    (tree / "etc/more").unlink()
    os.utime(tree / "etc", ns=(10**18, 10**18))
    box.ok("image", "verify", image)
    data = bytearray(blob.read_bytes())
    data[5000] ^= 1
    blob.write_bytes(data)
    assert box.run("image", "verify", image).code == 1
    for form in FORMATS:
        failed = box.run("save", "-q", "-o", form, "--format", form, image)
        assert failed.code == 125
        assert layer in failed.stderr.decode()
        assert not (box.work / form).exists()
    config = box.store / "blobs/sha256" / image
    config.write_bytes(config.read_bytes().replace(b"amd64", b"arm64"))
    listed = box.run("images", "-q")
    assert (listed.code, listed.stdout) == (0, b"")
    assert f"blob sha256:{image}" in listed.complaint
    assert "is damaged" in listed.complaint
    assert box.run("rmi", "small:1").code == 125
    box.ok("rmi", "-f", "small:1")
    assert box.ok("images", "-q") == ""
    assert box.leftovers() == set()
