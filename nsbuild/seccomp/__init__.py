"""From the name of a seccomp profile to the program that seccomp(2) installs.

`compiled` finds the profile, and takes its program from the cache or compiles it. Only a miss
imports the JSON parser and the libseccomp binding, which together cost more than the rest of a
start.
"""

from __future__ import annotations

import os

from nsbuild.errors import NsbuildError
from nsbuild.seccomp import cache

MAX_PROFILE = 1 << 20
"""Bytes; /dev/zero is no profile."""

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Installed, the profiles lie inside the package; in a checkout, beside it.
_SHIPPED = (
    os.path.join(_PACKAGE, "seccomp_profiles"),
    os.path.join(os.path.dirname(_PACKAGE), "seccomp_profiles"),
)


def compiled(name_or_path: str) -> bytes:
    """The BPF program of a profile: `struct sock_filter[]`, 8 bytes an instruction.

    A name without a slash is a profile that nsbuild ships; one with a slash, or that ends in
    ".json", is a path. Raises NsbuildError for a profile that is missing or wrong.
    """
    text = read(locate(name_or_path))
    key = cache.key(text)
    program = cache.load(key)
    if program is None:
        from nsbuild.seccomp.compile import compile_profile
        from nsbuild.seccomp.profile import parse

        program = compile_profile(parse(text, name_or_path), name_or_path)
        cache.store(key, program)
    return program


def locate(name_or_path: str) -> str:
    """The path of a profile that is given as on the command line."""
    if "/" in name_or_path or name_or_path.endswith(".json"):
        return name_or_path
    for directory in _SHIPPED:
        path = os.path.join(directory, f"{name_or_path}.json")
        if os.path.exists(path):
            return path
    raise NsbuildError(
        f"no seccomp profile named {name_or_path!r}",
        hint=f"nsbuild has: {', '.join(shipped()) or 'none'}; a file is given with a slash, "
        f"as ./{name_or_path}",
    )


def shipped() -> list[str]:
    """The names of the profiles that come with nsbuild."""
    for directory in _SHIPPED:
        if os.path.isdir(directory):
            files = os.listdir(directory)
            return sorted(name.removesuffix(".json") for name in files if name.endswith(".json"))
    return []


def read(path: str) -> bytes:
    """The text of the profile at `path`, which may be a pipe."""
    what = f"cannot read seccomp profile {path}"
    try:
        with open(path, "rb") as file:
            text = file.read(MAX_PROFILE + 1)
    except OSError as error:
        raise NsbuildError.from_os(what, error) from error
    if len(text) > MAX_PROFILE:
        raise NsbuildError(f"{what}: larger than {MAX_PROFILE >> 20} MiB")
    return text
