"""The files that COPY and ADD name: which of them there are, what is in them, and their copies.

Sources are looked up below one directory, the context or another stage's root, by openat2(2) with
RESOLVE_IN_ROOT, so that no link leads out of it. What a copy says of itself does not depend on
whose checkout it comes from: it belongs to root, its time is the step's, and write permission for
group and others, which follows from a umask, is not kept.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator

from nsbuild.build.ignore import Ignore, translate
from nsbuild.errors import NsbuildError
from nsbuild.kernel.mount import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2
from nsbuild.tuples import NamedTuple

_BLOCK = 1 << 20
_UMASKED = 0o022
_NOFOLLOW = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Source(NamedTuple):
    """A source that was found: `path` relative to the root of the sources."""

    path: str
    is_directory: bool


class Tree:
    """The directory that sources are looked up in; `ignore` is for the context alone."""

    def __init__(self, root: int, ignore: Ignore | None = None) -> None:
        self.root = root
        self.ignore = ignore or Ignore()

    def find(self, pattern: str) -> list[Source]:
        """What `pattern` names, sorted; raises NsbuildError if that is nothing."""
        wanted = os.path.normpath("/" + pattern).lstrip("/")
        paths = [wanted] if not re.search(r"[*?\[\\]", wanted) else list(self._glob(wanted))
        found = []
        for path in paths:
            if path and self.ignore.excludes(path):
                continue
            try:
                fd = self.open(path or ".", os.O_PATH)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                    raise NsbuildError.from_os(f"cannot copy {pattern}", error) from error
                continue
            found.append(Source(path, stat.S_ISDIR(os.fstat(fd).st_mode)))
            os.close(fd)
        if not found:
            raise NsbuildError(
                f"cannot copy {pattern}: there is no such file",
                "paths are relative to the context; .containerignore may exclude it",
            )
        return found

    def open(self, path: str, flags: int) -> int:
        """Open `path` below the root, wherever links in there point; raises OSError."""
        return openat2(self.root, path or ".", flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)

    def _glob(self, pattern: str) -> Iterator[str]:
        """The paths that fit a pattern with wildcards, one directory level after the other."""
        level = [""]
        for part in pattern.split("/"):
            fits = re.compile(translate(part) + r"\Z", re.DOTALL)
            level = [
                os.path.join(directory, name)
                for directory in level
                for name in self._names(directory)
                if fits.match(name)
            ]
        return iter(level)

    def _names(self, directory: str) -> list[str]:
        try:
            fd = self.open(directory, _DIRECTORY)
        except OSError:
            return []
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    def digest(self, sources: list[Source]) -> str:
        """A hash of all that copying `sources` depends on."""
        total = hashlib.sha256()
        for source in sources:
            total.update(
                f"{source.path}\0{source.is_directory}\0".encode("utf-8", "surrogateescape")
            )
            self._walk(source, _Digest(total))
        return total.hexdigest()

    def copy(self, source: Source, target: Target, name: str) -> None:
        """Copy a file as `name` in the directory of `target`, or what a directory has into it."""
        self._walk(source, _Copy(target, name))

    def _walk(self, source: Source, visitor: _Visitor) -> None:
        try:
            if source.is_directory:
                fd = self.open(source.path, _DIRECTORY)
                try:
                    self._walk_directory(fd, source.path, visitor)
                finally:
                    os.close(fd)
                return
            # The link itself is followed: it is the file that has been named.
            fd = self.open(source.path, os.O_RDONLY | os.O_NONBLOCK)
            try:
                visitor.file(fd, "")
            finally:
                os.close(fd)
        except OSError as error:
            raise NsbuildError.from_os(f"cannot copy {source.path}", error) from error

    def _walk_directory(self, fd: int, path: str, visitor: _Visitor) -> None:
        for name in sorted(os.listdir(fd)):
            inner = os.path.join(path, name)
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            is_directory = stat.S_ISDIR(status.st_mode)
            if self.ignore.excludes(inner) and not is_directory:
                continue
            if is_directory:
                self._enter(fd, name, inner, visitor)
            elif stat.S_ISLNK(status.st_mode):
                visitor.link(os.readlink(name, dir_fd=fd), name)
            elif stat.S_ISREG(status.st_mode):
                opened = os.open(name, _NOFOLLOW, dir_fd=fd)
                try:
                    visitor.file(opened, name)
                finally:
                    os.close(opened)
            else:
                raise NsbuildError(f"cannot copy {inner}: it is no file, directory or link")

    def _enter(self, fd: int, name: str, path: str, visitor: _Visitor) -> None:
        if self.ignore.may_skip(path):
            return
        inner = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
        try:
            # An excluded directory comes with what is included again below it.
            visitor.enter(os.fstat(inner), name)
            self._walk_directory(inner, path, visitor)
            visitor.leave()
        finally:
            os.close(inner)


class Target(NamedTuple):
    """Where copies go, whose they are, their mode if not the source's, their time in nanoseconds.

    The image is our root directory: links in it that are followed do not lead out.
    """

    directory: int
    uid: int
    gid: int
    mode: int | None
    time: int


class _Visitor:
    """What is told of each entry, in the order of the bytes of their names."""

    def file(self, fd: int, name: str) -> None:
        raise NotImplementedError

    def link(self, text: str, name: str) -> None:
        raise NotImplementedError

    def enter(self, status: os.stat_result, name: str) -> None:
        raise NotImplementedError

    def leave(self) -> None:
        raise NotImplementedError


class _Digest(_Visitor):
    """Adds to a hash; each entry ends where its own length says."""

    def __init__(self, total: hashlib._Hash) -> None:
        self._total = total

    def file(self, fd: int, name: str) -> None:
        status = os.fstat(fd)
        content = hashlib.sha256()
        for block in _blocks(fd):
            content.update(block)
        self._say("file", name, oct(_mode(status)), content.hexdigest())

    def link(self, text: str, name: str) -> None:
        self._say("link", name, text)

    def enter(self, status: os.stat_result, name: str) -> None:
        self._say("enter", name, oct(_mode(status)))

    def leave(self) -> None:
        self._say("leave")

    def _say(self, *words: str) -> None:
        for word in words:
            raw = os.fsencode(word)
            self._total.update(b"%d:%b" % (len(raw), raw))


class _Copy(_Visitor):
    """Writes copies; a directory gets its attributes when all is in it."""

    def __init__(self, target: Target, name: str) -> None:
        self._target = target
        self._name = name
        self._open: list[tuple[int, str, int]] = [(target.directory, "", -1)]

    def file(self, fd: int, name: str) -> None:
        name = name or self._name
        directory = self._open[-1][0]
        _make_room(directory, name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(name, flags, 0o600, dir_fd=directory), "wb") as file:
            for block in _blocks(fd):
                file.write(block)
        self._finish(directory, name, _mode(os.fstat(fd)))

    def link(self, text: str, name: str) -> None:
        directory = self._open[-1][0]
        _make_room(directory, name)
        os.symlink(text, name, dir_fd=directory)
        self._finish(directory, name, None)

    def enter(self, status: os.stat_result, name: str) -> None:
        directory = self._open[-1][0]
        try:
            os.mkdir(name, 0o700, dir_fd=directory)
            mode = _mode(status)
        except FileExistsError:
            mode = -1
        # A link to a directory of the image is followed, as cp -rT does not but COPY does.
        inner = openat2(directory, name, _DIRECTORY, 0)
        self._open.append((inner, name, mode))

    def leave(self) -> None:
        inner, name, mode = self._open.pop()
        os.close(inner)
        if mode >= 0:
            self._finish(self._open[-1][0], name, mode)

    def _finish(self, directory: int, name: str, mode: int | None) -> None:
        target = self._target
        os.chown(name, target.uid, target.gid, dir_fd=directory, follow_symlinks=False)
        if mode is not None:
            # After the owner, because chown(2) takes the set-user-ID bit away.
            os.chmod(name, mode if target.mode is None else target.mode, dir_fd=directory)
        times = (target.time, target.time)
        os.utime(name, ns=times, dir_fd=directory, follow_symlinks=False)


def _mode(status: os.stat_result) -> int:
    return stat.S_IMODE(status.st_mode) & ~_UMASKED


def _blocks(fd: int) -> Iterator[bytes]:
    while block := os.read(fd, _BLOCK):
        yield block


def _make_room(directory: int, name: str) -> None:
    """A copy replaces what is there, a link included, which it does not follow."""
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        return
