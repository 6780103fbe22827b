"""The directory in which a store lies: its lock, what is being made in it, and its rubbish.

    oci-layout  index.json  blobs/sha256/   an OCI image layout, as other tools read it
    layers/DIFFID/tree/                     what is in a layer, unpacked
    pins/USER                               the id of the image that USER needs: a container, or
                                            as NAME.NUMBER the workshop tmp/NAME
    tmp/NAME/                               of one writer, who holds a lock (flock(2)) on it
    lock                                    shared for reading, exclusive for changing anything

Whoever makes something makes it in a directory of its own below tmp/ and moves it to its place,
complete and on the disk, in one short moment under the exclusive lock. A process that is killed
leaves a directory in tmp/ whose lock nobody holds, and perhaps blobs and layers that no image has.
The next one to change something removes both.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator

from nsbuild.errors import NsbuildError
from nsbuild.kernel.files import syncfs

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}\n'
DIRECTORIES = ("blobs/sha256", "layers", "pins", "tmp")


class Place:
    """The directory `path`; it is made when something is first written."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)

    def at(self, *parts: str) -> str:
        """A path in it."""
        return os.path.join(self.path, *parts)

    def exists(self) -> bool:
        """Whether it has been made; raises NsbuildError where it is not ours to use."""
        try:
            status = os.stat(self.path)
            if status.st_uid != os.geteuid():
                raise NsbuildError(
                    f"the store {self.path} belongs to user {status.st_uid}",
                    "name another one by NSBUILD_STORE",
                )
            os.stat(self.at("oci-layout"))
        except FileNotFoundError:
            return False
        except OSError as error:
            raise NsbuildError.from_os(f"cannot use the store {self.path}", error) from error
        return True

    def make(self) -> None:
        """Make what is missing of it."""
        if self.exists():
            return
        try:
            # For nobody else: there are programs with set-ID bits in images, and devices.
            os.makedirs(self.path, 0o700, exist_ok=True)
            with self.locked(exclusive=True):
                for name in DIRECTORIES:
                    os.makedirs(self.at(name), 0o700, exist_ok=True)
                # Last, because it is what says that the rest is there.
                replace(self.at("oci-layout"), LAYOUT, self.at("tmp"))
        except OSError as error:
            raise NsbuildError.from_os(f"cannot make the store {self.path}", error) from error

    @contextlib.contextmanager
    def locked(self, exclusive: bool) -> Iterator[None]:
        """Hold the lock; it is waited for."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(self.at("lock"), flags, 0o600)
        except OSError as error:
            raise NsbuildError.from_os(f"cannot lock the store {self.path}", error) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
            yield
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def workshop(self) -> Iterator[Workshop]:
        """A directory below tmp/ for one writer, which is removed in the end."""
        shop = Workshop(self)
        try:
            yield shop
        finally:
            shop.close()

    def sync(self) -> None:
        """Have on the disk what was written: all at once, as a layer has thousands of files."""
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            syncfs(fd)
        finally:
            os.close(fd)

    def discard(self, path: str) -> None:
        """Take `path` out of the store. The caller holds the exclusive lock, and sweeps later."""
        os.rename(path, self.at("tmp", f"dead-{os.urandom(8).hex()}"))

    def sweep(self) -> None:
        """Remove what nobody works on any more. The caller does not hold the lock.

        A workshop is locked before anybody else can look, because it is made under the shared lock.
        """
        with self.locked(exclusive=True):
            dead = [name for name in os.listdir(self.at("tmp")) if self._is_dead(name)]
            for name in dead:
                if not name.startswith("dead-"):
                    # Its owner may have removed it when we had opened it, which gave us its lock.
                    with contextlib.suppress(FileNotFoundError):
                        self.discard(self.at("tmp", name))
        # Not under the lock, as it may be long; who else does the same is welcome.
        for name in os.listdir(self.at("tmp")):
            if name.startswith("dead-"):
                remove_tree(self.at("tmp", name))

    def works(self, name: str) -> bool:
        """Whether somebody works in the workshop called `name`."""
        return os.path.exists(self.at("tmp", name)) and not self._is_dead(name)

    def _is_dead(self, name: str) -> bool:
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            fd = os.open(self.at("tmp", name), flags)
        except FileNotFoundError:
            return False
        except OSError as error:
            return error.errno == errno.ELOOP
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(fd)
        return True


WORKSHOP = "work-"
"""What the name of a workshop begins with."""


class Workshop:
    """A directory for what one writer makes; `fd`, which programs may inherit, keeps it."""

    def __init__(self, place: Place) -> None:
        place.make()
        with place.locked(exclusive=False):
            self.path = place.at("tmp", f"work-{os.urandom(8).hex()}")
            try:
                os.mkdir(self.path, 0o700)
            except OSError as error:
                raise NsbuildError.from_os(
                    f"cannot write to the store {place.path}", error
                ) from error
            self.fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self.fd, fcntl.LOCK_EX)

    @property
    def name(self) -> str:
        """What it is called below tmp/."""
        return os.path.basename(self.path)

    def at(self, *parts: str) -> str:
        """A path in it."""
        return os.path.join(self.path, *parts)

    def close(self) -> None:
        """Remove it."""
        if self.fd >= 0:
            remove_tree(self.path)
            os.close(self.fd)
            self.fd = -1


def remove_tree(path: str) -> None:
    """Remove `path` and all in it, whoever it belongs to; somebody else may be doing the same."""

    def work() -> None:
        try:
            _remove(path, None)
        except OSError as error:
            raise NsbuildError.from_os(f"cannot remove {path}", error) from error

    if os.geteuid() and _plain(path):
        work()
        return
    from nsbuild.kernel.asroot import as_root

    as_root(work)


def _remove(name: str, there: int | None) -> None:
    """Remove `name`, in the directory `there`; what is gone already is as good."""
    with contextlib.suppress(FileNotFoundError):
        try:
            os.unlink(name, dir_fd=there)
            return
        except IsADirectoryError:
            pass
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, dir_fd=there)
        try:
            for inner in os.listdir(fd):
                _remove(inner, fd)
        finally:
            os.close(fd)
        os.rmdir(name, dir_fd=there)


def _plain(path: str) -> bool:
    """Whether nothing unpacked is in `path`, so that no user namespace is needed to remove it."""
    return all("tree" not in directories for _, directories, _ in os.walk(path))


def replace(path: str, data: bytes, through: str) -> None:
    """Have `data` in the file `path`, all of it or what was there; half done it is in `through`.

    The caller holds the exclusive lock.
    """
    new = os.path.join(through, f"new-{os.urandom(8).hex()}")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(fd)
    os.rename(new, path)
    sync_directory(os.path.dirname(path))


def sync_directory(path: str) -> None:
    """Have what was renamed or made in it on the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
