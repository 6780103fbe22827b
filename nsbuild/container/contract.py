"""What chroot(1) promises its caller: the command gets what the caller had, and nothing is said.

A drop-in for it starts its command in another process than the caller's, with another history, so
everything that an exec would have left alone is set aside at the start and given back before the
command. The words for what can go wrong are chroot's own, because scripts compare them.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator

from nsbuild.container.handover import (
    STAGE_EXEC,
    STAGE_GID,
    STAGE_GROUPS,
    STAGE_UID,
    STAGE_WORKDIR,
)
from nsbuild.container.quoting import quote
from nsbuild.container.userspec import Found, Wanted, look_inside
from nsbuild.errors import EXIT_CANNOT_INVOKE, EXIT_NOT_FOUND, NsbuildError
from nsbuild.kernel.process import read_whole
from nsbuild.tuples import NamedTuple

_MOST_DESCRIPTORS = 1024
"""How far to look for open ones where there is no /proc."""
_FAILURES = {
    STAGE_WORKDIR: "cannot chdir to root directory",
    STAGE_GROUPS: "failed to set supplemental groups",
    STAGE_GID: "failed to set group-ID",
    STAGE_UID: "failed to set user-ID",
}


class Caller(NamedTuple):
    """What the process had that called us, before we changed anything."""

    environment: tuple[bytes, ...]
    """Its strings as they stand, since not even all of them need be NAME=VALUE."""
    uids: tuple[int, int, int]
    gids: tuple[int, int, int]
    groups: tuple[int, ...]
    umask: int
    persona: int
    open: tuple[int, ...]
    """Descriptors from 3 on that an exec keeps."""
    closed: tuple[int, ...]
    """Those of the first three that are not open."""


class Contract(NamedTuple):
    """The caller, and who the command is to be: `outside` is what the caller's root knows of it."""

    caller: Caller
    wanted: Wanted
    outside: Found
    added: tuple[bytes, ...] = ()
    """What is added to the environment, where it has no variable of that name."""

    @property
    def environment(self) -> tuple[bytes, ...]:
        """The command's environment."""
        own = self.caller.environment
        names = {text.partition(b"=")[0] for text in own}
        return own + tuple(text for text in self.added if text.partition(b"=")[0] not in names)

    def find_ids(self) -> Found:
        """Who to be in the root that we are in by now; raises NsbuildError."""
        return look_inside(self.wanted, self.outside)

    def become(self, found: Found) -> Iterator[tuple[int, Callable[[], None]]]:
        """The steps to become `found`, each with the stage that it fails at."""
        caller = self.caller
        if (os.getgroups(), os.getresgid(), os.getresuid()) != (
            list(caller.groups),
            caller.gids,
            caller.uids,
        ):
            # A user namespace of the container's own was entered as its root.
            yield STAGE_GROUPS, lambda: os.setgroups(caller.groups)
            yield STAGE_GID, lambda: os.setresgid(*caller.gids)
            yield STAGE_UID, lambda: os.setresuid(*caller.uids)
        uid, gid = found.uid, found.gid
        if uid is not None or self.wanted.groups is not None:
            yield STAGE_GROUPS, lambda: os.setgroups(found.groups)
        if gid is not None:
            yield STAGE_GID, lambda: os.setgid(gid)
        if uid is not None:
            yield STAGE_UID, lambda: os.setuid(uid)

    def error(self, stage: int, number: int, argv: tuple[str, ...]) -> NsbuildError:
        """What chroot says of a command that could not be started; `number` is an errno."""
        reason = os.strerror(number)
        if stage != STAGE_EXEC:
            return NsbuildError(f"{_FAILURES[stage]}: {reason}")
        code = EXIT_NOT_FOUND if number == errno.ENOENT else EXIT_CANNOT_INVOKE
        name = quote(argv[0], self.wanted.utf8)
        return NsbuildError(f"failed to run command {name}: {reason}", code=code)

    def give_back(self) -> None:
        """Make the calling process's descriptors what the caller's were, as far as an exec does."""
        for fd in self.caller.open:
            os.set_inheritable(fd, True)
        for fd in self.caller.closed:
            with contextlib.suppress(OSError):
                os.close(fd)


def set_aside(persona: int) -> Caller:
    """The calling process as its caller made it; `persona` is its personality(2)."""
    umask = os.umask(0)
    os.umask(umask)
    return Caller(
        environment=_environment(),
        uids=os.getresuid(),
        gids=os.getresgid(),
        groups=tuple(os.getgroups()),
        umask=umask,
        persona=persona,
        open=tuple(fd for fd in _descriptors() if fd > 2 and _is_inherited(fd)),
        closed=tuple(fd for fd in range(3) if not _is_open(fd)),
    )


def _environment() -> tuple[bytes, ...]:
    """The strings we were started with: Python may have added LC_CTYPE to its own (PEP 538)."""
    try:
        text = read_whole(b"/proc/self/environ")
    except OSError:
        return tuple(b"%b=%b" % item for item in os.environb.items())
    return tuple(text.split(b"\0")[:-1])


def _descriptors() -> list[int]:
    try:
        return sorted(int(name) for name in os.listdir("/proc/self/fd"))
    except OSError:
        return list(range(_MOST_DESCRIPTORS))


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _is_inherited(fd: int) -> bool:
    try:
        return os.get_inheritable(fd)
    except OSError:
        return False
