"""The hot calls: what libfaketime_ext/hotcalls.c may answer by itself, and how it is told.

The extension is optional. Without it (no C compiler at installation, or NSBUILD_HOTCALLS=0 in the
caller's environment) every call takes the way through Python, with the same answers: a build takes
longer, and that is all. With a trace every call does, since each has to be written down.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import TYPE_CHECKING

from nsbuild.determinism.entropy import Stream
from nsbuild.determinism.files import File
from nsbuild.kernel.files import STATX
from nsbuild.kernel.seccomp import notif_sizes
from nsbuild.kernel.x86_64 import NR

from .answers.time import sysinfo_at
from .extension import extension
from .places import PLAIN, is_privileged
from .processes import Process

if TYPE_CHECKING:
    from nsbuild._hotcalls import Hot

    from .births import Births
    from .filetimes import FileTimes
    from .listener import Call
    from .turns import Turns
    from .vdso import Patch

_CHANGES = (
    *("fchmod", "fchown", "chmod", "chown", "lchown", "fchmodat", "fchownat", "utimensat"),
    *("mkdir", "mkdirat", "symlink", "symlinkat", "unlink", "unlinkat", "rmdir"),
)
_LOOKS = frozenset(
    NR[name]
    for name in ("newfstatat", "stat", "lstat", "fstat", "getdents64", "getdents", *_CHANGES)
)
"""Before these, files that were about to be made are looked for."""
_ANSWERED = _LOOKS | {
    NR[name]
    for name in (
        *("openat", "open", "statfs", "exit_group", "getrandom", "readlink", "readlinkat"),
        *("clock_gettime", "gettimeofday", "time", "getrusage", "sysinfo"),
    )
}
"""The calls that the extension answers."""


def make_hot(
    listener: int,
    epoll: int,
    names: frozenset[bytes],
    quick_exit: bool,
    times: FileTimes,
    turns: Turns | None,
    merge: Callable[[Process], None],
) -> Hot:
    """The extension at work on a listener and the epoll that watches it.

    `names` are the last names of paths that only Python opens; with `quick_exit` nothing has to be
    done before a process ends. Who may not call yet, by `turns`, is handed on. `merge` moves a
    process up to the children that it has reaped.
    """
    devices = times.devices
    files = extension.Files(
        File,
        times.table.by_key,
        devices.mounts,
        devices.nowhere,
        times.nameless,
        times.meet,
        times.meet_nameless,
        times.start,
        times.epoch,
        times.settle,
        times.dirty,
        times.expect,
        times.earlier is not None,
    )
    hot = extension.Hot(
        listener,
        epoll,
        *notif_sizes(),
        tuple(sorted(names)),
        quick_exit,
        files,
        Process,
        Stream,
        turns,
        PLAIN,
        merge,
        sysinfo_at(0),
    )
    times.entry = files.entry
    if turns is not None:
        turns.rest = hot.rests
    return hot


def draw(seed: bytes, position: int, size: int) -> bytes:
    """What the extension takes for bytes of the stream `seed`."""
    return extension.draw(seed, position, size)


def renew(call: Call, patch: Patch, random: bytes) -> tuple[int, int, int] | None:
    """Give a fresh program its vDSO and its AT_RANDOM bytes, as ExecHook.run does.

    Returns its open memory, the address of its program headers if it may be one of Go's, else 0,
    and whether it has the C++ library; None, with nothing done, if the program is not fresh or in
    any way unusual.
    """
    offset, code, mark = patch.offset, patch.code, len(patch.mark)
    return extension.renew(call.listener.fd, call.id, call.tid, offset, code, mark, random)


def remember(values: tuple[int, ...], shown: bytes, ahead: int) -> object:
    """Let the extension show `shown` (struct stat) for the file that has these values of STATX.

    As long as the result is kept. `ahead` is the wall clock that a reader moves up to.
    """
    return None if extension is None else extension.Memo(STATX.pack(*values), shown, ahead)


class Keeper:
    """Tells the extension what it may know, after each call that Python has answered.

    `back` are threads whose next call must be seen, whatever it is.
    """

    def __init__(self, hot: Hot, births: Births, times: FileTimes, back: Container[int]) -> None:
        self.hot = hot
        self._births = births
        self._table = births.table
        self._times = times
        self._back = back
        self._forking: Process | None = None

    def retry(self, call: Call, process: Process) -> bool:
        """Whether the extension has answered `call` after all.

        It has handed it on because it did not know the caller, perhaps by its first call, or
        because it was not the caller's turn; files that were about to be made are still to be
        looked for.
        """
        tid, times, hot = call.tid, self._times, self.hot
        if call.nr not in _ANSWERED or call.id == hot.declined or process.threads_made:
            # With threads, files are looked for only where the guest cannot run meanwhile,
            # since we may have to wait for a disk.
            return False
        hot.paused = self._births.keeping
        pending = times.pending and call.nr in _LOOKS
        if pending:
            hot.pending = times.settle(tid)
        self._tell(tid, process)
        return hot.retry(call.id)

    def answered(self, tid: int, process: Process, alone: bool = True) -> None:
        """`process` has been answered a call of its thread `tid`.

        The extension may answer the next one if it is `alone`: whoever waits is seen to at each.
        """
        self.hot.pending = bool(self._times.pending)
        if alone:
            self._tell(tid, process)
        else:
            self.hot.forget(process.pid)
        self.births_went_on()

    def _tell(self, tid: int, process: Process) -> None:
        birth = self._births.in_flight
        if (
            is_privileged(process.place)
            and tid == process.pid
            and not process.threads_made
            and (birth is None or birth.process is not process)
        ):
            self._know(process)
        else:
            self.hot.forget(process.pid)

    def _know(self, process: Process) -> None:
        self.hot.know(process.pid, process, process.clock.wall, process.memory.descriptor)

    def births_went_on(self) -> None:
        """Whoever forks tells by its next call that it has: that call must be seen.

        Unless its child has called before.
        """
        birth = self._births.in_flight
        self.hot.paused = self._births.keeping
        forking = None if birth is None else birth.process
        before = self._forking
        if forking is before:
            return
        if (
            before is not None
            and is_privileged(before.place)
            and not before.threads_made
            and before.pidfd in self._table.by_pidfd
            and before.pid not in self._back
        ):
            self._know(before)
        if forking is not None:
            self.hot.forget(forking.pid)
        self._forking = forking
