"""A command for a container that runs already, as its client writes it down for init to read.

Init has no file system of its own any more and must not import, so this is as plain as can be:
fields that end with NUL, in a memfd, which has no limit on its size as a message would.
"""

from __future__ import annotations

import os

from nsbuild.container.spec import CommandSpec


def write_entry(spec: CommandSpec) -> int:
    """A memfd that holds the command."""
    environment = [f"{name}={value}" for name, value in spec.environment.items()]
    flags = f"{int(spec.interactive)}{int(spec.tty)}"
    bounding = "-" if spec.bounding is None else " ".join(map(str, sorted(spec.bounding)))
    head = [flags, spec.workdir, spec.user or "", bounding, str(len(spec.argv))]
    text = b"".join(os.fsencode(field) + b"\0" for field in (*head, *spec.argv, *environment))
    fd = os.memfd_create("nsbuild-entry", os.MFD_CLOEXEC)
    while text:
        text = text[os.write(fd, text) :]
    return fd


def read_entry(fd: int) -> CommandSpec:
    """What `write_entry` has put into the memfd `fd`."""
    os.lseek(fd, 0, os.SEEK_SET)
    fields = [os.fsdecode(field) for field in _all_of(fd).split(b"\0")[:-1]]
    flags, workdir, user, bounding, count, *words = fields
    argv, environment = words[: int(count)], words[int(count) :]
    return CommandSpec(
        argv=tuple(argv),
        environment=dict(text.split("=", 1) for text in environment),
        workdir=workdir,
        user=user or None,
        interactive=flags[0] == "1",
        tty=flags[1] == "1",
        bounding=None if bounding == "-" else frozenset(map(int, bounding.split())),
    )


def _all_of(fd: int) -> bytes:
    chunks = []
    while chunk := os.read(fd, 1 << 16):
        chunks.append(chunk)
    return b"".join(chunks)
