"""A root of layers: an overlay of read-only directories, and one that takes what is written.

The overlay is mounted by the container's init in its own user and mount namespace, so nothing of it
is left when the container ends but the upper directory. There overlayfs keeps what it has to know
in user.* attributes (`userxattr`), because trusted.* ones are for the host's root alone; whoever
unpacks layers for it writes those too.
"""

from __future__ import annotations

import errno
import os
import stat

from nsbuild.container.hostroot import copy_attributes
from nsbuild.container.hostview import Host
from nsbuild.container.inside import Rootfs, attach_on_host, make_inside
from nsbuild.container.operations import Operation
from nsbuild.errors import NsbuildError
from nsbuild.kernel.mount import Options, new_mount

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_LONGEST_OPTION = 255
"""fsconfig(2) takes strings of 256 bytes, the last one 0 (fs/fsopen.c). Some sixty layers fit into
one; more are given one by one, as Linux takes them since 6.8 (filesystems/overlayfs.rst)."""
_MOST_LAYERS = 500
"""OVL_MAX_STACK of fs/overlayfs/params.c."""
_MAKE_ONE = "`nsbuild export` and `nsbuild import` make one layer of a container"


class LayersRoot(Operation):
    """Mount an overlay of the host's directories `layers`, lowest first, as the root.

    Writes go to `upper`; `work` is overlayfs's own, an empty directory on the same file system.
    """

    __slots__ = ("layers", "upper", "work")

    def __init__(self, root: Rootfs, layers: tuple[str, ...], upper: str, work: str) -> None:
        super().__init__(root)
        self.layers = layers
        self.upper = upper
        self.work = work

    def describe(self) -> str:
        return f"mount an overlay of {len(self.layers)} layers and {self.upper} as the root"

    def act(self) -> None:
        tree = self._overlay()
        attach_on_host(tree, "root", self.root.staging_fd)
        self.root.root_fd = tree

    def _overlay(self) -> int:
        opened: list[int] = []
        try:
            opened.extend(
                os.open(path, _DIRECTORY) for path in (self.upper, self.work, *self.layers[::-1])
            )
            return new_overlay(*opened)
        finally:
            for fd in opened:
                os.close(fd)

    def hint(self, error: OSError) -> str:
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
            return (
                f"overlayfs must be able to write to {self.upper}: ext4, xfs, btrfs and, from "
                "Linux 6.6 on, tmpfs will do; another overlay will not"
            )
        return ""


class KeepApart(Operation):
    """Show what the root has at `path`, with writes going to the host's directory `place`.

    So are the volumes that an image declares: what is written there is no part of the root.
    """

    __slots__ = ("path", "place")

    def __init__(self, root: Rootfs, path: str, place: str) -> None:
        super().__init__(root)
        self.path = path
        self.place = place

    def describe(self) -> str:
        return f"mount an overlay of {self.place} over {self.path}"

    def act(self) -> None:
        opened: list[int] = []
        try:
            opened.extend(
                os.open(os.path.join(self.place, name), _DIRECTORY) for name in ("upper", "work")
            )
            try:
                opened.append(self.root.open(self.path))
            except FileNotFoundError:
                opened.append(make_inside(self.root.root_fd, self.path, "directory"))
            tree = new_overlay(*opened)
            try:
                self.root.attach(tree, self.path)
            finally:
                os.close(tree)
        finally:
            for fd in opened:
                os.close(fd)


class MakeWorkdir(Operation):
    """Make the working directory that an image declares where it is missing, parents included."""

    __slots__ = ("path",)

    def __init__(self, root: Rootfs, path: str) -> None:
        super().__init__(root)
        self.path = path

    def describe(self) -> str:
        return f"make the working directory {self.path}"

    def act(self) -> None:
        os.close(make_inside(self.root.root_fd, self.path, "directory"))


def new_overlay(upper: int, work: int, *lower: int) -> int:
    """A detached overlay mount of open directories, the topmost of `lower` first."""
    _like_lower(lower[0], upper)
    return _mount(lower, {"upperdir": str(upper), "workdir": str(work)})


def read_only_overlay(*lower: int) -> int:
    """The same of `lower` alone, two or more."""
    return _mount(lower, {})


def _mount(lower: tuple[int, ...], more: dict[str, str]) -> int:
    # Relative names need none of overlayfs's escapes, and show no path of the host's in the mount
    # table.
    if len(lower) > _MOST_LAYERS:
        raise NsbuildError(
            f"cannot mount an overlay of {len(lower)} layers: overlayfs has {_MOST_LAYERS} at most",
            _MAKE_ONE,
        )
    names = tuple(map(str, lower))
    joined = ":".join(names)
    options: Options = {"lowerdir": joined, **more, "userxattr": None}
    if len(joined) > _LONGEST_OPTION:
        options = {"lowerdir+": names, **more, "userxattr": None}
    before = os.open(".", os.O_PATH | os.O_CLOEXEC)
    try:
        os.chdir("/proc/self/fd")
        return new_mount("overlay", options)
    except OSError as error:
        if error.errno == errno.EINVAL and (error.filename or "").startswith("lowerdir+"):
            raise NsbuildError(
                f"cannot mount an overlay of {len(lower)} layers: this kernel takes some sixty",
                f"Linux 6.8 takes {_MOST_LAYERS}; {_MAKE_ONE}",
            ) from error
        raise
    finally:
        try:
            os.fchdir(before)
        except PermissionError:
            # As another user than the one who is there.
            os.chdir("/")
        os.close(before)


def _like_lower(lower: int, upper: int) -> None:
    """Give a fresh upper directory, which is what the mount shows, the attributes of the lower."""
    above, below = os.stat(upper), os.stat(lower)
    private = stat.S_IMODE(above.st_mode) == 0o700
    foreign = (above.st_uid, above.st_gid) != (below.st_uid, below.st_gid)
    if (private or foreign) and not os.listdir(f"/proc/self/fd/{upper}"):
        copy_attributes(below, ".", upper)


class Layered(Host):
    """The host, on which a path below `upper` is looked for in all `layers`, as the overlay will.

    What a layer takes away is not taken into account: this is for what is optional.
    """

    def __init__(self, layers: tuple[str, ...], upper: str) -> None:
        self._upper = upper
        self._places = (upper, *reversed(layers))

    def kind(self, path: str) -> str:
        inside = path.removeprefix(self._upper)
        if inside == path:
            return super().kind(path)
        return next(filter(None, (super(Layered, self).kind(p + inside) for p in self._places)), "")

    def link(self, path: str) -> str:
        inside = path.removeprefix(self._upper)
        places = self._places if inside != path else ("",)
        return os.readlink(next(p + inside for p in places if os.path.islink(p + inside)))


def check_layers(layers: tuple[str, ...], upper: str, work: str) -> None:
    """NsbuildError unless all of them are directories that we may enter."""
    for path in (*layers, upper, work):
        try:
            Host().check_directory(path)
        except OSError as error:
            raise NsbuildError.from_os(f"cannot use {path!r} as a layer", error) from error
