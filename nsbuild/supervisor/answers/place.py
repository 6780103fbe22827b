"""Calls that change from where or as whom a process sees files: roots, ids, capabilities.

The kernel does them; here only what is remembered of the caller is forgotten. Until the thread that
made the call makes another, nothing new is remembered, because the call may not be done yet.
"""

from __future__ import annotations

from collections.abc import Callable

from nsbuild.kernel.namespaces import CLONE_NEWNS
from nsbuild.kernel.x86_64 import NR
from nsbuild.supervisor.answers import Handler
from nsbuild.supervisor.listener import Call
from nsbuild.supervisor.processes import Process

_PLACES = (
    *("chroot", "pivot_root", "setns", "unshare", "capset"),
    *("setuid", "setreuid", "setresuid", "setfsuid"),
    *("setgid", "setregid", "setresgid", "setfsgid", "setgroups"),
)


class PlaceCalls:
    """Takes notice of them; `new_mounts` is called before a mount namespace is made for one."""

    def __init__(self, new_mounts: Callable[[Process], None]) -> None:
        self._new_mounts = new_mounts

    def handlers(self) -> dict[int, Handler]:
        """See nsbuild.supervisor.answers."""
        return {NR[name]: self.moves for name in _PLACES}

    def moves(self, call: Call, process: Process) -> None:
        """The caller is about to have another place."""
        if call.nr == NR["unshare"] and call.args[0] & CLONE_NEWNS:
            self._new_mounts(process)
        process.place = None
        process.moving = call.tid
        # Ids are each thread's own, and so are roots and mounts after unshare(2).
        process.split = process.threads_made > 0
        # The others are addresses, and those of the command's first process are by chance.
        call.args = call.args[:1]
        call.resume()
