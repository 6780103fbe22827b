"""What COPY, ADD and WORKDIR do to an image's files, done inside the image.

Each is a small object with an `act`, which runs in a process that has the image as its root, so
that links in the image lead where they lead in the image. What they write has the time of the step,
so that the layer that is made of it does not depend on when or where that was. A directory of the
image that something comes into changes its time with that, as the kernel has it, and gets the
step's as well.
"""

from __future__ import annotations

import os
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from nsbuild.build.context import Source, Target, Tree
from nsbuild.build.ignore import Ignore
from nsbuild.container.layers import new_overlay
from nsbuild.container.users import find_user
from nsbuild.determinism.clock import NSEC_PER_SEC
from nsbuild.errors import NsbuildError
from nsbuild.kernel.asroot import as_root
from nsbuild.kernel.mount import new_mount
from nsbuild.tuples import NamedTuple

_COARSE = 5
"""CLOCK_REALTIME_COARSE, which the kernel stamps files with (clock_gettime(2))."""


class Root(NamedTuple):
    """An image's files: unpacked layers, lowest first, and what takes the changes."""

    layers: tuple[str, ...]
    upper: str
    work: str

    def mount(self) -> int:
        """An overlay of them, detached: it is gone with the process."""
        paths = (self.upper, self.work, *reversed(self.layers))
        opened = [os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for path in paths]
        try:
            return new_overlay(*opened)
        finally:
            for fd in opened:
                os.close(fd)


class Change:
    """Something that changes the files; `moment` is the step's time, in seconds since 1970."""

    moment: int

    def describe(self) -> str:
        """What will be done, for --debug."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Open what is needed from outside of the image."""

    def act(self) -> None:
        """Do it, in the image."""
        raise NotImplementedError


class MakeWorkdir(Change):
    """WORKDIR makes the directory, and those above it, if they are not there."""

    def __init__(self, path: str, moment: int) -> None:
        self._path = path
        self.moment = moment

    def describe(self) -> str:
        return f"make the directory {self._path}"

    def act(self) -> None:
        make_directories(self._path, 0, 0)


class Origin(NamedTuple):
    """Where sources are: a directory outside with its `ignore`, or the layers of another image."""

    context: str = ""
    layers: tuple[str, ...] = ()
    ignore: Ignore = Ignore()

    def open(self) -> Tree:
        """Look into it; raises NsbuildError."""
        if self.layers:
            return Tree(_look_at(self.layers))
        try:
            top = os.open(self.context, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise NsbuildError.from_os(f"cannot use {self.context} as a context", error) from error
        return Tree(top, self.ignore)


def _look_at(layers: tuple[str, ...]) -> int:
    """An overlay of layers; what would be written to it is gone with the process."""
    nowhere = new_mount("tmpfs", {"mode": "0700"})
    for name in ("upper", "work"):
        os.mkdir(name, 0o700, dir_fd=nowhere)
    place = f"/proc/self/fd/{nowhere}"
    return Root(layers, f"{place}/upper", f"{place}/work").mount()


class Copy(Change):
    """COPY and ADD: what `patterns` name in `origin` to `target`, an absolute path in the image.

    A target with a slash at its end is a directory, whether it exists or not. `unpack` is for ADD,
    which extracts a local archive instead of copying it. `owner` is USER[:GROUP].
    """

    def __init__(
        self,
        origin: Origin,
        patterns: tuple[str, ...],
        target: str,
        moment: int,
        owner: str | None = None,
        mode: int | None = None,
        unpack: bool = False,
    ) -> None:
        self._origin = origin
        self._patterns = patterns
        self._target = target
        self._owner = owner
        self._mode = mode
        self._unpack = unpack
        self.moment = moment

    def describe(self) -> str:
        return f"copy {' '.join(self._patterns)} to {self._target}"

    def prepare(self) -> None:
        if self._unpack:
            # tarfile imports these when it needs them, and in the image there are none.
            import bz2  # noqa: F401
            import gzip  # noqa: F401
            import lzma  # noqa: F401
        self._tree = self._origin.open()
        self._sources = [found for pattern in self._patterns for found in self._tree.find(pattern)]

    def act(self) -> None:
        owner = find_user(self._owner)
        into = self._target.endswith("/") or len(self._sources) > 1
        for source in self._sources:
            archive = self._unpack and not source.is_directory and self._archive(source)
            if source.is_directory or archive or into or os.path.isdir(self._target):
                directory, name = self._target, os.path.basename(source.path)
            else:
                directory, name = os.path.split(self._target)
            make_directories(directory, owner.uid, owner.gid)
            if archive:
                self._extract(source, directory)
                continue
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                where = Target(fd, owner.uid, owner.gid, self._mode, self.moment * NSEC_PER_SEC)
                self._tree.copy(source, where, name)
            finally:
                os.close(fd)

    def _archive(self, source: Source) -> bool:
        with self._opened(source) as fd, os.fdopen(os.dup(fd), "rb") as file:
            # An empty file counts as an archive without members for tarfile.
            return bool(os.fstat(fd).st_size) and tarfile.is_tarfile(file)

    def _extract(self, source: Source, directory: str) -> None:
        with self._opened(source) as fd, os.fdopen(os.dup(fd), "rb") as file:
            try:
                with tarfile.open(fileobj=file) as archive:
                    # Modes and owners are the archive's; where links lead is the image's affair,
                    # which is our root directory. Old Pythons (3.11.2) know no filters.
                    trusted = getattr(tarfile, "fully_trusted_filter", None)
                    archive.extraction_filter = trusted
                    archive.extractall(directory, numeric_owner=True)
            except (tarfile.TarError, EOFError, OSError) as error:
                raise NsbuildError(f"cannot unpack {source.path}: {error}") from error

    @contextmanager
    def _opened(self, source: Source) -> Iterator[int]:
        fd = self._tree.open(source.path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            yield fd
        finally:
            os.close(fd)


def make_directories(path: str, uid: int, gid: int) -> None:
    """Make `path` and what is missing above it, for an owner; links in the image are followed."""
    made: list[str] = []
    while not os.path.isdir(path):
        if os.path.lexists(path):
            raise NsbuildError(f"cannot make {path}: a file of that name is in the image")
        made.append(path)
        path = os.path.dirname(path.rstrip("/"))
    for missing in reversed(made):
        os.mkdir(missing, 0o755)
        os.chmod(missing, 0o755)
        os.chown(missing, uid, gid)


def change(root: Root, what: Change) -> None:
    """Do `what` in the image `root`; raises NsbuildError."""
    began = time.clock_gettime_ns(_COARSE)

    def act() -> None:
        what.prepare()
        os.fchdir(root.mount())
        os.chroot(".")
        os.umask(0)
        what.act()

    as_root(act, mounts=True)
    # In the upper directory itself: through the overlay it would be copied up only to be stamped.
    as_root(lambda: _stamp(root.upper, began, what.moment))


def _stamp(upper: str, began: int, moment: int) -> None:
    """Give what was written since `began` the step's time, from the leaves up."""
    times = (moment * NSEC_PER_SEC, moment * NSEC_PER_SEC)
    for directory, names, files in os.walk(upper, topdown=False):
        for path in (os.path.join(directory, name) for name in (*files, *names)):
            if os.lstat(path).st_mtime_ns >= began:
                os.utime(path, ns=times, follow_symlinks=False)
    if os.lstat(upper).st_mtime_ns >= began:
        os.utime(upper, ns=times)
