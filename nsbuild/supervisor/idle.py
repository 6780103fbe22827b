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
import socket
import struct
from collections.abc import Container, Sequence
from contextlib import suppress
from functools import partial

from nsbuild.errors import NsbuildError
from nsbuild.kernel.process import read_small, stat_fields, status_fields
from nsbuild.tuples import NamedTuple

from .aide import fork_aide, messages, reply
from .endcall import end_call
from .outside import Awaited, Outside
from .sockettimes import BLOCKED, Blocked, SocketCalls

FREE = b"f"
WAKE = b"w"
SCAN = b"s"
"""Followed by HELD for each thread held."""
SCAN_SOCKETS = b"t"
"""Likewise; the answer has who sleeps on a socket with a timeout as well."""
END = b"e"
"""Followed by BLOCKED: end that call. Answered by itself and DONE."""
IDLE = b"i"
OUTSIDE = b"o"
"""All wait, but one of them for input from the world outside."""
BUSY = b"b"
"""Like the two others it is followed by VERDICT, that by a number for each held thread that has a
signal to take, and those by BLOCKED for each that was asked for."""
VERDICT = struct.Struct("=QI?")
"""The CPU time that all threads have used so far, in clock ticks, 0 unless BUSY; how many numbers
follow; whether somebody runs or could."""
DONE = struct.Struct("=?")
HELD = struct.Struct("=IQQ")
"""A thread's number inside; the signals that its call takes though the thread blocks them; and
those that the call blocks though the thread does not."""
_LIMIT = 1 << 17
MOST_HELD = 5000
"""So many fit into a message, and what they answer with."""
_MOST_BLOCKED = 1000
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

    def times_run(self) -> int:
        """How often the thread has been switched away from, with or without its will."""
        return sum(int(number or b"0") for number in self.runs)


class Verdict(NamedTuple):
    """FREE, IDLE, OUTSIDE or BUSY; the CPU time used; the held threads that have a signal to take.

    With BUSY something `runs`, unless all sleep, and one of them for what will come by itself. Or
    END, and whether that was `done`. `blocked` are those who sleep on a socket with a timeout.
    """

    kind: bytes
    ticks: int = 0
    runs: bool = False
    signalled: Sequence[int] = ()
    blocked: Sequence[Blocked] = ()
    done: bool = False


class IdleProcess:
    """The supervisor's end; `priority` is the SCHED_FIFO priority to run with, 0 for none.

    `proc_fd` is the container's /proc, `pids` its PID namespace.
    """

    def __init__(self, proc_fd: int, pids: int, outside: Outside, priority: int) -> None:
        serve = partial(_be_idle, proc_fd, pids, outside, priority)
        self._socket = fork_aide("nsbuild-idle", serve, [proc_fd, pids])

    def fileno(self) -> int:
        """What becomes readable with each answer."""
        return self._socket.fileno()

    def close(self) -> None:
        """Let it end."""
        self._socket.close()

    def wake(self) -> None:
        """Ask for FREE."""
        self._socket.send(WAKE)

    def scan(self, held: list[tuple[int, int, int]], sockets: bool) -> None:
        """Ask for a verdict; `held` as in HELD, at most MOST_HELD; `sockets` for `blocked`, too."""
        kind = SCAN_SOCKETS if sockets else SCAN
        self._socket.send(kind + b"".join(HELD.pack(*one) for one in held))

    def end(self, blocked: Blocked) -> None:
        """Have a call ended."""
        self._socket.send(END + BLOCKED.pack(*blocked))

    def answer(self) -> Verdict:
        """What it has found out."""
        message = self._socket.recv(_LIMIT)
        if not message:
            raise NsbuildError("the process that watches for idleness has died")
        kind = message[:1]
        if kind == FREE:
            return Verdict(kind)
        if kind == END:
            return Verdict(kind, done=DONE.unpack_from(message, 1)[0])
        ticks, count, runs = VERDICT.unpack_from(message, 1)
        numbers, rest = 1 + VERDICT.size, 1 + VERDICT.size + count * _NUMBER.size
        return Verdict(
            kind,
            ticks,
            runs,
            [number for (number,) in _NUMBER.iter_unpack(message[numbers:rest])],
            [Blocked(*values) for values in BLOCKED.iter_unpack(message[rest:])],
        )


def _be_idle(
    proc_fd: int, pids: int, outside: Outside, priority: int, requests: socket.socket
) -> None:
    _take_priority(priority)
    look = Look(proc_fd, pids, outside)
    for message in messages(requests):
        if message[:1] == WAKE:
            reply(requests, FREE)
            continue
        if priority:
            _take_priority(0)
            os.sched_setaffinity(0, range(os.cpu_count() or 1))
            reply(requests, _answer(look, message))
            _join_supervisor()
            _take_priority(priority)
        else:
            reply(requests, _answer(look, message))


