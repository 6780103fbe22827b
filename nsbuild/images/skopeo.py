"""skopeo(1), which speaks with registries and knows every archive: run as a program.

It is told to put an image into, or take one from, a plain directory (`dir:`), in which manifests
stay as they came, byte for byte. So the digest by which a registry knows an image is the one that
we keep.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Sequence
from typing import TextIO

import prctl

from nsbuild.errors import NsbuildError
from nsbuild.images.place import Workshop

POLICY = "/etc/containers/policy.json"
_USERS_POLICY = "~/.config/containers/policy.json"
_FATAL = re.compile(r'level=(?:fatal|error) msg="((?:\\.|[^"\\])*)"')
_PATHS = ("dir", "oci", "oci-archive", "docker-archive")
"""Transports whose argument is a path."""
TRANSPORTS = ("docker", *_PATHS)


def copy(
    source: str,
    destination: str,
    shop: Workshop,
    options: Sequence[str] = (),
    say: Callable[[str], None] | None = None,
    overrides: Sequence[str] = (),
) -> None:
    """`skopeo copy`, in the directory of `shop`; `say` is told what it prints.

    `overrides` are its global options.
    Raises NsbuildError with what it said.
    """
    # Archives it takes apart in /var/tmp, whatever TMPDIR says.
    general = (*_policy(), "--tmpdir", shop.path, *overrides)
    command = ["skopeo", *general, "copy", *options, source, destination]
    environment = {**os.environ, "TMPDIR": shop.path}
    if os.geteuid():
        # Without it skopeo looks for passwords below /run/containers, where root alone may look.
        environment.setdefault("XDG_RUNTIME_DIR", shop.path)
    # A file, because nobody reads it before the end.
    with open(shop.at("complaints"), "w+", errors="replace") as complaints:
        code = _run(command, environment, shop, complaints, say)
        complaints.seek(0)
        if code:
            raise NsbuildError(_reason(complaints.read()))


def _run(
    command: list[str],
    environment: dict[str, str],
    shop: Workshop,
    complaints: TextIO,
    say: Callable[[str], None] | None,
) -> int:
    """Run skopeo to its end; its exit code."""
    try:
        process = subprocess.Popen(
            command,
            cwd=shop.path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            errors="replace",
            # The workshop is locked as long as skopeo works in it, whatever becomes of us.
            pass_fds=(shop.fd,),
            preexec_fn=_die_with_us,
        )
    except FileNotFoundError:
        raise NsbuildError("cannot run skopeo: it is not there", "apt install skopeo") from None
    with process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if say is not None:
                    say(line.rstrip("\n"))
        except BaseException:
            process.kill()
            raise
    return process.returncode


def _die_with_us() -> None:
    prctl.set_pdeathsig(signal.SIGKILL)


def _policy() -> list[str]:
    """Who must have signed what: as the machine says, and nobody where it does not say."""
    for path in (os.path.expanduser(_USERS_POLICY), POLICY):
        if os.path.exists(path):
            return []
    return ["--insecure-policy"]


def _reason(complaint: str) -> str:
    found = _FATAL.findall(complaint)
    if not found:
        return complaint.strip().splitlines()[-1] if complaint.strip() else "skopeo failed"
    return re.sub(r"\\(.)", lambda sign: " " if sign[1] in "nt" else sign[1], found[-1])


def split(text: str) -> tuple[str, str]:
    """Transport and argument of TRANSPORT:ARGUMENT, paths made absolute; no transport in a name."""
    transport, colon, argument = text.partition(":")
    if not colon or transport not in TRANSPORTS:
        return "", text
    if transport in _PATHS:
        path, colon, rest = argument.partition(":")
        if transport == "dir":
            return transport, os.path.abspath(argument)
        return transport, os.path.abspath(path) + colon + rest
    return transport, argument.removeprefix("//")
