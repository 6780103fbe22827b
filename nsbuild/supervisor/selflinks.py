"""/proc/self and /proc/thread-self, for somebody else than who asks.

These links lead whoever follows them to itself. The supervisor follows paths for others, and has no
number in the guest's /proc, where they are empty for it; so they are replaced by the caller's own.
Which number that is depends on the PID namespace that a /proc shows (proc(5)): in one that was
mounted in a namespace further in, the caller has another.
"""

from __future__ import annotations

import errno
import os
import re

from nsbuild.kernel.files import AT_FDCWD, exists
from nsbuild.kernel.process import namespace_numbers, read_small

from .innerroot import is_magic
from .listener import Call
from .processes import Process

_MAX_LINKS = 40
"""MAXSYMLINKS of linux/namei.h."""
_SELF = (b"self", b"thread-self")
_OWN_LINK = re.compile(rb"(?:cwd|root|exe|fd/[0-9]+)(?=/|$)")
"""The links of /proc/PID that lead somewhere by themselves (proc_pid_fd(5))."""


class Self:
    """What /proc's "self" and "thread-self" stand for, for the caller; and how often they did."""

    def __init__(self, call: Call, process: Process) -> None:
        self.tid = call.tid
        self._pid = process.pid
        self._times = 0

    def again(self) -> bool:
        """Whether another link may still be followed."""
        self._times += 1
        return self._times <= _MAX_LINKS

    def number(self, thread: bool, base: int, proc: bytes) -> tuple[bytes, bytes]:
        """Its directory in the guest's /proc, which is `proc` behind `base`, and in ours."""
        numbers = _inner_numbers(self._pid)
        depth = _depth(numbers, base, proc) if len(numbers) > 1 else 0
        if not thread:
            return b"%d" % numbers[depth], b"%d" % self._pid
        own = _inner_numbers(self.tid)
        return b"%d/task/%d" % (numbers[depth], own[depth]), b"%d" % self.tid


def _inner_numbers(task: int) -> list[int]:
    """The numbers of a process or thread in the container, and in namespaces within."""
    numbers = namespace_numbers(read_small(f"{task}/status"))[1:]
    if not numbers:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    return numbers


def _depth(numbers: list[int], base: int, proc: bytes) -> int:
    """Which of a process's `numbers` it has in `proc`; raises OSError where it has none."""
    dir_fd = None if base == AT_FDCWD else base
    for depth, number in enumerate(numbers):
        try:
            fd = os.open(proc + b"%d/status" % number, os.O_RDONLY | os.O_CLOEXEC, dir_fd=dir_fd)
        except OSError:
            continue
        with open(fd, "rb") as file:
            # Each file lists the numbers from its own namespace on.
            if namespace_numbers(file.read()) == numbers[depth:]:
                return depth
    raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))


def without_self(
    base: int, path: bytes, flags: int, own: Self
) -> tuple[bytes, bytes, bytes] | None:
    """`path` with each link to /proc's "self" replaced by the caller's number; None without one.

    Comes in three parts: a link of the caller's own directory as we see it, or b"", the path from
    there, and the directory of the link as the caller sees it. Walks as the kernel does
    (path_resolution(7)): the links of /proc that lead to whoever asks are empty for a process that
    has no number there, as we have none.
    """
    rest = [part for part in reversed(path.split(b"/")) if part]
    done = b"/" if path[:1] == b"/" else b""
    slash = path.endswith(b"/")
    links = 0
    replaced = False
    while rest:
        part = rest.pop()
        here = done + part
        if part in (b".", b".."):
            done = here + b"/"
            continue
        last = not rest and not slash
        link = None if last and flags else _link(base, here)
        if link is None:
            done = here + b"/"
        elif not link:
            inside, ours = own.number(part == b"thread-self", base, done)
            replaced = True
            done += inside + b"/"
            beyond = b"/".join([p for p in reversed(rest) if p != b"."])
            magic = _OWN_LINK.match(beyond)
            if magic:
                left = beyond[magic.end() :].lstrip(b"/")
                return ours + b"/" + magic[0], (left or b".") + b"/" if slash else left, done
        elif b":[" in link or is_magic(base, here):
            done = here + b"/"
        else:
            links += 1
            if links > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            rest.extend(part for part in reversed(link.split(b"/")) if part)
            if link[:1] == b"/":
                done = b"/"
    if not replaced:
        return None
    return b"", done if slash or done == b"/" else done[:-1], b""


def _link(base: int, path: bytes) -> bytes | None:
    """The text of a symbolic link, b"" for one that only others can read, None if none."""
    dir_fd = None if base == AT_FDCWD else base
    try:
        return os.readlink(path, dir_fd=dir_fd)
    except OSError as error:
        if error.errno == errno.ENOENT and path.rpartition(b"/")[2] in _SELF:
            return b"" if exists(path, dir_fd) else None
        return None
