"""Killing who would see real time, for what we cannot change for it, and saying so once."""

from __future__ import annotations

import errno
import signal

from nsbuild.errors import report
from nsbuild.kernel.process import read_small

from .listener import Call
from .processes import Process


class Refusals:
    """Whom we have refused already."""

    def __init__(self) -> None:
        self._known: set[Process] = set()

    def kill(self, call: Call, process: Process, why: str) -> None:
        """Kill the caller, `process`, and say `why`.

        SIGSYS is what a filter that kills would send; who survives it is not asked again.
        """
        try:
            program = read_small(f"{call.tid}/comm").decode(errors="replace").strip()
        except OSError:
            program = "a program"
        if call.valid():
            again = process in self._known
            signal.pidfd_send_signal(process.pidfd, signal.SIGKILL if again else signal.SIGSYS)
            if not again:
                self._known.add(process)
                report(f"killed {program} (process {process.vpid}): {why}")
        call.fail(errno.ENOSYS)
