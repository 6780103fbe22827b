"""Start-up: how long it takes to run /bin/true, bare and in the containers of several tools."""

from __future__ import annotations

import compileall
import resource
import shutil
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


def run_command() -> list[str | Path]:
    """`nsbuild run` of that image in a store of our own."""
    nsbuild: list[str | Path] = ["env", f"NSBUILD_STORE={CACHE / 'store'}", NSBUILD]
    output([*nsbuild, "import", "-q", tarball(), IMAGE])
    return [*nsbuild, "run", "--rm", IMAGE, "/bin/true"]


def podman_command() -> list[str | Path]:
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
        "--network=none",
        *limits,
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
        "nsbuild run --rm IMAGE": run_command(),
    }
    title("start-up of /bin/true")
    try:
        commands["podman run"] = podman_command()
    except (CannotMeasure, subprocess.SubprocessError) as error:
        print(f"  podman run: not measured: {error}")
    measures = {
        name: lambda command=command: seconds(command) for name, command in commands.items()
    }
    table(alternate(measures, 7 if quick else 31), "ms", 1e3, "bwrap --unshare-all")
