"""nsbuild and Podman with image stores of their own, as one account."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.system.harness import Outcome, Runner
from tests.system.registry import rootfs_tarball

TIMEOUT = 120
SMALL = ("-c", 'CMD ["/bin/sh"]', "-c", "ENV A=1", "-c", "LABEL kind=small", "-m", "hello")
"""What is changed in the config of the image `small`."""


class ImageBox:
    """nsbuild on a fresh store, run as the runner's account in a directory of its own."""

    def __init__(self, ns: Runner) -> None:
        self.ns = ns
        self.work = ns.directory("images-")
        self.store = self.work / "store"

    def command(self, *arguments: str) -> list[str]:
        """The command line."""
        return self.ns.command(*arguments)

    def environment(self) -> dict[str, str]:
        """Its environment."""
        return {**self.ns.environment(), "NSBUILD_STORE": str(self.store)}

    def run(self, *arguments: str, stdin: bytes = b"") -> Outcome:
        """Run nsbuild to its end."""
        environment = {"NSBUILD_STORE": str(self.store)}
        return self.ns.outside(self.command(*arguments), stdin, environment, self.work, TIMEOUT)

    def ok(self, *arguments: str, stdin: bytes = b"") -> str:
        """What it prints; fails unless it succeeds and complains about nothing."""
        return self.run(*arguments, stdin=stdin).ok().text

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start it, and do not wait."""
        return subprocess.Popen(
            self.command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self.environment(),
            cwd=self.work,
        )

    def small(self) -> str:
        """The id of an image localhost/small:1 that it makes of a root file system."""
        path = self.give(rootfs_tarball(self.work / "rootfs.tar"))
        made = self.ok("import", "-q", *SMALL, path, "small:1")
        return made.strip().removeprefix("sha256:")

    def inspect(self, name: str) -> dict[str, Any]:
        """What `image inspect` shows."""
        found: list[dict[str, Any]] = json.loads(self.ok("image", "inspect", name))
        return found[0]

    def names(self) -> set[str]:
        """The names of all images."""
        lines = self.ok("images", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
        return set(lines)

    def give(self, path: Path) -> str:
        """Make a file of ours the account's; its path."""
        os.chown(path, self.ns.account.uid, self.ns.account.gid)
        return str(path)

    def leftovers(self) -> set[str]:
        """See the function."""
        return leftovers(self.store)


def leftovers(store: Path) -> set[str]:
    """What lies in a store that no image needs (seen by root, or by the account itself)."""
    index = json.loads((store / "index.json").read_text())
    blobs, trees = set(), set()
    for one in index["manifests"]:
        manifest_name = one["digest"].removeprefix("sha256:")
        manifest = json.loads((store / "blobs/sha256" / manifest_name).read_text())
        config_name = manifest["config"]["digest"].removeprefix("sha256:")
        config = json.loads((store / "blobs/sha256" / config_name).read_text())
        blobs |= {manifest_name, config_name}
        blobs |= {layer["digest"].removeprefix("sha256:") for layer in manifest["layers"]}
        trees |= {one.removeprefix("sha256:") for one in config["rootfs"]["diff_ids"]}
    found = set(os.listdir(store / "tmp"))
    found |= set(os.listdir(store / "blobs/sha256")) - blobs
    found |= set(os.listdir(store / "layers")) - trees
    return found


class Podman:
    """Debian's podman on a fresh store of its own, run by root."""

    def __init__(self, directory: Path) -> None:
        self._options = (
            *("--root", str(directory / "root"), "--runroot", str(directory / "run")),
            *("--storage-driver", "vfs", "--log-level", "error"),
        )

    def ok(self, *arguments: str) -> str:
        """What it prints on stdout; fails unless it succeeds."""
        done = self.run(*arguments)
        assert done.code == 0, done
        return done.text

    def run(self, *arguments: str) -> Outcome:
        """Run it to its end."""
        done = subprocess.run(
            ["podman", *self._options, *arguments],
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)
