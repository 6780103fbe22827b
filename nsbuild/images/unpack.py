"""From a layer's archive to a directory that overlayfs takes as a lower one.

Whoever made the archive may want to write elsewhere. So every name is walked part by part from the
tree's own descriptor, no part may be a symbolic link, and nothing that is there is replaced: an
entry that comes twice is refused unless it is a directory both times. A hard link's target is
walked in the same way. Symbolic links may say what they like, because nobody here follows them.

A whiteout of OCI (`.wh.NAME`) becomes one of overlayfs, a character device 0:0, which everybody may
make since Linux 5.8. `.wh..wh..opq` becomes the attribute user.overlay.opaque, which is what
overlayfs looks at when it is mounted in a user namespace with `userxattr`. Whiteouts are about the
layers below, whatever comes first in the archive (https://github.com/opencontainers/image-spec,
layer.md), so they are made last. Attributes of overlayfs that stand in an archive would be believed
by the kernel (a `redirect` shows another directory), so they are left out.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import tarfile
from collections import OrderedDict
from collections.abc import Iterator

from nsbuild.errors import NsbuildError
from nsbuild.images.streams import CHUNK, LayerStream, members
from nsbuild.tuples import NamedTuple

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
_AUFS = ".wh..wh."
"""What else begins so is aufs's own business."""
OPAQUE_ATTRIBUTE = "user.overlay.opaque"
OVERLAY_ATTRIBUTES = ("user.overlay.", "trusted.overlay.")
_XATTR = "SCHILY.xattr."
_OPEN_DIRECTORIES = 128
_DEEPEST = 400
_NO_ID = (1 << 32) - 1
"""What chown(2) takes for `leave it`."""
_LATEST = 1 << 34
"""Seconds; what ext4 and XFS can hold."""
_SECONDS = re.compile(r"(-?\d{1,12})(?:\.(\d{1,9})\d*)?")
_NO_ATTRIBUTE = (errno.EPERM, errno.ENOTSUP, errno.EINVAL, errno.EACCES)
"""setxattr(2) for a name that is not for us to give, or that the file system does not have."""


class Notes(NamedTuple):
    """What became of it: entries, and how many devices and attributes had to be left out."""

    entries: int = 0
    devices: int = 0
    attributes: int = 0


def unpack(stream: LayerStream, tree: str, what: str) -> Notes:
    """Unpack the archive into the empty directory `tree`; `what` names it in errors.

    The caller may give files to their owners: it is root, of a user namespace perhaps.
    Raises NsbuildError; the tree is then good for nothing.
    """
    top = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    unpacking = _Unpacking(stream, top, what)
    try:
        for archive, member in members(stream, what):
            unpacking.add(archive, member)
        return unpacking.finish()
    except tarfile.TarError as error:
        raise NsbuildError(f"{what} is damaged: {error}") from error
    finally:
        unpacking.close()
        os.close(top)


