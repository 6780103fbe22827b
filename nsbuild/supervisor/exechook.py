"""The exec hook: what a fresh program image must not keep from the kernel or the processor.

Every libc, and Go, calls arch_prctl(ARCH_SET_FS) once after each exec and before its first clock
read. While the process waits in that call, its memory is changed through /proc/PID/mem, which
writes to private copies of read-only pages: the vDSO is overwritten; the 16 AT_RANDOM bytes of the
auxiliary vector, from which stack canaries and Go's maps are seeded, come from the process's
stream; Go's own reading of the time-stamp counter is replaced, and so is the C++ library's of the
processor's random numbers.
"""

from __future__ import annotations

from functools import partial

from nsbuild.kernel.auxv import (
    AT_PHDR,
    AT_RANDOM,
    AT_RANDOM_SIZE,
    AT_SECURE,
    AT_SYSINFO_EHDR,
    auxiliary_vector,
    parse_auxv,
)

from . import detour, extension, hotcalls
from .gotsc import PAGE_SIZE, GoCounters, is_go
from .listener import Call
from .places import is_privileged
from .processes import Process
from .randomdevice import replacements
from .vdso import Patch


class ExecHook:
    """Answers ARCH_SET_FS."""

    def __init__(self, patch: Patch) -> None:
        self._patch = patch
        self._go = GoCounters()
        self._renews = extension.available()
        self.fresh = False
        """Whether the last image was one."""

    def run(self, call: Call, process: Process) -> bool:
        """Make a fresh image deterministic, then let the call go on; False if that is impossible.

        It is for a program that an unprivileged supervisor's user may not read (mode 0711), whose
        memory the kernel keeps from us. The call is then not answered.

        An image that has our vDSO already is not fresh: the program only sets its FS again.
        """
        self.fresh = False
        if detour.end(call, process):
            return True
        # An exec may have made a new address space since we last looked.
        memory = process.memory
        memory.forget()
        memory.cached = True
        if self._renews and is_privileged(process.place) and not process.exec_hook_pending:
            renewed = hotcalls.renew(call, self._patch, process.stream.peek(AT_RANDOM_SIZE))
            if renewed is not None:
                descriptor, headers, cxx = renewed
                memory.adopt(descriptor)
                if headers:
                    self._stop_counters(call, process, headers)
                if cxx:
                    self._ask_kernel(call, process)
                if call.resume():
                    process.stream.advance(AT_RANDOM_SIZE)
                else:
                    process.exec_hook_pending = True
                self.fresh = True
                return True
        try:
            auxv = auxiliary_vector(call.tid)
        except PermissionError:
            auxv = parse_auxv(call.read_inside("auxv"))
            if not auxv:
                return False
        except OSError:
            auxv = {}
        if auxv.get(AT_SECURE) or not is_privileged(process.place):
            # A set-user-ID program has other rights than who started it, and root gets back the
            # capabilities that it had put down.
            process.place = None
            process.split = False
        vdso, random = auxv.get(AT_SYSINFO_EHDR, 0), auxv.get(AT_RANDOM, 0)
        patch = self._patch
        fresh = process.exec_hook_pending
        if vdso and memory.read(call, vdso + patch.offset, len(patch.mark)) != patch.mark:
            if memory.force(call, vdso + patch.offset, patch.code) < len(patch.code):
                return not call.valid()
            fresh = True
        if fresh:
            self._make_over(call, process, auxv)
        taken = call.resume()
        process.exec_hook_pending = fresh and not taken
        self.fresh = fresh
        if fresh and taken and random:
            process.stream.advance(AT_RANDOM_SIZE)
        return True

    def _make_over(self, call: Call, process: Process, auxv: dict[int, int]) -> None:
        """Change all of a fresh image but its vDSO."""
        vdso, random = auxv.get(AT_SYSINFO_EHDR, 0), auxv.get(AT_RANDOM, 0)
        if random:
            process.memory.force(call, random, process.stream.peek(AT_RANDOM_SIZE))
        self._stop_counters(call, process, auxv.get(AT_PHDR, 0))
        self._ask_kernel(call, process)
        if vdso:
            detour.begin(call, process, vdso + self._patch.room)

    def _stop_counters(self, call: Call, process: Process, headers: int) -> None:
        """Replace Go's own look at the time-stamp counter, if the program is Go's."""
        memory = process.memory
        # The first page of a program holds its headers and, if it is Go's, a note.
        if is_go(memory.read(call, headers & -PAGE_SIZE, PAGE_SIZE)):
            for address, code in self._go.replacements(call.tid, headers):
                memory.force(call, address, code)

    def _ask_kernel(self, call: Call, process: Process) -> None:
        """Let the C++ library take random numbers from the kernel, not from the processor."""
        memory = process.memory
        # The loader of glibc has mapped all libraries by now.
        for address, code in replacements(_maps(call), partial(memory.read, call)):
            memory.force(call, address, code)


def _maps(call: Call) -> bytes:
    """The caller's /proc/PID/maps, or nothing if it is gone."""
    try:
        with open(f"{call.tid}/maps", "rb", buffering=0) as file:
            return file.readall()
    except PermissionError:
        return call.read_inside("maps")
    except OSError:
        return b""
