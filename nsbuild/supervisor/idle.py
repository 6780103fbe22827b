"""Idleness: does anything in the container run, or could it by itself?

A process of our own finds out. Under SCHED_FIFO it waits one step below the guest on the guest's
CPU, and so gets to run exactly when all of the guest waits: then it says so ("free"), is told which
threads the supervisor keeps waiting, looks at what the others wait for, and gives its verdict. It
looks twice: if all threads were asleep both times, and none has run in between, there was a moment
at which all slept. That holds without SCHED_FIFO as well, where it may run at any time.

It must not be the supervisor that looks, and nobody looks under SCHED_FIFO: who drops entries of
/proc keeps others from dropping theirs, and those spin until it is done. Above the guest we would
spin for ever for a dying thread, and below it a dying thread for us (see
nsbuild.supervisor.initpriority); an ordinary task always gets some of a CPU.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
from contextlib import suppress
from typing import NamedTuple, NoReturn

import prctl

from nsbuild.errors import NsbuildError
from nsbuild.kernel.process import keep_only, read_small, stat_fields, status_fields

from .outside import Awaited, Outside

FREE = b"f"
WAKE = b"w"
SCAN = b"s"
"""Followed by HELD for each thread held."""
IDLE = b"i"
OUTSIDE = b"o"
"""All wait, but one of them for input from the world outside."""
BUSY = b"b"
"""Like the two others it is followed by VERDICT, and that by a number for each held thread that has
a signal to take."""
VERDICT = struct.Struct("=Q")
"""The CPU time that all threads have used so far, in clock ticks; 0 unless BUSY."""
HELD = struct.Struct("=IQQ")
"""A thread's number inside; the signals that its call takes though the thread blocks them; and
those that the call blocks though the thread does not."""
_LIMIT = 1 << 17
MOST_HELD = 5000
"""So many fit into a message, and what they answer with."""
_NUMBER = struct.Struct("=I")

_ENDED_OR_STOPPED = frozenset((b"Z", b"X", b"T", b"t"))
_STOPS = 0b1111 << 18
"""SIGSTOP, SIGTSTP, SIGTTIN and SIGTTOU."""
_INIT = "1"


Masks = tuple[int, int]
"""As in HELD."""


class Task(NamedTuple):
    """A living thread, by its /proc status: where it is in /proc, its state, its context switches.

    `pending` are the signals that wait for the thread, `shared` those for its process; signal N is
    bit N - 1. None of them that would only stop it: it has stopped, for all that it does.
    """

    path: str
    state: bytes
    runs: tuple[bytes, ...]
    pending: int
    shared: int
    blocked: int

    def takes(self, signals: int, masks: Masks) -> bool:
        """Whether it can take one of `signals` in a call with these masks."""
        return bool(signals & (~self.blocked | masks[0]) & ~masks[1])


class Verdict(NamedTuple):
    """FREE, IDLE, OUTSIDE or BUSY; what is VERDICT; the held threads that have a signal to take."""

    kind: bytes
    ticks: int
    signalled: list[int]


class IdleProcess:
    """The supervisor's end; `priority` is the SCHED_FIFO priority to run with, 0 for none."""

    def __init__(self, proc_fd: int, outside: Outside, priority: int) -> None:
        self._socket, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if os.fork() == 0:
            try:
                self._socket.close()
                _be_idle(inner, proc_fd, outside, priority)
            finally:
                os._exit(1)
        inner.close()

    def fileno(self) -> int:
        """What becomes readable with each answer."""
        return self._socket.fileno()

    def wake(self) -> None:
        """Ask for FREE."""
        self._socket.send(WAKE)

    def scan(self, held: list[tuple[int, int, int]]) -> None:
        """Ask for a verdict; `held` as in HELD, at most MOST_HELD."""
        self._socket.send(SCAN + b"".join(HELD.pack(*one) for one in held))

    def answer(self) -> Verdict:
        """What it has found out."""
        message = self._socket.recv(_LIMIT)
        if not message:
            raise NsbuildError("the process that watches for idleness has died")
        if len(message) == 1:
            return Verdict(message, 0, [])
        numbers = _NUMBER.iter_unpack(message[1 + VERDICT.size :])
        (ticks,) = VERDICT.unpack_from(message, 1)
        return Verdict(message[:1], ticks, [number for (number,) in numbers])


def _be_idle(requests: socket.socket, proc_fd: int, outside: Outside, priority: int) -> NoReturn:
    prctl.set_pdeathsig(signal.SIGKILL)
    prctl.set_name("nsbuild-idle")
    # A duplicate of what the guest has open would keep it open.
    keep_only([requests.fileno(), proc_fd])
    _take_priority(priority)
    # Who ends with an answer unread leaves us ECONNRESET instead of an end (unix(7)).
    with suppress(ConnectionError):
        _answer_all(requests, Look(proc_fd, outside), priority)
    os._exit(0)


