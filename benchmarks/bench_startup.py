"""Start-up: how long it takes to run /bin/true, bare and in the containers of several tools."""

from __future__ import annotations

import compileall
import resource
import shutil
import statistics
import subprocess
import tarfile
from pathlib import Path

from benchmarks.common import (
    CACHE,
    NSBUILD,
    REPO,
    CannotMeasure,
    alternate,
    output,
    seconds,
    table,
    title,
)

IMAGE = "localhost/nsbuild-bench"
RUN, PODMAN = "nsbuild run --rm IMAGE", "podman run --rm IMAGE"
"""Both with the network that they give a container unless told otherwise, as a user has them."""
ALONE = "podman run --network=none"
"""With no more network than nsbuild's has."""


def tarball() -> Path:
    """The root file system of the image that is run: one file."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise CannotMeasure("busybox is not installed")
    path = CACHE / "image.tar"
    CACHE.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as image:
        image.add(busybox, "bin/true")
    return path


def run_command(*options: str) -> list[str | Path]:
    """`nsbuild run` of that image in a store of our own."""
    nsbuild: list[str | Path] = ["env", f"NSBUILD_STORE={CACHE / 'store'}", NSBUILD]
    output([*nsbuild, "import", "-q", tarball(), IMAGE])
    return [*nsbuild, "run", "--rm", *options, IMAGE, "/bin/true"]


def podman_command(*options: str) -> list[str | Path]:
    """`podman run` of a one-file image in a storage of our own; CannotMeasure without podman."""
    store = CACHE / "podman"
    podman: list[str | Path] = ["podman", "--root", store / "root", "--runroot", store / "run"]
    podman += ["--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=none"]
    if shutil.which("runc"):
        podman.append("--runtime=runc")
    store.mkdir(parents=True, exist_ok=True)
    output([*podman, "import", tarball(), IMAGE])
    # podman asks for the largest limits there are, which takes CAP_SYS_RESOURCE.
    files = min(1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    limits = [f"--ulimit=nofile={files}:{files}", "--ulimit=nproc=1000:1000"]
    return [
        *podman,
        "run",
        "--rm",
        *limits,
        *options,
        IMAGE,
        "/bin/true",
    ]


def main(quick: bool) -> None:
    """Print the table."""
    # As after an installation, whether or not whoever runs this lets Python write them by itself.
    compileall.compile_dir(REPO / "nsbuild", quiet=1)
    bwrap = "bwrap --unshare-all --ro-bind / / --dev /dev --proc /proc --tmpfs /tmp /bin/true"
    commands: dict[str, list[str | Path]] = {
        "bare": ["/bin/true"],
        "unshare -Urpf --mount-proc": ["unshare", "-Urpf", "--mount-proc", "/bin/true"],
        "bwrap --unshare-all": [*bwrap.split()],
        "nsbuild exec": [NSBUILD, "exec", "/", "/bin/true"],
        "nsbuild exec --sched=other": [NSBUILD, "exec", "--sched=other", "/", "/bin/true"],
        RUN: run_command(),
        "nsbuild run --network=private": run_command("--network=private"),
    }
    title("start-up of /bin/true")
    try:
        commands[PODMAN] = podman_command()
        commands[ALONE] = podman_command("--network=none")
    except (CannotMeasure, subprocess.SubprocessError) as error:
        print(f"  {PODMAN}: not measured: {error}")
    measures = {
        name: lambda command=command: seconds(command) for name, command in commands.items()
    }
    found = alternate(measures, 7 if quick else 31)
    table(found, "ms", 1e3, "bwrap --unshare-all")
    for name in (PODMAN, ALONE):
        if name in found:
            times = statistics.median(found[name]) / statistics.median(found[RUN])
            print(f"  {name} takes {times:.2f} times as long as {RUN}")