def _join_supervisor() -> None:
    """Go to the supervisor's CPU, even if it changes that meanwhile (see rotation)."""
    supervisor = os.getppid()
    there: set[int] = set()
    while there != os.sched_getaffinity(supervisor):
        there = os.sched_getaffinity(supervisor)
        os.sched_setaffinity(0, there)


def _answer(look: Look, message: bytes) -> bytes:
    if message[:1] == END:
        blocked = Blocked(*BLOCKED.unpack_from(message, 1))
        return END + DONE.pack(end_call(blocked, lambda: look.sleeps(blocked)))
    held = {tid: (takes, blocks) for tid, takes, blocks in HELD.iter_unpack(message[1:])}
    return look.verdict(held, message[:1] == SCAN_SOCKETS)


def _take_priority(priority: int) -> None:
    policy = os.SCHED_FIFO if priority else os.SCHED_OTHER
    os.sched_setscheduler(0, policy, os.sched_param(priority))


class Look:
    """Looks at all threads of the container, whose /proc and PID namespace are handed over."""

    def __init__(self, proc_fd: int, pids: int, outside: Outside) -> None:
        # What was handed over is good for names below it, but not for reading.
        self._proc = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=proc_fd)
        self._outside = outside
        self._sockets = SocketCalls(self._proc, pids)
        self._known: dict[Task, Awaited] = {}
        self._blocked: dict[Task, Blocked | None] = {}

    def verdict(self, held: dict[int, Masks], sockets: bool = False) -> bytes:
        """The answer to SCAN, or SCAN_SOCKETS."""
        tasks = self._tasks()
        signalled = self._signalled(tasks, held)
        # In the supervisor's hands a thread sleeps as if for a disk (TASK_KILLABLE), in vfork too.
        asleep = all(
            task.state == b"S"
            or (task.state == b"D" and (tid in held or self._outside.bears(task.path)))
            for tid, task in tasks.items()
        )
        waits = self._waits(tasks, held) if asleep else set()
        kind, ticks = IDLE, 0
        if not asleep or Awaited.UNDERWAY in waits:
            kind = BUSY
        elif Awaited.INPUT in waits:
            kind = OUTSIDE
        runs = any(task.state == b"R" for task in tasks.values())
        if kind != BUSY and self._tasks() != tasks:
            kind, runs = BUSY, True
        if kind == BUSY:
            ticks = sum(map(self._ticks, tasks.values()))
        blocked = self._asleep_on_sockets(tasks) if sockets else []
        return b"".join(
            (
                kind + VERDICT.pack(ticks, len(signalled), runs),
                *map(_NUMBER.pack, signalled),
                *(BLOCKED.pack(*one) for one in blocked[:_MOST_BLOCKED]),
            )
        )

    def _asleep_on_sockets(self, tasks: dict[int, Task]) -> list[Blocked]:
        """Who of them sleeps on a socket with a timeout, by number."""
        known = self._blocked
        self._blocked = {
            task: known[task]
            if task in known
            else self._sockets.look(task.path, self._outside.call(task.path), task.times_run())
            for task in tasks.values()
            if task.state == b"S"
        }
        return sorted(one for one in self._blocked.values() if one is not None)

    def sleeps(self, blocked: Blocked) -> bool:
        """Whether it is in that call still, and has not run since."""
        path = f"{blocked.tgid}/task/{blocked.tid}"
        found: dict[int, Task] = {}
        with suppress(OSError, KeyError):
            self._add(found, str(blocked.tgid), str(blocked.tid), others=False)
        return (
            any(task.state == b"S" and task.times_run() == blocked.runs for task in found.values())
            and self._outside.call(path)[0] == blocked.number
        )

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

    def _waits(self, tasks: dict[int, Task], held: Container[int]) -> set[Awaited]:
        """What all of them wait for. Who has not run since the last look waits for the same."""
        known = self._known
        self._known = {
            task: known[task] if task in known else self._outside.waits(task.path, tid in held)
            for tid, task in tasks.items()
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

    def _add(self, found: dict[int, Task], pid: str, tid: str, others: bool = True) -> None:
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
        if others and tid == pid and fields[b"Threads"] != b"1":
            fd = os.open(f"{pid}/task", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
            try:
                tids = os.listdir(fd)
            finally:
                os.close(fd)
            for other in tids:
                if other != pid:
                    with suppress(OSError, KeyError):
                        self._add(found, pid, other)


_SWITCHES = (b"voluntary_ctxt_switches", b"nonvoluntary_ctxt_switches")


def pending(fields: dict[bytes, bytes]) -> int:
    """The signals that wait for a thread or for its process."""
    return int(fields[b"SigPnd"], 16) | int(fields[b"ShdPnd"], 16)