def _answer_all(requests: socket.socket, look: Look, priority: int) -> None:
    while message := requests.recv(_LIMIT):
        if message[:1] == WAKE:
            requests.send(FREE)
            continue
        held = {tid: (takes, blocks) for tid, takes, blocks in HELD.iter_unpack(message[1:])}
        if priority:
            cpus = os.sched_getaffinity(0)
            _take_priority(0)
            os.sched_setaffinity(0, range(os.cpu_count() or 1))
            requests.send(look.verdict(held))
            os.sched_setaffinity(0, cpus)
            _take_priority(priority)
        else:
            requests.send(look.verdict(held))


def _take_priority(priority: int) -> None:
    policy = os.SCHED_FIFO if priority else os.SCHED_OTHER
    os.sched_setscheduler(0, policy, os.sched_param(priority))


class Look:
    """Looks at all threads of the container."""

    def __init__(self, proc_fd: int, outside: Outside) -> None:
        # What was handed over is good for names below it, but not for reading.
        self._proc = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=proc_fd)
        self._outside = outside
        self._known: dict[Task, Awaited] = {}

    def verdict(self, held: dict[int, Masks]) -> bytes:
        """The answer to SCAN."""
        tasks = self._tasks()
        signalled = self._signalled(tasks, held)
        # In the supervisor's hands a thread sleeps as if for a disk (TASK_KILLABLE), in vfork too.
        asleep = all(
            task.state == b"S"
            or (task.state == b"D" and (tid in held or self._outside.bears(task.path)))
            for tid, task in tasks.items()
        )
        waits = self._waits(tasks) if asleep else set()
        kind, ticks = IDLE, 0
        if not asleep or Awaited.UNDERWAY in waits:
            kind = BUSY
        elif Awaited.INPUT in waits:
            kind = OUTSIDE
        if kind != BUSY and self._tasks() != tasks:
            kind = BUSY
        if kind == BUSY:
            ticks = sum(map(self._ticks, tasks.values()))
        return kind + VERDICT.pack(ticks) + b"".join(map(_NUMBER.pack, signalled))

    def _signalled(self, tasks: dict[int, Task], held: dict[int, Masks]) -> list[int]:
        """Held threads that have a signal to take; of one for the process, the first that can.

        The kernel gives such a signal to the thread that leads the process, if that takes it, and
        no other returns from its call for it (complete_signal in kernel/signal.c).
        """
        found, processes = [], set()
        for tid, task in sorted(tasks.items()):
            if tid not in held:
                continue
            pid = task.path.partition("/")[0]
            if task.takes(task.pending, held[tid]):
                found.append(tid)
            elif pid not in processes and task.takes(task.shared, held[tid]):
                found.append(tid)
                processes.add(pid)
        return found

    def _waits(self, tasks: dict[int, Task]) -> set[Awaited]:
        """What all of them wait for. Who has not run since the last look waits for the same."""
        known = self._known
        self._known = {
            task: known[task] if task in known else self._outside.waits(task.path)
            for task in tasks.values()
        }
        return set(self._known.values())

    def _ticks(self, task: Task) -> int:
        """The CPU time of a thread (proc_pid_stat(5), fields 14 and 15)."""
        try:
            stat = stat_fields(task.path, self._proc)
        except OSError:
            return 0
        return int(stat[11]) + int(stat[12])

    def _tasks(self) -> dict[int, Task]:
        """All threads that have not ended and are not stopped, but init, by number."""
        found: dict[int, Task] = {}
        for pid in os.listdir(self._proc):
            if not pid.isdigit() or pid == _INIT:
                continue
            # Who has just ended is seen by its parent, which waits no longer then.
            with suppress(OSError, KeyError):
                self._add(found, pid, pid)
        return found

    def _add(self, found: dict[int, Task], pid: str, tid: str) -> None:
        path = f"{pid}/task/{tid}"
        fields = status_fields(read_small(f"{path}/status", self._proc))
        state = fields[b"State"][:1]
        if state not in _ENDED_OR_STOPPED:
            runs = tuple(fields.get(name, b"") for name in _SWITCHES)
            own, shared, blocked, caught = (
                int(fields[name], 16) for name in (b"SigPnd", b"ShdPnd", b"SigBlk", b"SigCgt")
            )
            stops = ~(_STOPS & ~caught)
            found[int(tid)] = Task(path, state, runs, own & stops, shared & stops, blocked)
        if tid == pid and fields[b"Threads"] != b"1":
            fd = os.open(f"{pid}/task", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
            try:
                others = os.listdir(fd)
            finally:
                os.close(fd)
            for other in others:
                if other != pid:
                    with suppress(OSError, KeyError):
                        self._add(found, pid, other)


_SWITCHES = (b"voluntary_ctxt_switches", b"nonvoluntary_ctxt_switches")


def pending(fields: dict[bytes, bytes]) -> int:
    """The signals that wait for a thread or for its process."""
    return int(fields[b"SigPnd"], 16) | int(fields[b"ShdPnd"], 16)
