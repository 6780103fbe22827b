"""Where a path leads for the process that gave it: its root, its directories, its rights.

The supervisor has entered the container's mount namespace, with the container's root as its own and
the host's /proc as its working directory. So an absolute path of an ordinary guest process is right
as it is, and a relative one is right behind the guest's own magic link, `TID/cwd/` or `TID/fd/N/`.
A process with another root, another mount namespace or fewer rights has a `Place`, which the
supervisor takes on for the length of one call. All of this concerns the supervisor's only thread.

Performance contract: for a plain process a look-up costs one formatting of the path besides what is
done with it. Places are worked out once a process and remembered until a call that changes them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import prctl

from nsbuild.kernel.files import (
    AT_FDCWD,
    AT_SYMLINK_NOFOLLOW,
    PATH_MAX,
    exists,
    set_fs_ids,
    setns,
    statx,
)
from nsbuild.kernel.namespaces import CLONE_NEWNS
from nsbuild.kernel.process import read_small, read_whole, status_fields
from nsbuild.tuples import NamedTuple

from .innerroot import Ids, InnerRoot
from .listener import Call
from .processes import Process
from .selflinks import Self, without_self

Act = Callable[[bytes, int], int]
"""What is done at a place, with all our rights: (path, flags) -> 0 or an errno.

The path is one of ours, relative to our working directory; flags are 0 or AT_SYMLINK_NOFOLLOW.
"""

_DAC = 1 << 1 | 1 << 2
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH (linux/capability.h)."""
_ROOM = PATH_MAX - 64
"""Longer paths have no room for a prefix."""
_TO_PROC = (b"proc", b"dev/", b"self")
"""One of these is in every path to a link of /proc, except through a link at the path's end."""
_LINK_OF = re.compile(rb"(/proc/[0-9]+)/(?:task/[0-9]+/)?(?:cwd|root|exe|ns/\w+)(?=/|$)")
"""A link of a process in /proc which only those may follow who could trace that."""


class Place(NamedTuple):
    """From where and as whom a process looks; whether from a mount namespace or a root of its own.

    Descriptors of these are not kept: they would keep file systems busy that the guest unmounts.
    `dac` tells whether it may read whatever it likes (CAP_DAC_READ_SEARCH); `ids` how it sees ids,
    None in the container's own user namespace. `over` is root of another one, who may read
    whatever belongs there.
    """

    mount_namespace: bool
    root: bool
    uid: int
    gid: int
    groups: tuple[int, ...]
    dac: bool
    ids: Ids | None = None
    over: bool = False


PLAIN = Place(False, False, 0, 0, (), True)
"""The container's own root directory and all rights: most of what a build does."""
ROOTED = PLAIN._replace(root=True)
"""All rights in another root directory (chroot(2)): what is done in a root that is being made."""


