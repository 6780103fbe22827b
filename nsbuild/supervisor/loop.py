"""The supervisor's loop: waits for the guest, answers, and ends when the command has.

Performance contract: one turn for a notified call is epoll, RECV, one table look-up, the handler,
SEND. Nothing on that path allocates more than the call itself, formats text (unless a trace is
asked for) or asks another process (unless the call is a fork).
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable
from contextlib import suppress

from nsbuild.errors import NsbuildError
from nsbuild.kernel.namespaces import thread_from
from nsbuild.kernel.x86_64 import ARCH_SET_FS, AUDIT_ARCH, NR

from . import extension, hotcalls
from .answers import Handler
from .answers.aio import Aio
from .answers.directories import Directories
from .answers.machine import Machine, UtsNames
from .answers.mounts import Mounts
from .answers.nodes import Nodes
from .answers.place import PlaceCalls
from .answers.procself import ONLY_BY_US, ProcSelf
from .answers.random import Random
from .answers.sockets import Sockets
from .answers.sockettimes import SocketTimes
from .answers.stat import Stat
from .answers.time import Time
from .answers.timers import Timers
from .answers.wait import Wait
from .answers.waiting import waiting
from .answers.write import Write
from .births import Births
from .blocked import BlockedCalls
from .contents import CONTENTS
from .continuation import root_process
from .devices import Devices
from .eager import RETRY_MILLISECONDS, Eager
from .entrants import Entrants
from .exechook import ExecHook
from .filetimes import FileTimes
from .fusefile import FuseFile, Unmounted
from .hotcalls import Keeper
from .idle import IdleProcess
from .initlink import EVENT_COMMAND, EVENT_EXIT, EVENT_LEFT, InitGone, receive_event
from .listener import Call, Listener
from .memory import MemoryClosedError
from .opener import Opener
from .outside import Outside, inherited_from
from .pagecache import PageCache
from .parts import Parts
from .places import Places
from .processes import Process, ProcessTable
from .refusal import Refusals
from .rules import Rules
from .served import SERVED
from .spinwatch import SpinWatch
from .trace import Trace
from .turns import Turns
from .waits import Waits

_EVENTS = 8
"""How many descriptors one turn looks at."""


def _own_filter(call: Call, _process: Process) -> None:
    """A program installs a filter of its own, which may outrank ours: let it, for the record."""
    call.resume()


class Supervisor:
    """Answers the notified calls of one container until its command ends."""

    def __init__(self, rules: Rules, parts: Parts, trace: Trace) -> None:
        self.parts = parts
        self.trace = trace
        self.epoll = select.epoll()
        self.listener = Listener(parts.listener_fd)
        self.listener.open_inside = parts.link.open_file
        if parts.spin is not None:
            self.listener.guest_priority = parts.spin.priority
        fds = parts.proc_fd, parts.pids
        self.table = ProcessTable(root_process(rules), parts.link.exists, *fds, self.epoll, trace)
        self.births = Births(self.table, parts.link, parts.spin is not None)
        self.status: int | None = None
        self.exec_hook = ExecHook(parts.patch)
        self.refusals = Refusals()
        self.cache: PageCache | None = None
        self.eager: Eager | None = None
        self.turns: Turns | None = None
        if parts.spin is None:
            self.eager = Eager(self.listener, self._touched)
            parts.link.meanwhile = self.eager.meanwhile
        else:
            self.turns = Turns(parts.spin.back, self.listener.ready)
            self.listener.let_on = self.turns.let_go
            self.turns.gave_up = self._gave_up
            self.births.born = self._born
        devices = Devices(parts.workdir, parts.lasting, os.getppid())
        served = {os.fsencode(SERVED[name].path): SERVED[name].shown for name in parts.fuse}
        self.times = FileTimes(devices, served, parts.start, rules.rates.epoch, rules.earlier)
        self.sources: dict[int, Callable[[], None]] = {
            parts.events.fileno(): self._init_event,
            parts.front.fileno(): self._front_event,
        }
        self.waits = Waits(
            *(self.listener, self.epoll, self.sources, trace, self._make_idle, self._touched),
            lambda: (len(self.times.table.by_key), self.table.changes),
            self._owes,
        )
        self.aio = Aio(self.waits)
        self.timers = Timers(self.waits, self.table.thread_outside)
        self.handlers = self._collect_handlers(rules)
        self.keeper = self._make_keeper()
        self.outside = set(inherited_from(parts.inherited))
        self.first_process = lambda: root_process(rules)
        self.entrants = Entrants(self, parts.link, parts.front, parts.offer)
        self.table.ending = self._ending
        self._add_devices()
        if parts.spin is not None:
            add_source, touched = self.sources.__setitem__, self._touched_thread
            SpinWatch(parts.spin, self.listener, self.table, trace, add_source, touched)
        for fd in (*self.sources, parts.listener_fd):
            self.epoll.register(fd, select.EPOLLIN)

    def _collect_handlers(self, rules: Rules) -> dict[int, Handler]:
        places = Places(self.parts.users)
        self.times.devices.elsewhere = places.mount_table
        opener = Opener(self.parts.priority.pid, self.parts.users, self._serve_until)
        nodes = Nodes(places, self.times, self.parts.users, opener)
        write = Write(places, self.times, nodes)
        pids = os.fstat(self.parts.pids).st_ino
        if self.parts.spin is not None:
            above = self.parts.spin.priority + 1
            self.cache = PageCache(places, self.times.devices, above, pids)
            self.births.threads = self.cache.threads
            self.trace.guard = self.cache.guard
        of_vpid = self.table.by_vpid.get
        proc = ProcSelf(places, self.times, of_vpid, write.open, nodes, self.cache)
        machine = Machine(UtsNames(*rules.names), self.parts.link.uts_names)
        wait = Wait(self.waits)
        mounts = Mounts(places, self.times, self.parts.users, pids)
        self.births.new_mounts = mounts.new_namespace
        blocked = BlockedCalls(self.waits, self.table.by_vpid.get, self.trace)
        files = {
            **Stat(places, self.times, proc.catch_up, nodes.absent).handlers(),
            **write.handlers(),
            **proc.handlers(),
            **Directories(self.times).handlers(),
        }
        self.of_files = frozenset(files)
        return {
            **files,
            **Time(self.table.by_vpid.get, wait.sleep).handlers(),
            **wait.handlers(),
            **self.timers.handlers(),
            **Random().handlers(),
            **Sockets().handlers(),
            **waiting(self.waits),
            **self.aio.handlers(),
            **SocketTimes(lambda: self.waits.watch_sockets(blocked)).handlers(),
            **machine.handlers(),
            **PlaceCalls(mounts.new_namespace).handlers(),
            **mounts.handlers(),
            NR["arch_prctl"]: self._arch_prctl,
            NR["seccomp"]: _own_filter,
            NR["prctl"]: _own_filter,
            **self.births.handlers(),
            NR["exit_group"]: mounts.before_end(self._exit_group),
        }

    def _make_keeper(self) -> Keeper | None:
        """The extension for hot calls, where there is one and every call need not be traced."""
        if self.trace.enabled or not extension.available():
            return None
        fds = self.listener.fd, self.epoll.fileno()
        quick, merge = self.eager is None, self.table.merge_reaped
        hot = hotcalls.make_hot(*fds, ONLY_BY_US, quick, self.times, self.turns, merge)
        self.listener.hot = hot
        spin = self.parts.spin
        return Keeper(hot, self.births, self.times, () if spin is None else spin.back)

    def _make_idle(self) -> IdleProcess:
        parts = self.parts
        outside = Outside(parts.proc_fd, self.outside, parts.network)
        priority = parts.spin.priority - 1 if parts.spin else 0
        return IdleProcess(parts.proc_fd, parts.pids, outside, priority)

    def _owes(self) -> bool:
        if self.turns is not None:
            # Who has just been born is to be seen as well.
            self.births.quiet()
            if self.turns.owes or self.turns.held_up():
                return True
        return self.births.owes or (self.eager is not None and self.eager.owes)

    def _touched(self, process: Process) -> None:
        self._touched_thread(process.pid)

    def _touched_thread(self, tid: int) -> None:
        if self.keeper is not None:
            self.keeper.hot.forget(tid)

    def _born(self, vpid: int) -> None:
        with suppress(OSError):
            # It may have ended, and older kernels cannot say.
            tid = thread_from(self.parts.pids, vpid)
            if self.turns is not None:
                self.turns.born(tid)

    def _gave_up(self, tid: int) -> None:
        process = self.table.by_tid.get(tid)
        if process is not None:
            self.trace.line(process.name, process.vpid, "overtaken: it was held up for too long")

    def _ending(self, process: Process) -> None:
        self._touched(process)
        if self.turns is not None:
            for tid in (process.pid, *process.threads):
                self.turns.ended(tid)
            if process.parent is not None:
                self.turns.woken(process.parent.pid)
        self.waits.forget(process)
        self.timers.forget(process)
        self.aio.forget(process)
        self.births.ended(process)
        if self.eager is not None:
            self.eager.ended(process)

    def _add_devices(self) -> None:
        for name, fd in self.parts.fuse.items():
            served = SERVED[name]
            file = FuseFile(fd, CONTENTS[name](self.table.reader), served.mode, name)
            self.sources[fd] = self._device(file)

    def _device(self, file: FuseFile) -> Callable[[], None]:
        def handle() -> None:
            try:
                file.handle()
            except Unmounted:
                del self.sources[file.fileno()]
                self.epoll.unregister(file.fileno())

        return handle

    # What entrants need (see entrants.House).

    def add_source(self, fd: int, handle: Callable[[], None]) -> None:
        self.sources[fd] = handle
        self.epoll.register(fd, select.EPOLLIN)

    def drop_source(self, fd: int) -> None:
        del self.sources[fd]
        self.epoll.unregister(fd)

    def listen(self, listener: Listener) -> None:
        if self.eager is not None:
            self.eager.listen(listener)

    def look_outside_anew(self) -> None:
        self.waits.forget_idle()

    def _serve_until(self, reply: socket.socket) -> None:
        """Serve files, and nothing else, until there is something to read from `reply`."""
        poll = select.poll()
        for fd in (reply.fileno(), *(fd for fd in self.parts.fuse.values() if fd in self.sources)):
            poll.register(fd, select.POLLIN)
        while True:
            ready = [fd for fd, _ in poll.poll()]
            if reply.fileno() in ready:
                return
            for fd in ready:
                self.sources[fd]()
                if fd not in self.sources:
                    poll.unregister(fd)

    def run(self) -> int:
        """Answer until the command has ended; returns its wait status."""
        try:
            self._answer_all()
        except InitGone:
            # It may have gone because the command has ended, and have said so before it went.
            while self.status is None:
                self._init_event()
        assert self.status is not None
        return self.status

    def _answer_all(self) -> None:
        listener_fd = self.listener.fd
        wait = self._wait if self.keeper is None else self.keeper.hot.wait
        by_pidfd = self.table.by_pidfd
        births = self.births
        eager = self.eager
        entrants = self.entrants
        turns = self.turns
        while self.status is None:
            called = False
            # Ends first: a number may only be trusted once those who had it before are forgotten.
            # A call that was received while we asked init is one that epoll will not tell of again.
            owes = entrants.waiting or (turns is not None and turns.owes)
            patience = RETRY_MILLISECONDS if owes else births.patience
            if eager is not None and eager.owes:
                patience = 0 if eager.backlog else RETRY_MILLISECONDS
            ready, values = wait(patience)
            if values is not None:
                self.take(Call(self.listener, values))
            for fd, events in ready:
                if fd == listener_fd:
                    called = events == select.EPOLLIN or self._listener_ready(events)
                elif fd in by_pidfd:
                    self._ended(fd)
                elif fd in self.sources:
                    self.sources[fd]()
                # Else its process ended together with its parent, whose end it was forgotten with.
            if eager is not None:
                for call in eager.calls():
                    self._answer(call)
            elif called:
                self._receive_and_answer()
            if births.owes:
                births.retry()
                for call, process in births.released():
                    self._answer_of(call, process)
                if self.keeper is not None:
                    self.keeper.births_went_on()
            if turns is not None:
                for call, process in turns.released():
                    self._answer_in_turn(call, process)
            if entrants.waiting:
                entrants.go_on()

    def _wait(self, patience: int) -> tuple[list[tuple[int, int]], None]:
        """The events of the next `patience` milliseconds; -1 is for ever."""
        return self.epoll.poll(patience / 1000 if patience > 0 else patience, _EVENTS), None

    def take(self, call: Call) -> None:
        if self.eager is None:
            self._answer_received(call)
        else:
            self.eager.backlog.append(call)

    def _ended(self, pidfd: int) -> None:
        process = self.table.ended(pidfd)
        if process is self.table.root:
            self.parts.priority.spread_init()

    def _listener_ready(self, events: int) -> bool:
        if events & select.EPOLLHUP and not events & select.EPOLLIN:
            # Nobody under the filter is left; init is about to say how the command ended.
            self.epoll.unregister(self.listener.fd)
            return False
        return True

    def _receive_and_answer(self) -> None:
        call = self.listener.receive()
        if call is not None:
            self._answer_received(call)

    def _answer_received(self, call: Call) -> None:
        """Answer a call, and those that have come while we slept: it may not be their first."""
        hot = self.listener.hot
        if hot is not None and call.id == hot.cleared:
            self._answer(call, cleared=True)
            return
        if self.turns is None or call.tid == self.turns.alone:
            self._answer(call)
            return
        calls = [call, *self.listener.receive_all()]
        self.turns.pending.update(one.tid for one in calls)
        for one in calls:
            self._answer(one)

    def _answer(self, call: Call, cleared: bool = False) -> None:
        process = self.table.of(call)
        if self.turns is not None:
            if cleared:
                self.turns.calls(call.tid)
            elif self.turns.keeps(call, process):
                return
        if process is not None:
            self._answer_in_turn(call, process)

    def _answer_in_turn(self, call: Call, process: Process) -> None:
        if self.births.keeps(call, process):
            return
        if self.eager is None or not self.eager.keeps(call, process):
            self._answer_of(call, process)

    def _answer_of(self, call: Call, process: Process) -> None:
        call.vpid = process.vpid
        if self.parts.spin is not None:
            self.parts.spin.called(call.tid)
        if call.arch != AUDIT_ARCH:
            # Such programs have a vDSO and clock calls of their own: what is not answered is not
            # let in.
            self.refusals.kill(
                call,
                process,
                "it makes 32-bit x86 system calls, which are not answered; use its x86-64 build",
            )
            return
        if self.births.in_flight is not None:
            self.births.called(call.tid, process)
        if process.has_children:
            self.table.merge_reaped(process)
        waits = process in self.waits.by_process
        if waits:
            self.waits.calls(process)
            call.listener.keep_back(call)
            clock = process.clock
            before = clock.wall, clock.monotonic
        if self.keeper is not None and not waits and self.keeper.retry(call, process):
            self.keeper.births_went_on()
            call.listener.let_on(call)
            return
        handler = self.handlers.get(call.nr)
        if handler is None:
            raise NsbuildError(
                f"the profile notifies system call {call.nr}, which nothing answers",
                "use SCMP_ACT_NOTIFY only for the calls that the default profile notifies",
            )
        try:
            if process.threads_made and self.cache is not None and call.nr in self.of_files:
                with self.cache.guard():
                    handler(call, process)
            else:
                handler(call, process)
        except MemoryClosedError:
            self.refusals.kill(
                call,
                process,
                "its memory cannot be changed, so its clock would be real; "
                "make its file readable, or run as root",
            )
        if self.trace.enabled:
            self.trace.call(process.name, process.vpid, call)
        if waits:
            if (clock.wall, clock.monotonic) != before:
                self.waits.read_clock(process)
            call.listener.let_go()
        if self.keeper is not None:
            self.keeper.answered(call.tid, process, process not in self.waits.by_process)

    def _exit_group(self, call: Call, process: Process) -> None:
        if self.parts.spin is not None:
            self.parts.spin.ends((process.pid, *process.threads))
        # It reaps nobody any more; from here on that is init's doing, at any time.
        process.has_children = False
        if self.eager is None:
            call.resume()
        else:
            self.eager.leave(call, process)

    def _arch_prctl(self, call: Call, process: Process) -> None:
        if call.args[0] & 0xFFFFFFFF == ARCH_SET_FS:
            if self.parts.spin is not None:
                self.parts.spin.executed(call.tid)
            if self.cache is not None:
                self.cache.executes(call)
            if not self.exec_hook.run(call, process):
                raise MemoryClosedError
            if self.exec_hook.fresh:
                self.waits.forget_calls(process)
                self.timers.executed(process)
                self.aio.forget(process)
        else:
            call.resume()

    def _init_event(self) -> None:
        event = receive_event(self.parts.events)
        if event is None:
            raise NsbuildError("the container's init died", "was it killed from outside?")
        if event.data[:1] == EVENT_EXIT:
            self.status = int(event.data[1:])
        elif event.data[:1] == EVENT_COMMAND:
            self.entrants.began(event)
        elif event.data[:1] == EVENT_LEFT:
            self.entrants.left(event)

    def _front_event(self) -> None:
        """The front process passes on a signal for the command, or as 0 who wants to enter."""
        try:
            numbers, fds, _, _ = socket.recv_fds(self.parts.front, 64, 1)
        except ConnectionResetError:
            numbers, fds = b"", []
        if not numbers:
            # PDEATHSIG ends us as well; either way the command's caller is gone.
            raise NsbuildError("the process that started the container is gone")
        for number in numbers:
            if number:
                self.parts.link.signal(number)
        for fd in fds:
            self.entrants.connect(fd)