def inner_path(name: str, what: str) -> str:
    """`name` as a path in the tree, "" for its top; raises NsbuildError where it would leave it.

    A / in front means the tree's top.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise NsbuildError(f"{what} is refused: {_shown(name)} leads out of it")
    if len(parts) > _DEEPEST:
        raise NsbuildError(f"{what} is refused: {_shown(name)} lies too deep")
    return "/".join(parts)


def _shown(name: str) -> str:
    return ascii(name if len(name) < 200 else f"{name[:200]}...")


class _Unpacking:
    """One archive on its way into the directory `top`."""

    def __init__(self, stream: LayerStream, top: int, what: str) -> None:
        self._stream = stream
        self._top = top
        self._what = what
        self._open: OrderedDict[str, int] = OrderedDict()
        self._times = {"": 0}
        self._whiteouts: list[str] = []
        self._opaque: list[str] = []
        self._notes = Notes()

    def close(self) -> None:
        """Let the directories go."""
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()

    def add(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """Make what an entry says."""
        path = inner_path(member.name, self._what)
        if not all(0 <= number < _NO_ID for number in (member.uid, member.gid)) or member.size < 0:
            raise self._refused(member.name, "has an owner or a size that cannot be")
        self._notes = self._notes._replace(entries=self._notes.entries + 1)
        try:
            self._add(archive, member, path)
        except OSError as error:
            raise self._failed(member, error) from error
        except (OverflowError, ValueError) as error:
            raise self._refused(
                member.name, f"has a number that makes no sense: {error}"
            ) from error

    def _failed(self, member: tarfile.TarInfo, error: OSError) -> NsbuildError:
        if error.errno == errno.EEXIST:
            return self._refused(member.name, "comes twice")
        hint = ""
        if error.errno == errno.EINVAL:
            hint = (
                f"owner {member.uid}:{member.gid} may have no number here; give yourself "
                "ranges in /etc/subuid and /etc/subgid, and install newuidmap"
            )
        return NsbuildError.from_os(
            f"cannot unpack {_shown(member.name)} of {self._what}", error, hint
        )

    def _refused(self, name: str, why: str) -> NsbuildError:
        return NsbuildError(f"{self._what} is refused: {_shown(name)} {why}")

    def _add(self, archive: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
        parent, name = os.path.split(path)
        if not name:
            if not member.isdir():
                raise self._refused(member.name, "is the top and no directory")
            return self._directory_entry(member, path)
        if name.startswith(WHITEOUT):
            return self._remember_whiteout(member, parent, name)
        if member.isdir():
            return self._directory_entry(member, path)
        there = self._directory(parent)
        if member.islnk():
            return self._link(member, there, name)
        if member.issym():
            os.symlink(member.linkname, name, dir_fd=there)
        elif member.isreg():
            return self._file(archive, member, there, name)
        elif not self._node(member, there, name):
            return None
        return self._attributes(member, there, name)

    def _directory(self, path: str) -> int:
        """A descriptor of the directory `path`, which is made where it is missing."""
        if not path:
            return self._top
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        parts = path.split("/")
        place = next(
            (n for n in range(len(parts) - 1, 0, -1) if "/".join(parts[:n]) in self._open), 0
        )
        fd = self._open["/".join(parts[:place])] if place else self._top
        for n in range(place, len(parts)):
            fd = self._enter(fd, parts[n], "/".join(parts[: n + 1]))
        while len(self._open) > _OPEN_DIRECTORIES:
            oldest, unused = self._open.popitem(last=False)
            if oldest == path:
                raise AssertionError(path)
            os.close(unused)
        return fd

    def _enter(self, there: int, name: str, path: str) -> int:
        """Open the directory `name` in `there`, or make it; its whole path is `path`."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=there)
            os.chmod(name, 0o755, dir_fd=there)
            self._times[path] = 0
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(name, flags, dir_fd=there)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            raise self._refused(path, "is no directory, and is used as one") from None
        self._open[path] = fd
        return fd

    def _directory_entry(self, member: tarfile.TarInfo, path: str) -> None:
        fd = self._directory(path)
        os.fchown(fd, member.uid, member.gid)
        self._extended(member, fd)
        os.fchmod(fd, member.mode & 0o7777)
        self._times[path] = nanoseconds(member)

    def _file(
        self, archive: tarfile.TarFile, member: tarfile.TarInfo, there: int, name: str
    ) -> None:
        source = archive.extractfile(member)
        assert source is not None
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=there)
        try:
            left = member.size
            while left > 0:
                data = source.read(min(left, CHUNK))
                if not data:
                    raise NsbuildError(f"{self._what} is damaged: unexpected end of data")
                left -= len(data)
                _write(fd, data)
                if member.issparse():
                    # What fills its holes is not in the archive.
                    self._stream.spend(len(data))
            os.ftruncate(fd, member.size)
            # In this order: chown(2) takes set-ID bits and capabilities away.
            os.fchown(fd, member.uid, member.gid)
            self._extended(member, fd)
            os.fchmod(fd, member.mode & 0o7777)
            os.utime(fd, ns=(nanoseconds(member),) * 2)
        finally:
            os.close(fd)

    def _link(self, member: tarfile.TarInfo, there: int, name: str) -> None:
        parent, target = os.path.split(inner_path(member.linkname, self._what))
        if not target:
            raise self._refused(member.name, "is a hard link to the top")
        # Held, because opening the other may close it.
        held = os.dup(there)
        try:
            source = self._directory(parent)
            os.link(target, name, src_dir_fd=source, dst_dir_fd=held, follow_symlinks=False)
        except (FileNotFoundError, PermissionError) as error:
            why = f"is a hard link to {_shown(member.linkname)}, which is no file of this layer"
            raise self._refused(member.name, why) from error
        finally:
            os.close(held)

    def _node(self, member: tarfile.TarInfo, there: int, name: str) -> bool:
        """Make a device or a FIFO; False where we may not."""
        if member.isfifo():
            os.mkfifo(name, 0o600, dir_fd=there)
            return True
        if not (member.ischr() or member.isblk()):
            raise self._refused(member.name, f"is of the unknown type {member.type!r}")
        kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
        if member.ischr() and member.devmajor == member.devminor == 0:
            raise self._refused(member.name, "is device 0:0, which would hide a file")
        device = os.makedev(member.devmajor, member.devminor)
        try:
            os.mknod(name, kind | 0o600, device, dir_fd=there)
        except PermissionError:
            # The initial user namespace's root alone may; the container has a /dev of its own.
            self._notes = self._notes._replace(devices=self._notes.devices + 1)
            return False
        return True

    def _attributes(self, member: tarfile.TarInfo, there: int, name: str) -> None:
        """Owner, mode and time of what is not to be opened."""
        os.chown(name, member.uid, member.gid, dir_fd=there, follow_symlinks=False)
        if not member.issym():
            os.chmod(name, member.mode & 0o7777, dir_fd=there)
        times = (nanoseconds(member),) * 2
        os.utime(name, ns=times, dir_fd=there, follow_symlinks=False)

    def _extended(self, member: tarfile.TarInfo, fd: int) -> None:
        for name, value in xattrs_of(member):
            try:
                os.setxattr(fd, name, value)
            except OSError as error:
                if error.errno not in _NO_ATTRIBUTE:
                    raise
                self._notes = self._notes._replace(attributes=self._notes.attributes + 1)

    def _remember_whiteout(self, member: tarfile.TarInfo, parent: str, name: str) -> None:
        if name == OPAQUE:
            self._opaque.append(parent)
        elif not name.startswith(_AUFS):
            hidden = name.removeprefix(WHITEOUT)
            if hidden in ("", ".", ".."):
                raise self._refused(member.name, "hides what has no name")
            self._whiteouts.append(f"{parent}/{hidden}".lstrip("/"))

    def finish(self) -> Notes:
        """Make the whiteouts, and give the directories their times."""
        try:
            for path in self._whiteouts:
                self._hide(path)
            for path in self._opaque:
                self._make_opaque(self._directory(path))
            for path, time in self._times.items():
                os.utime(self._directory(path), ns=(time, time))
        except OSError as error:
            raise NsbuildError.from_os(f"cannot unpack {self._what}", error) from error
        return self._notes

    def _hide(self, path: str) -> None:
        parent, name = os.path.split(path)
        there = self._directory(parent)
        try:
            os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=there)
        except FileExistsError:
            if stat.S_ISDIR(os.lstat(name, dir_fd=there).st_mode):
                self._make_opaque(self._directory(path))

    def _make_opaque(self, fd: int) -> None:
        os.setxattr(fd, OPAQUE_ATTRIBUTE, b"y")


def xattrs_of(member: tarfile.TarInfo) -> Iterator[tuple[str, bytes]]:
    """The extended attributes of an entry, without those of overlayfs."""
    for key, value in member.pax_headers.items():
        name = key.removeprefix(_XATTR)
        if name != key and not name.startswith(OVERLAY_ATTRIBUTES):
            yield name, value.encode("utf-8", "surrogateescape")


def nanoseconds(member: tarfile.TarInfo) -> int:
    """When it was changed; the header's text, because a float has too few digits."""
    found = _SECONDS.fullmatch(member.pax_headers.get("mtime", ""))
    if found is None:
        seconds, fraction = int(member.mtime), 0
    else:
        seconds, fraction = int(found[1]), int((found[2] or "").ljust(9, "0"))
        fraction = -fraction if found[1].startswith("-") else fraction
    return max(-_LATEST, min(seconds, _LATEST)) * 1_000_000_000 + fraction


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
