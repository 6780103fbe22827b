"""Copies between two trees that trust each other in nothing: all by descriptor, no link followed.

One side is a container's, whose files may change while they are copied and whose links may point
anywhere. So a directory is entered only by its name in one that is open, and never through a link.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from nsbuild.errors import NsbuildError

_ENTER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 24

Owner = tuple[int, int]


def copy(source: int, name: str, target: int, as_name: str, owner: Owner | None) -> None:
    """Copy `name` in the open directory `source` as `as_name` in `target`; raises OSError.

    All of it belongs to `owner` then, or to us. What is neither file, directory, link nor pipe is
    left out.
    """
    status = os.stat(name, dir_fd=source, follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode):
        _copy_directory(source, name, target, as_name, owner)
    elif stat.S_ISREG(status.st_mode):
        _clear(target, as_name)
        _copy_file(source, name, target, as_name)
    elif stat.S_ISLNK(status.st_mode):
        _clear(target, as_name)
        os.symlink(os.readlink(name, dir_fd=source), as_name, dir_fd=target)
    elif stat.S_ISFIFO(status.st_mode):
        _clear(target, as_name)
        os.mkfifo(as_name, 0o600, dir_fd=target)
    else:
        return
    if owner is not None:
        os.chown(as_name, *owner, dir_fd=target, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(as_name, stat.S_IMODE(status.st_mode), dir_fd=target)
    times = status.st_atime_ns, status.st_mtime_ns
    os.utime(as_name, ns=times, dir_fd=target, follow_symlinks=False)


def copy_contents(source: int, target: int, owner: Owner | None) -> None:
    """Copy all that is in the open directory `source` into `target`."""
    for name in sorted(os.listdir(source)):
        copy(source, name, target, name, owner)


def _copy_directory(source: int, name: str, target: int, as_name: str, owner: Owner | None) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(as_name, 0o700, dir_fd=target)
    with opened(source, name) as inner, opened(target, as_name) as outer:
        copy_contents(inner, outer, owner)


@contextlib.contextmanager
def opened(parent: int, name: str) -> Iterator[int]:
    """The directory `name` in the open directory `parent`; raises OSError for a link."""
    fd = os.open(name, _ENTER, dir_fd=parent)
    try:
        yield fd
    finally:
        os.close(fd)


def _copy_file(source: int, name: str, target: int, as_name: str) -> None:
    read = os.open(name, _READ, dir_fd=source)
    try:
        write = os.open(as_name, _WRITE, 0o600, dir_fd=target)
        try:
            while os.sendfile(write, read, None, _CHUNK):
                pass
        finally:
            os.close(write)
    finally:
        os.close(read)


def _clear(parent: int, name: str) -> None:
    """Make room for a file `name`."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return
    except IsADirectoryError as error:
        raise NsbuildError(f"cannot overwrite the directory {name} by a file") from error
