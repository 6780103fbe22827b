"""Paths as root of a user namespace within the container's finds them.

Its capabilities hold for files whose owner and group both have a number there
(capable_wrt_inode_uidgid() in the kernel), so that it may search a directory that subordinate ids
own, whatever the mode says, and none of the container's. We cannot take on such rights: who enters
a user namespace does not come back. So a path that the ordinary way does not open is walked
directory by directory, and each that refuses us is asked for its owner.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

import prctl

from nsbuild.kernel.files import AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, set_fs_ids, statx
from nsbuild.tuples import NamedTuple

_MAX_LINKS = 40
"""MAXSYMLINKS of linux/namei.h."""
_OVERFLOW = 65534
"""What an id is shown as that has none in a user namespace (user_namespaces(7))."""
_PATH = os.O_PATH | os.O_CLOEXEC

Lines = tuple[tuple[int, ...], ...]
"""Of uid_map or gid_map: first inside, first in ours, count."""


class Ids(NamedTuple):
    """The maps of an inner user namespace."""

    uids: Lines
    gids: Lines

    def uid(self, ours: int) -> int:
        """How a user id is shown there."""
        return _shown(self.uids, ours, _OVERFLOW)

    def gid(self, ours: int) -> int:
        """How a group id is shown there."""
        return _shown(self.gids, ours, _OVERFLOW)

    def own(self, uid: int, gid: int) -> bool:
        """Whether both ids have a number there."""
        return _shown(self.uids, uid, -1) >= 0 and _shown(self.gids, gid, -1) >= 0


def _shown(lines: Lines, ours: int, otherwise: int) -> int:
    for inside, outside, count in lines:
        if outside <= ours < outside + count:
            return inside + ours - outside
    return otherwise


def is_magic(base: int, path: bytes) -> bool:
    """Whether a link is one of /proc's that lead somewhere by themselves (proc_pid_fd(5))."""
    found = statx(base, path, AT_SYMLINK_NOFOLLOW)
    # Those have a size of 0, or of 64 and not all rights; a link made of text has its length.
    return not isinstance(found, int) and (
        not found[8] or (found[8] == 64 and found[6] & 0o777 != 0o777)
    )


class InnerRoot:
    """One that has `ids` and looks with `uid` and `gid`, which we have taken on."""

    def __init__(self, ids: Ids, uid: int, gid: int) -> None:
        self._ids = ids
        self._user = uid, gid

    def open(self, path: bytes, flags: int, base: int | None) -> int:
        """open(2) with O_PATH in `flags` from the directory `base`, None for an absolute path."""
        rest = [part for part in reversed(path.split(b"/")) if part]
        wants_directory = path.endswith(b"/") or bool(flags & os.O_DIRECTORY)
        here = os.open("/", _PATH) if base is None else os.dup(base)
        links = 0
        try:
            while rest:
                part = rest.pop()
                follow = bool(rest) or wants_directory or not flags & os.O_NOFOLLOW
                found, text = self._step(here, part, follow)
                if text:
                    links += 1
                    if links > _MAX_LINKS:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                    rest.extend(part for part in reversed(text.split(b"/")) if part)
                    wants_directory |= text.endswith(b"/") and not rest
                if found >= 0:
                    os.close(here)
                    here = found
            if wants_directory and not stat.S_ISDIR(os.fstat(here).st_mode):
                raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        except OSError:
            os.close(here)
            raise
        return here

    def _step(self, here: int, part: bytes, follow: bool) -> tuple[int, bytes]:
        """What `part` is in the directory `here`; of a link its text, and where that starts.

        That is -1 for a relative one.
        """
        with self._allowed(here, part):
            found = os.open(part, _PATH | os.O_NOFOLLOW, dir_fd=here)
            if not follow or not stat.S_ISLNK(os.fstat(found).st_mode):
                return found, b""
            text = os.readlink(b"", dir_fd=found)
            os.close(found)
            if is_magic(here, part):
                return os.open(part, _PATH, dir_fd=here), b""
        return (os.open("/", _PATH) if text[:1] == b"/" else -1), text

    @contextmanager
    def _allowed(self, here: int, part: bytes) -> Iterator[None]:
        """Have all our rights, if it may search `here` for being its root alone."""
        found = statx(here, b"", AT_EMPTY_PATH)
        lifted = not isinstance(found, int) and self._ids.own(found[4], found[5])
        if lifted:
            self._lift(True)
        try:
            yield
        finally:
            if lifted:
                self._lift(False)

    def _lift(self, lifted: bool) -> None:
        if self._user[0]:
            set_fs_ids(*((0, 0) if lifted else self._user))
        else:
            prctl.cap_effective.dac_override = prctl.cap_effective.dac_read_search = lifted
