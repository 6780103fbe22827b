"""Start-up: how long it takes to run /bin/true, bare and in the containers of several tools."""

from __future__ import annotations

import resource
import shutil
import subprocess
import tarfile
from pathlib import Path

from benchmarks.common import (
    CACHE,
    NSBUILD,
    CannotMeasure,
    alternate,
    output,
    seconds,
    table,
    title,
)


def podman_command() -> list[str | Path]:
    """`podman run` of a one-file image in a storage of our own; CannotMeasure without podman."""
    store = CACHE / "podman"
    busybox = shutil.which("busybox")
    if busybox is None:
        raise CannotMeasure("busybox is not installed")
    podman: list[str | Path] = ["podman", "--root", store / "root", "--runroot", store / "run"]
    podman += ["--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=none"]
    if shutil.which("runc"):
        podman.append("--runtime=runc")
    store.mkdir(parents=True, exist_ok=True)
    with tarfile.open(store / "image.tar", "w") as image:
        image.add(busybox, "bin/true")
    output([*podman, "import", store / "image.tar", "localhost/nsbuild-bench"])
    # podman asks for the largest limits there are, which takes CAP_SYS_RESOURCE.
    files = min(1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    limits = [f"--ulimit=nofile={files}:{files}", "--ulimit=nproc=1000:1000"]
    return [
        *podman,
        "run",
        "--rm",
        "--network=none",
        *limits,
        "localhost/nsbuild-bench",
        "/bin/true",
    ]


def main(quick: bool) -> None:
    """Print the table."""
    bwrap = "bwrap --unshare-all --ro-bind / / --dev /dev --proc /proc --tmpfs /tmp /bin/true"
    commands: dict[str, list[str | Path]] = {
        "bare": ["/bin/true"],
        "unshare -Urpf --mount-proc": ["unshare", "-Urpf", "--mount-proc", "/bin/true"],
        "bwrap --unshare-all": [*bwrap.split()],
        "nsbuild exec": [NSBUILD, "exec", "/", "/bin/true"],
        "nsbuild exec --sched=other": [NSBUILD, "exec", "--sched=other", "/", "/bin/true"],
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