class Places:
    """Finds and takes on the places of processes.

    `users` is the inode of the container's user namespace, whose root may do as it likes.
    """

    def __init__(self, users: int) -> None:
        self._namespace = os.open("self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        self._users = users
        self._host_proc = os.open(".", os.O_PATH | os.O_CLOEXEC)
        self._root = os.open("/", os.O_PATH | os.O_CLOEXEC)
        self._root_key = _root_key(b"/")
        self._groups = os.getgroups()

    def at(
        self, call: Call, process: Process, dirfd: int, path: bytes, flags: int, act: Act
    ) -> int:
        """Do `act` where `path`, not empty, leads from `dirfd`; returns what it returns, or EBADF.

        `dirfd` is an int of the guest's, perhaps AT_FDCWD; `flags` 0 or AT_SYMLINK_NOFOLLOW.
        """
        place = process.place
        if place is None:
            place = self._place_of(call, process)
        if place is not PLAIN or len(path) > _ROOM:
            link = _LINK_OF.match(path) if place.uid else None
            followed = link is not None and not (flags and link.end() == len(path))
            if link is not None and followed and not _may_follow(place, link[1]):
                return errno.EACCES
            result = self._elsewhere(place, call.tid, dirfd, path, flags, act)
        elif path[0] == 0x2F:
            result = act(path, flags)
        elif dirfd == AT_FDCWD:
            result = act(b"%d/cwd/%b" % (call.tid, path), flags)
        else:
            result = act(b"%d/fd/%d/%b" % (call.tid, dirfd, path), flags)
        if not result:
            return 0
        if result == errno.ENOENT:
            return self._absent(place, call, process, dirfd, path, flags, act)
        if result == errno.ELOOP and place is PLAIN:
            # Our prefix is a symbolic link more than the guest has used.
            return self._elsewhere(place, call.tid, dirfd, path, flags, act)
        return result

    def of_fd(self, call: Call, fd: int, act: Act) -> int:
        """Do `act` with what the guest's descriptor `fd` stands for, or EBADF."""
        if fd < 0:
            return errno.EBADF
        link = b"%d/fd/%d" % (call.tid, fd)
        result = act(link, 0)
        return errno.EBADF if result == errno.ENOENT and not exists(link) else result

    @contextmanager
    def taken(self, call: Call, process: Process, path: bytes, flags: int) -> Iterator[int]:
        """An O_PATH descriptor of where `path` leads, while we are at the caller's place.

        `flags` of open(2); raises OSError. For what only works in the caller's mount namespace.
        """
        place = process.place
        if place is None:
            place = self._place_of(call, process)
        with _opened(call.tid, AT_FDCWD, path) as base:
            if base < 0 and base != AT_FDCWD:
                raise OSError(-base, os.strerror(-base))
            with self._taken(place, call.tid):
                fd = _open(place, path, os.O_PATH | os.O_CLOEXEC | flags, base)
                try:
                    yield fd
                finally:
                    os.close(fd)

    @contextmanager
    def mounts_of(self, tid: int) -> Iterator[None]:
        """Be where the mounts of thread `tid` are, at their root and with all our rights."""
        if os.stat(f"{tid}/ns/mnt").st_ino == os.fstat(self._namespace).st_ino:
            yield
            return
        with ExitStack() as opened:
            theirs, ours, root = (
                os.open(path, flags | os.O_CLOEXEC)
                for path, flags in ((f"{tid}/ns/mnt", 0), ("self/ns/mnt", 0), ("/", os.O_PATH))
            )
            for fd in (theirs, ours, root):
                opened.callback(os.close, fd)
            try:
                # This makes the root of the namespace ours, and the working directory.
                setns(theirs, CLONE_NEWNS)
                os.fchdir(self._host_proc)
                yield
            finally:
                setns(ours, CLONE_NEWNS)
                os.fchdir(root)
                os.chroot(".")
                os.fchdir(self._host_proc)

    def mount_table(self, tid: int) -> bytes:
        """The mountinfo of the namespace of thread `tid`, whatever its own root is."""
        try:
            with self.mounts_of(tid):
                return read_whole(b"self/mountinfo")
        except OSError:
            return b""

    def ids(self, call: Call, process: Process) -> Ids | None:
        """How the caller sees user and group ids; None if as we do."""
        place = process.place
        if place is PLAIN:
            return None
        return (self._place_of(call, process) if place is None else place).ids

    def _absent(
        self,
        place: Place,
        call: Call,
        process: Process,
        dirfd: int,
        path: bytes,
        flags: int,
        act: Act,
    ) -> int:
        """ENOENT, unless only we, who are not in the guest's /proc, do not find the path."""
        absolute = path[0] == 0x2F
        if not absolute and dirfd != AT_FDCWD and not exists(_base(call.tid, dirfd)):
            return errno.EBADF
        if place is PLAIN and not any(word in path for word in _TO_PROC):
            # Then only a symbolic link at the end could still lead to one.
            ours = path if absolute else b"%b/%b" % (_base(call.tid, dirfd), path)
            if flags or isinstance(statx(AT_FDCWD, ours.rstrip(b"/"), AT_SYMLINK_NOFOLLOW), int):
                return errno.ENOENT
        with _opened(call.tid, dirfd, path) as base:
            if base < 0 and base != AT_FDCWD:
                return -base
            return self._by_self(place, Self(call, process), base, path, flags, act)

    def _by_self(
        self, place: Place, own: Self, base: int, path: bytes, flags: int, act: Act
    ) -> int:
        """Do `act` where `path`, which we do not find from `base`, leads through /proc's "self"."""
        with self._taken(place, own.tid):
            try:
                other = without_self(base, path, flags, own)
            except OSError as error:
                return error.errno or errno.ENOENT
        if other is None:
            return errno.ENOENT
        link, rest, directory = other
        if not link:
            return self._from(place, own.tid, base, rest, flags, act)
        # A link of the caller's own /proc/PID, which the kernel follows for it, whatever its rights
        # are; we follow it with ours.
        if not rest and flags:
            return self._link_itself(place, own.tid, base, directory, link, act)
        if not rest:
            return act(link, 0)
        try:
            base = os.open(link, os.O_PATH | os.O_CLOEXEC)
        except OSError as error:
            return error.errno or errno.ENOENT
        try:
            result = self._from(place, own.tid, base, rest, flags, act)
            if result == errno.ENOENT and own.again():
                result = self._by_self(place, own, base, rest, flags, act)
            return result
        finally:
            os.close(base)

    def _link_itself(
        self, place: Place, tid: int, base: int, directory: bytes, link: bytes, act: Act
    ) -> int:
        """Do `act` with a link of the caller's `directory` in its /proc, not with ours of the same.

        Ours has another number. Only we, who may do all, and the caller itself may look into fd.
        """
        name = link.partition(b"/")[2]
        return self._from(
            place,
            tid,
            base,
            directory,
            0,
            lambda where, _: act(where + b"/" + name, AT_SYMLINK_NOFOLLOW),
        )

    def _elsewhere(
        self, place: Place, tid: int, dirfd: int, path: bytes, flags: int, act: Act
    ) -> int:
        """Find `path` with the rights and from the root of `place`, then `act` with our own."""
        # The base is opened with our own rights: the guest has it open, however it came to that.
        with _opened(tid, dirfd, path) as base:
            if base < 0 and base != AT_FDCWD:
                return -base
            return self._from(place, tid, base, path, flags, act)

    def _from(self, place: Place, tid: int, base: int, path: bytes, flags: int, act: Act) -> int:
        """The same from a descriptor of ours, or AT_FDCWD."""
        nofollow = os.O_NOFOLLOW if flags else 0
        with self._taken(place, tid):
            try:
                found = _open(place, path, os.O_PATH | os.O_CLOEXEC | nofollow, base)
            except OSError as error:
                return error.errno or errno.ENOENT
        try:
            return act(b"self/fd/%d" % found, 0)
        finally:
            os.close(found)

    @contextmanager
    def _taken(self, place: Place, tid: int) -> Iterator[None]:
        if place is PLAIN:
            yield
            return
        try:
            self._enter(place, tid)
            yield
        finally:
            self._leave(place)

    def _enter(self, place: Place, tid: int) -> None:
        if place.root:
            # Both are opened in our own /proc, before we see another; whoever is gone meanwhile
            # gets no answer, whatever we find.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError), ExitStack() as opened:
                root = os.open(f"{tid}/root", os.O_PATH | os.O_CLOEXEC)
                opened.callback(os.close, root)
                if place.mount_namespace:
                    namespace = os.open(f"{tid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
                    opened.callback(os.close, namespace)
                    setns(namespace, CLONE_NEWNS)
                os.fchdir(root)
                os.chroot(".")
                os.fchdir(self._host_proc)
        if place.uid or place.gid or place.groups:
            with contextlib.suppress(PermissionError):
                # A namespace with a single group has no others to take on (user_namespaces(7)).
                os.setgroups(place.groups)
            set_fs_ids(place.uid, place.gid)
        if not place.dac and not place.uid:
            # A user id other than root's has taken these two away by itself (capabilities(7)).
            prctl.cap_effective.dac_override = prctl.cap_effective.dac_read_search = False

    def _leave(self, place: Place) -> None:
        if not place.dac and not place.uid:
            prctl.cap_effective.dac_override = prctl.cap_effective.dac_read_search = True
        if place.uid or place.gid or place.groups:
            set_fs_ids(0, 0)
            with contextlib.suppress(PermissionError):
                os.setgroups(self._groups)
        if place.mount_namespace:
            setns(self._namespace, CLONE_NEWNS)
        if place.root:
            os.fchdir(self._root)
            os.chroot(".")
            os.fchdir(self._host_proc)

    def _place_of(self, call: Call, process: Process) -> Place:
        """Work the caller's place out; kept unless the call that changes it may still run."""
        place = self._look_up(b"%d" % call.tid)
        # Who has made a user namespace gets its ids from somebody's write to a file.
        complete = place.ids is None or all(place.ids)
        if complete and not process.split and process.moving in (0, call.tid):
            process.moving = 0
            process.place = place
        return place

    def _look_up(self, tid: bytes) -> Place:
        try:
            fields = status_fields(read_small(os.fsdecode(tid) + "/status"))
        except OSError:
            return PLAIN
        uid, gid = (int(fields[key].split()[3]) for key in (b"Uid", b"Gid"))
        groups = tuple(map(int, fields[b"Groups"].split()))
        dac = int(fields[b"CapEff"], 16) & _DAC == _DAC
        ids, over = None, False
        try:
            if os.stat(tid + b"/ns/user").st_ino != self._users:
                ids = Ids(_id_map(tid + b"/uid_map"), _id_map(tid + b"/gid_map"))
                # Capabilities there hold for what the inner namespace owns.
                over, dac = dac, False
            own = os.fstat(self._namespace).st_ino
            namespace = os.stat(tid + b"/ns/mnt").st_ino != own
            root = namespace or _root_key(tid + b"/root") != self._root_key
        except OSError:
            return PLAIN
        if uid and dac:
            # Ids without their rights are rare; rights without root's id rarer (ambient(7)).
            uid = gid = 0
        if dac and not uid:
            gid, groups = 0, ()
        place = Place(namespace, root, uid, gid, groups, dac, ids, over)
        # There is one object of each, so that they are told by identity.
        return next((one for one in (PLAIN, ROOTED) if one == place), place)


def is_privileged(place: Place | None) -> bool:
    """Whether whoever looks from there has all rights in the container, whatever its root is."""
    return place is PLAIN or place is ROOTED


def _may_follow(place: Place, directory: bytes) -> bool:
    """Whether the kernel would let `place`, an ordinary user's, follow a link in /proc/PID.

    Not by our own rights: whoever made a user namespace has all of them in it, whatever it gives
    up. So this is ptrace(2), "Ptrace access mode checking", but for capabilities and LSMs.
    """
    try:
        fields = status_fields(read_small(os.fsdecode(directory) + "/status"))
        # What is not dumpable belongs to root (proc(5)).
        owner = os.stat(directory).st_uid
    except OSError:
        return True
    uids, gids = (set(map(int, fields[key].split()[:3])) for key in (b"Uid", b"Gid"))
    return {owner} == uids == {place.uid} and gids == {place.gid}


def _open(place: Place, path: bytes, flags: int, base: int) -> int:
    """open(2) with the rights of `place`, which we have taken on, from `base` or AT_FDCWD."""
    dir_fd = None if base == AT_FDCWD else base
    try:
        return os.open(path, flags, dir_fd=dir_fd)
    except PermissionError:
        if not place.over or place.ids is None:
            raise
        return InnerRoot(place.ids, place.uid, place.gid).open(path, flags, dir_fd)


def _root_key(path: bytes) -> tuple[int, ...]:
    """What tells one root directory from another: inode, device and mount."""
    found = statx(AT_FDCWD, path, 0)
    if isinstance(found, int):
        raise OSError(found, os.strerror(found), path)
    return found[7], found[21], found[22], found[23]


def _id_map(path: bytes) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(map(int, line.split())) for line in read_whole(path).splitlines())


def _base(tid: int, dirfd: int) -> bytes:
    """The magic link of what a relative path starts from."""
    return b"%d/cwd" % tid if dirfd == AT_FDCWD else b"%d/fd/%d" % (tid, dirfd)


@contextmanager
def _opened(tid: int, dirfd: int, path: bytes) -> Iterator[int]:
    """A descriptor of where `path` starts: AT_FDCWD if absolute, a negative errno if bad."""
    if path[:1] == b"/":
        yield AT_FDCWD
        return
    try:
        fd = os.open(_base(tid, dirfd), os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        yield -(errno.EBADF if error.errno == errno.ENOENT else error.errno or errno.EBADF)
        return
    try:
        yield fd
    finally:
        os.close(fd)
