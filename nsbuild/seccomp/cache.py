"""Compiled filters, kept between runs below the user's cache directory.

A filter decides what the container may do and what is answered, so a cached one is used only when
nobody but the user could have written it and when it is bound, by a digest, to the profile and to
everything that compiled it. Whatever is wrong with the cache costs a compilation, never an error.
"""

from __future__ import annotations

import contextlib
import os
import stat

import nsbuild
from nsbuild.digest import sha256
from nsbuild.kernel import bpf
from nsbuild.kernel.libseccomp import seccomp_version

_DIGEST = 32
_LARGEST = _DIGEST + bpf.BPF_MAXINSNS * bpf.SOCK_FILTER.size
_HERE = os.path.dirname(os.path.abspath(__file__))
# In a checkout the version stays while the compiler changes.
_COMPILER = (
    "compile.py",
    "profile.py",
    "../kernel/bpf.py",
    "../kernel/libseccomp.py",
    "../kernel/seccomp.py",
)


def key(text: bytes) -> str:
    """The name under which the program of the profile `text` is kept: 64 hexadecimal digits."""
    digest = sha256()
    for part in (_library(), str(getattr(nsbuild, "__version__", "")), os.uname().machine):
        digest.update(part.encode() + b"\0")
    for name in _COMPILER:
        with contextlib.suppress(OSError), open(os.path.join(_HERE, name), "rb") as file:
            digest.update(sha256(file.read()).digest())
    digest.update(text)
    return digest.hexdigest()


def load(name: str) -> bytes | None:
    """The program kept as `name`, or None where there is none that can be trusted."""
    directory = _directory()
    if directory is None:
        return None
    try:
        # Whatever lies there must neither block nor lead elsewhere.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(os.path.join(directory, f"{name}.bpf"), flags)
    except OSError:
        return None
    try:
        if not _ours(os.fstat(fd)):
            return None
        content = os.read(fd, _LARGEST + 1)
    except OSError:
        return None
    finally:
        os.close(fd)
    program = content[_DIGEST:]
    if not program or len(content) > _LARGEST or len(program) % bpf.SOCK_FILTER.size:
        return None
    return program if content[:_DIGEST] == _seal(name, program) else None


def store(name: str, program: bytes) -> None:
    """Keep `program` as `name`; says nothing where that is impossible."""
    directory = _directory()
    if directory is None or not _may_create(directory):
        return
    temporary = os.path.join(directory, f".{name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        os.makedirs(directory, mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(temporary, flags, 0o600)
        try:
            with open(fd, "wb") as file:
                file.write(_seal(name, program) + program)
            os.rename(temporary, os.path.join(directory, f"{name}.bpf"))
        except OSError:
            os.unlink(temporary)


def _library() -> str:
    try:
        return seccomp_version()
    except OSError:
        return "absent"


def _directory() -> str | None:
    """Where the cache is (XDG base directory specification), or None without a home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "nsbuild", "seccomp") if os.path.isabs(base) else None


def _ours(status: os.stat_result) -> bool:
    """Whether it is a file that only this user, or root, can have written.

    Who may write the directory could still put one of our own files under another name, which is
    why the digest covers the name.
    """
    writable_by_others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not writable_by_others


def _may_create(directory: str) -> bool:
    """Whether what exists of `directory` is this user's.

    Root with another user's HOME would leave directories there that their owner cannot write.
    """
    while not os.path.lexists(directory):
        directory = os.path.dirname(directory)
    try:
        return os.stat(directory).st_uid == os.geteuid()
    except OSError:
        return False


def _seal(name: str, program: bytes) -> bytes:
    return sha256(name.encode() + program).digest()
